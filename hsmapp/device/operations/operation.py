"""What an operation is: who may call it, with which arguments, and the function that does it.

The function takes the HSM, the session that asks, and the checked arguments; it returns the values of the answer, or a
HashJob when a password has to be hashed first. Errors are HsmAnswerError.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from hsmapp.device.arguments import Argument
from hsmapp.device.hashing import HashJob
from hsmapp.device.hsm import SUPERVISOR, Hsm, Session
from hsmapp.device.protocol import ROLE_ADMIN, ROLE_CRYPTO_USER

ANYONE = "anyone"
# A page of an answer stays well under the size of a frame, whatever the labels.
PAGE_BYTES = 40 * 1024
ANY = frozenset({ANYONE})
LOGGED_IN = frozenset({ROLE_ADMIN, ROLE_CRYPTO_USER, SUPERVISOR})
USER_SESSIONS = frozenset({ROLE_ADMIN, ROLE_CRYPTO_USER})
CRYPTO = frozenset({ROLE_CRYPTO_USER})
KEYS = frozenset({ROLE_CRYPTO_USER, SUPERVISOR})
USERS = frozenset({ROLE_ADMIN, SUPERVISOR})
CONTROL = frozenset({SUPERVISOR})

Arguments = dict[str, Any]
Answer = dict[str, Any] | HashJob


class EndConnectionError(Exception):
    """Whoever asked this gets no answer: its connection ends."""


@dataclass(frozen=True)
class Operation:
    run: Callable[[Hsm, Session, Arguments], Answer]
    roles: frozenset[str]
    arguments: dict[str, Argument]
