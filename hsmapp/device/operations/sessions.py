"""Operations on connections: who is there, logging in, and ending the connections of a client."""

from __future__ import annotations

import hmac
from collections import Counter
from typing import Any

from hsmapp.device import arguments as args
from hsmapp.device.hashing import HashJob
from hsmapp.device.hsm import SUPERVISOR, Hsm, Session
from hsmapp.device.hsm_users import DUMMY_HASH, verify_password
from hsmapp.device.operations.operation import ANY, USER_SESSIONS, Answer, Arguments, EndConnectionError, Operation
from hsmapp.device.protocol import (
    BAD_REQUEST,
    NOT_SERVING,
    ROLE_CRYPTO_USER,
    USER_LOCKED,
    USER_NOT_FOUND,
    WRONG_PASSWORD,
    HsmAnswerError,
)


def hello(hsm: Hsm, _session: Session, _given: Arguments) -> Answer:
    return {"hsm_id": hsm.hsm_id, "serving": hsm.serving}


def login(hsm: Hsm, session: Session, given: Arguments) -> Answer:
    """Log in as an HSM user. Limits and locks come before the hash; an unknown name costs what a wrong password
    costs.
    """
    if session.role is not None:
        raise HsmAnswerError(BAD_REQUEST, "this connection has logged in already")
    return _verify(hsm, session, given["user"].lower(), given["password"], given["client"])


def _verify(hsm: Hsm, session: Session, name: str, password: str, client: str) -> HashJob:
    user = hsm.users.find(name)
    if user is not None:
        _refuse_login(hsm, name)
    hashed = DUMMY_HASH if user is None else user.hashed

    def finish(good: bool) -> dict[str, Any] | HashJob:
        now = hsm.users.find(name)
        if now is not None and now.hashed != hashed:
            # The password was changed while this one was compared with the old one: that verdict says nothing.
            return _verify(hsm, session, name, password, client)
        return _logged_in(hsm, session, name, client, good)

    return HashJob(lambda: verify_password(password, hashed), finish)


def _refuse_login(hsm: Hsm, name: str) -> None:
    user = hsm.users.get(name)
    if user.role == ROLE_CRYPTO_USER and not hsm.serving:
        raise HsmAnswerError(NOT_SERVING, f"{hsm.hsm_id} is not in use")
    if user.locked:
        raise HsmAnswerError(
            USER_LOCKED,
            f"the HSM user {name!r} is locked after five wrong logins; an admin's password change unlocks it",
        )


def _logged_in(hsm: Hsm, session: Session, name: str, client: str, good: bool) -> dict[str, Any]:
    user = hsm.users.find(name)
    if user is None:
        raise HsmAnswerError(USER_NOT_FOUND, "there is no HSM user of this name")
    # Others may have locked the user, or the HSM left rotation, while this was hashed.
    _refuse_login(hsm, name)
    if not good:
        hsm.users.note_failure(name)
        raise HsmAnswerError(WRONG_PASSWORD, f"wrong password for the HSM user {name!r}")
    hsm.users.note_success(name)
    session.role, session.user, session.client = user.role, user.name, client
    session.password_hash = user.hashed
    return {"role": user.role}


def control(hsm: Hsm, session: Session, given: Arguments) -> Answer:
    if session.role is not None or not hmac.compare_digest(given["secret"], hsm.control_secret):
        raise EndConnectionError
    session.role, session.user = SUPERVISOR, ""
    return {}


def clients(hsm: Hsm, session: Session, _given: Arguments) -> Answer:
    return {"clients": dict(Counter(other.client for other in hsm.sessions_of(session.user)))}


def end_client(hsm: Hsm, session: Session, given: Arguments) -> Answer:
    """End the user's connections of this client; the asking one, if it is among them, after its answer."""
    named = [other for other in hsm.sessions_of(session.user) if other.client == given["client"]]
    session.end_after_answer = session in named
    hsm.end([other for other in named if other is not session])
    return {"ended": len(named)}


OPERATIONS: dict[str, Operation] = {
    "hello": Operation(hello, ANY, {}),
    "login": Operation(login, ANY, {"user": args.TEXT, "password": args.PASSWORD, "client": args.TEXT}),
    "control": Operation(control, ANY, {"secret": args.SMALL}),
    "clients": Operation(clients, USER_SESSIONS, {}),
    "end_client": Operation(end_client, USER_SESSIONS, {"client": args.TEXT}),
}
