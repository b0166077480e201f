"""The operations of the HSM process, one module per subject. OPERATIONS is the whole list."""

from __future__ import annotations

from typing import Any

from hsmapp.device import arguments as args
from hsmapp.device.hsm import Hsm, Session
from hsmapp.device.operations import defects, keys, masking, service, sessions, users
from hsmapp.device.operations.operation import ANYONE, Answer, EndConnectionError, Operation
from hsmapp.device.protocol import (
    BAD_REQUEST,
    NOT_LOGGED_IN,
    NOT_PERMITTED,
    NOT_SERVING,
    ROLE_CRYPTO_USER,
    TOKEN_FAILED,
    HsmAnswerError,
)
from hsmapp.device.token import TokenRefusedError

__all__ = ["OPERATIONS", "EndConnectionError", "run"]

OPERATIONS: dict[str, Operation] = {
    **sessions.OPERATIONS,
    **keys.OPERATIONS,
    **users.OPERATIONS,
    **masking.OPERATIONS,
    **service.OPERATIONS,
    **defects.OPERATIONS,
}


def run(hsm: Hsm, session: Session, request: Any) -> Answer:
    """Check a request and carry it out. Raises: HsmAnswerError, EndConnectionError."""
    match request:
        case [str() as name, dict() as given]:
            operation = OPERATIONS.get(name)
        case _:
            raise HsmAnswerError(BAD_REQUEST, "a request is a name and a map of arguments")
    if operation is None:
        raise HsmAnswerError(BAD_REQUEST, "there is no such operation")
    if ANYONE not in operation.roles:
        _refuse_unless(session, operation.roles)
    if session.role == ROLE_CRYPTO_USER and not hsm.serving:
        raise HsmAnswerError(NOT_SERVING, f"{hsm.hsm_id} is not in use")
    try:
        return operation.run(hsm, session, args.checked(operation.arguments, given))
    except TokenRefusedError as error:
        raise HsmAnswerError(TOKEN_FAILED, f"the token refused an operation ({error})") from error


def _refuse_unless(session: Session, roles: frozenset[str]) -> None:
    if session.role is None:
        raise HsmAnswerError(NOT_LOGGED_IN, "log in first")
    if session.role not in roles:
        raise HsmAnswerError(NOT_PERMITTED, f"this is not for the role {session.role}")
