"""AWS's table of key states as data, and what it says of a call: the other opinion about key_states.py.

Nothing of the product is imported, so that it is another opinion.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

_TABLE: dict[str, Any] = json.loads((Path(__file__).parent / "data" / "key_states.json").read_text())

STATES: list[str] = _TABLE["states"]
OPERATIONS: list[str] = list(_TABLE["operations"])
ALLOWED = "Y"
NO_SUCH_KEY = "NA"


class Refusal(NamedTuple):
    exception: str
    message: str  # with {arn}


class Cell(NamedTuple):
    operation: str
    state: str
    origin: str
    refusal: Refusal | None  # None: allowed


def cells(*origins: str) -> Iterator[Cell]:
    """Each operation in each state that a key of the origin can be in."""
    for operation in OPERATIONS:
        for origin in origins:
            for state in _TABLE["states_of_origin"][origin]:
                note = _note(operation, state, origin)
                if note != NO_SUCH_KEY:
                    yield Cell(operation, state, origin, None if note == ALLOWED else _refusal(note, origin))


def _note(operation: str, state: str, origin: str) -> str:
    cell: str = _TABLE["operations"][operation][STATES.index(state)]
    return str(_TABLE["readings"].get(cell, {}).get(origin, cell))


def _refusal(note: str, origin: str) -> Refusal:
    exception, message = _TABLE["notes"][note]
    return Refusal(exception, message.replace("{origin}", origin))
