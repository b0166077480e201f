"""The table of operations: name -> function. Operation modules fill it; dispatch reads it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

Run = Callable[..., dict[str, Any]]  # of a Call and its parameters; some take an id by keyword (dispatch.call)


@dataclass(frozen=True)
class Operation:
    """An operation that is built."""

    name: str  # "kms:CreateKey"
    run: Run
    read_only: bool
    recorded_as: str  # AWS's name of it in the audit record; empty: its own


OPERATIONS: dict[str, Operation] = {}


def operation(name: str, *, read_only: bool = False, recorded_as: str = "") -> Callable[[Run], Run]:
    """Register the function as the operation `name`, which is service:Operation with the IAM prefix.

    recorded_as: for an operation that AWS has not (console:…), the AWS operation that the audit record names.
    """

    def register(run: Run) -> Run:
        OPERATIONS[name] = Operation(name, run, read_only, recorded_as)
        return run

    return register
