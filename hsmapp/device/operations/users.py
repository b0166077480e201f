"""Operations on the table of HSM users."""

from __future__ import annotations

from typing import Any

from hsmapp.device import arguments as args
from hsmapp.device.hashing import HashJob
from hsmapp.device.hsm import Hsm, Session
from hsmapp.device.hsm_users import FIRST_ADMIN, UsersFileError, hash_password, pack_users
from hsmapp.device.operations.operation import CONTROL, LOGGED_IN, USERS, Answer, Arguments, Operation
from hsmapp.device.protocol import (
    BAD_REQUEST,
    NOT_PERMITTED,
    PASSWORD_CHANGED,
    ROLE_ADMIN,
    ROLE_CRYPTO_USER,
    ROLES,
    USER_EXISTS,
    HsmAnswerError,
)

_USERS_PAGE = 400


def create_user(hsm: Hsm, _session: Session, given: Arguments) -> Answer:
    name, role, password = given["user"], given["role"], given["password"]
    if hsm.users.find(name) is not None:
        raise HsmAnswerError(USER_EXISTS, f"there is an HSM user {name!r} already")

    def finish(hashed: bytes) -> dict[str, Any]:
        hsm.users.create(name, role, hashed)
        return {}

    return HashJob(lambda: hash_password(password), finish)


def activate(hsm: Hsm, _session: Session, given: Arguments) -> Answer:
    """Make the first admin, which activates an initialised cluster's HSM."""
    if any(user.role == ROLE_ADMIN for user in hsm.users.all()):
        raise HsmAnswerError(USER_EXISTS, "this HSM is activated already")
    return create_user(hsm, _session, {"user": FIRST_ADMIN, "role": ROLE_ADMIN, "password": given["password"]})


def change_password(hsm: Hsm, session: Session, given: Arguments) -> Answer:
    """Change one's own password, or as an admin anyone's, which unlocks the user.

    One's own only if nobody has changed it since this connection logged in: a change that was held up must not undo a
    later one that its client knows nothing of.
    """
    name, password = given["user"], given["password"]
    if session.role == ROLE_CRYPTO_USER and name != session.user:
        raise HsmAnswerError(NOT_PERMITTED, "a crypto user changes its own password only")
    hsm.users.get(name)

    own = session.role in ROLES and name == session.user

    def finish(hashed: bytes) -> dict[str, Any]:
        if own and hsm.users.get(name).hashed != session.password_hash:
            raise HsmAnswerError(
                PASSWORD_CHANGED, f"the password of {name!r} was changed after this connection had logged in"
            )
        hsm.users.set_password(name, hashed)
        if own:
            session.password_hash = hashed
        return {}

    return HashJob(lambda: hash_password(password), finish)


def delete_user(hsm: Hsm, session: Session, given: Arguments) -> Answer:
    name = given["user"]
    hsm.users.get(name)
    if name == session.user or hsm.sessions_of(name):
        raise HsmAnswerError(NOT_PERMITTED, f"the HSM user {name!r} is logged in")
    if hsm.keys.table.owned_by(name):
        raise HsmAnswerError(NOT_PERMITTED, f"the HSM user {name!r} owns keys")
    hsm.users.delete(name)
    return {}


def list_users(hsm: Hsm, _session: Session, _given: Arguments) -> Answer:
    """users: rows of name, role, and whether the user is locked."""
    return {"users": [[user.name, user.role, user.locked] for user in hsm.users.all()]}


def export_users(hsm: Hsm, _session: Session, given: Arguments) -> Answer:
    """users: rows for import_users, hashes included; next: where to go on, "" at the end."""
    page = hsm.users.export(given["after"], _USERS_PAGE)
    return {"users": pack_users(page), "next": page[-1].name if len(page) == _USERS_PAGE else ""}


def import_users(hsm: Hsm, _session: Session, given: Arguments) -> Answer:
    try:
        hsm.users.take(given["users"], add=given["add"])
    except UsersFileError as error:
        raise HsmAnswerError(BAD_REQUEST, str(error)) from error
    return {}


OPERATIONS: dict[str, Operation] = {
    "create_user": Operation(create_user, USERS, {"user": args.USER, "role": args.ROLE, "password": args.NEW_PASSWORD}),
    "activate": Operation(activate, CONTROL, {"password": args.NEW_PASSWORD}),
    "change_password": Operation(change_password, LOGGED_IN, {"user": args.USER, "password": args.NEW_PASSWORD}),
    "delete_user": Operation(delete_user, USERS, {"user": args.USER}),
    "list_users": Operation(list_users, LOGGED_IN, {}),
    "export_users": Operation(export_users, CONTROL, {"after": args.AFTER}),
    "import_users": Operation(import_users, CONTROL, {"users": args.ROWS, "add": args.OFF}),
}
