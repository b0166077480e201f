"""The operations of the HSM process: who may call each, with which arguments, and what it does.

An operation is a function of the HSM, the session that asks, and its checked arguments; it returns the values of the
answer, or a HashJob when a password has to be hashed first. Errors are HsmAnswerError. OPERATIONS at the end is the
whole list.
"""

from __future__ import annotations

import hmac
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hsmapp.device import arguments as args
from hsmapp.device.durable import sync_folder, sync_subfolders
from hsmapp.device.hashing import HashJob
from hsmapp.device.hsm_users import (
    DUMMY_HASH,
    FIRST_ADMIN,
    HsmUsers,
    UsersFileError,
    hash_password,
    pack_users,
    verify_password,
)
from hsmapp.device.keys import Key, Keys
from hsmapp.device.protocol import (
    BAD_REQUEST,
    KEY_EXISTS,
    KEY_NOT_FOUND,
    MASKED_KEY_WRONG,
    MASKING_KEY_MISSING,
    NOT_LOGGED_IN,
    NOT_PERMITTED,
    NOT_SERVING,
    ROLE_ADMIN,
    ROLE_CRYPTO_USER,
    TOKEN_FAILED,
    USER_EXISTS,
    USER_LOCKED,
    USER_NOT_FOUND,
    WRONG_PASSWORD,
    HsmAnswerError,
)
from hsmapp.device.token import Token, TokenRefusedError

SUPERVISOR = "supervisor"
ANYONE = "anyone"
# A page of keys stays well under the size of a frame, whatever the labels.
_PAGE_BYTES = 40 * 1024
_USERS_PAGE = 400

Arguments = dict[str, Any]


class EndConnectionError(Exception):
    """Whoever asked this gets no answer: its connection ends."""


@dataclass(eq=False)
class Session:
    """One connection. role: None until it has logged in."""

    role: str | None = None
    user: str = ""
    client: str = ""
    end_after_answer: bool = False


@dataclass
class Hsm:
    """What the operations work on. ending: sessions whose connections the server is to end."""

    hsm_id: str
    folder: Path
    tokens: Path
    token: Token
    keys: Keys
    users: HsmUsers
    capacity: int
    control_secret: bytes = field(repr=False)
    serving: bool = False
    sessions: set[Session] = field(default_factory=set)
    ending: list[Session] = field(default_factory=list)

    def end(self, sessions: list[Session]) -> None:
        self.ending += sessions


Answer = dict[str, Any] | HashJob


@dataclass(frozen=True)
class Operation:
    run: Callable[[Hsm, Session, dict[str, Any]], Answer]
    roles: frozenset[str]
    arguments: dict[str, args.Argument]


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


# Any connection


def hello(hsm: Hsm, _session: Session, _given: Arguments) -> Answer:
    return {"hsm_id": hsm.hsm_id, "serving": hsm.serving}


def login(hsm: Hsm, session: Session, given: Arguments) -> Answer:
    """Log in as an HSM user. Limits and locks come before the hash; an unknown name costs what a wrong password
    costs.
    """
    if session.role is not None:
        raise HsmAnswerError(BAD_REQUEST, "this connection has logged in already")
    name, password = given["user"].lower(), given["password"]
    user = hsm.users.find(name)
    if user is not None:
        _refuse_login(hsm, name)
    hashed = DUMMY_HASH if user is None else user.hashed
    return HashJob(
        lambda: verify_password(password, hashed), lambda good: _logged_in(hsm, session, name, given["client"], good)
    )


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
    return {"role": user.role}


def control(hsm: Hsm, session: Session, given: Arguments) -> Answer:
    if session.role is not None or not hmac.compare_digest(given["secret"], hsm.control_secret):
        raise EndConnectionError
    session.role, session.user = SUPERVISOR, ""
    return {}


# Crypto users


def encrypt(hsm: Hsm, session: Session, given: Arguments) -> Answer:
    iv, sealed = hsm.keys.encrypt(session.user, given["label"], given["check"], given["plaintext"], given["aad"])
    return {"iv": iv, "sealed": sealed}


def decrypt(hsm: Hsm, session: Session, given: Arguments) -> Answer:
    plaintext = hsm.keys.decrypt(
        session.user, given["label"], given["check"], given["iv"], given["sealed"], given["aad"]
    )
    return {"plaintext": plaintext}


def generate_key(hsm: Hsm, _session: Session, given: Arguments) -> Answer:
    masked, check = hsm.keys.generate(given["label"], given["id"])
    return {"masked": masked, "check": check}


def restore_key(hsm: Hsm, session: Session, given: Arguments) -> Answer:
    supervisor = session.role == SUPERVISOR
    if supervisor != bool(given["owner"]):
        raise HsmAnswerError(BAD_REQUEST, "owner is for the supervisor to give, and required of it")
    owner = HsmUsers.normal_name(given["owner"]) if supervisor else session.user
    made = hsm.keys.restore(owner, given["label"], given["id"], given["masked"], given["check"], supervisor=supervisor)
    return {"made": made}


def destroy_key(hsm: Hsm, session: Session, given: Arguments) -> Answer:
    destroyed = hsm.keys.destroy(_owner(session), given["label"], given["id"])
    if destroyed:
        sync_subfolders(hsm.tokens)
    return {"destroyed": destroyed}


def check_key(hsm: Hsm, _session: Session, given: Arguments) -> Answer:
    return {"good": hsm.keys.verifies(given["label"], given["check"])}


def random(hsm: Hsm, _session: Session, given: Arguments) -> Answer:
    return {"data": hsm.keys.random(given["length"])}


def list_keys(hsm: Hsm, session: Session, given: Arguments) -> Answer:
    """keys: rows of label and id, and the owner for the supervisor; next: where to go on, "" at the end; duplicates,
    damaged: labels.
    """
    found, following = hsm.keys.page(_owner(session), given["after"], given["limit"])
    page = _fitting(found)
    if len(page) < len(found):
        following = page[-1].label
    with_owner = session.role == SUPERVISOR
    return {
        "keys": [[key.label, key.id, key.owner] if with_owner else [key.label, key.id] for key in page],
        "next": following or "",
        "duplicates": [key.label for key in page if key.others or len(key.handles) > 1],
        "damaged": [key.label for key in page if key.damaged],
    }


def _fitting(found: list[Key]) -> list[Key]:
    room = _PAGE_BYTES
    for count, key in enumerate(found):
        # A label can appear three times: as a row, as a duplicate and as damaged.
        room -= (
            len(key.label.encode()) * (1 + bool(key.others or len(key.handles) > 1) + key.damaged) + len(key.id) + 48
        )
        if room < 0:
            return found[: max(count, 1)]
    return found


def key_attributes(hsm: Hsm, session: Session, given: Arguments) -> Answer:
    return hsm.keys.attributes(_owner(session), given["label"])


def clients(hsm: Hsm, session: Session, _given: Arguments) -> Answer:
    return {"clients": dict(Counter(other.client for other in _of_user(hsm, session.user)))}


def end_client(hsm: Hsm, session: Session, given: Arguments) -> Answer:
    """End the user's connections of this client; the asking one, if it is among them, after its answer."""
    named = [other for other in _of_user(hsm, session.user) if other.client == given["client"]]
    session.end_after_answer = session in named
    hsm.end([other for other in named if other is not session])
    return {"ended": len(named)}


def _of_user(hsm: Hsm, name: str) -> list[Session]:
    return [other for other in hsm.sessions if other.user == name and other.role in (ROLE_ADMIN, ROLE_CRYPTO_USER)]


def _owner(session: Session) -> str | None:
    return None if session.role == SUPERVISOR else session.user


# HSM users


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
    """Change one's own password, or as an admin anyone's, which unlocks the user."""
    name, password = given["user"], given["password"]
    if session.role == ROLE_CRYPTO_USER and name != session.user:
        raise HsmAnswerError(NOT_PERMITTED, "a crypto user changes its own password only")
    hsm.users.get(name)

    def finish(hashed: bytes) -> dict[str, Any]:
        hsm.users.set_password(name, hashed)
        return {}

    return HashJob(lambda: hash_password(password), finish)


def delete_user(hsm: Hsm, session: Session, given: Arguments) -> Answer:
    name = given["user"]
    hsm.users.get(name)
    if name == session.user or _of_user(hsm, name):
        raise HsmAnswerError(NOT_PERMITTED, f"the HSM user {name!r} is logged in")
    if hsm.keys.owned_by(name):
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


# The supervisor


def identity(hsm: Hsm, _session: Session, _given: Arguments) -> Answer:
    transport = hsm.token.transport_public()
    return {
        "identity_public": hsm.token.identity_public(),
        "transport_public": transport,
        "transport_signature": hsm.token.sign(transport),
    }


def sign(hsm: Hsm, _session: Session, given: Arguments) -> Answer:
    return {"signature": hsm.token.sign(given["data"])}


def make_masking_key(hsm: Hsm, _session: Session, _given: Arguments) -> Answer:
    _refuse_second_masking_key(hsm)
    hsm.token.make_masking_key()
    sync_folder(hsm.folder)
    return {}


def masking_key(hsm: Hsm, _session: Session, _given: Arguments) -> Answer:
    return {"present": hsm.token.has_masking_key, "trusted": hsm.token.trusted_names()}


def trust_key(hsm: Hsm, _session: Session, given: Arguments) -> Answer:
    """Trust a peer's transport key or the backup key. Every handle changes, so nobody may be using keys."""
    if hsm.serving:
        raise HsmAnswerError(NOT_PERMITTED, "a key is trusted only while the HSM is out of rotation")
    try:
        hsm.token.trust(given["so_pin"].encode(), given["label"], given["public"])
    except ValueError as error:
        raise HsmAnswerError(BAD_REQUEST, "public is no RSA public key") from error
    finally:
        hsm.keys.load()
    sync_folder(hsm.folder)
    return {}


def wrap_masking_key(hsm: Hsm, _session: Session, given: Arguments) -> Answer:
    _need_masking_key(hsm)
    try:
        return {"wrapped": hsm.token.wrap_masking_key(given["label"])}
    except KeyError as error:
        raise HsmAnswerError(KEY_NOT_FOUND, f"no key {given['label']!r} is trusted") from error


def unwrap_masking_key(hsm: Hsm, _session: Session, given: Arguments) -> Answer:
    _refuse_second_masking_key(hsm)
    try:
        hsm.token.unwrap_masking_key(given["wrapped"])
    except TokenRefusedError as error:
        raise _masked_wrong(hsm) from error
    sync_folder(hsm.folder)
    return {}


def try_backup(hsm: Hsm, _session: Session, given: Arguments) -> Answer:
    """Open the masking key wrapped under the backup key, and with it one masked key, all in session objects."""
    if given["keep"]:
        _refuse_second_masking_key(hsm)
    try:
        hsm.keys.try_backup(
            given["private"], given["wrapped"], given["label"], given["id"], given["masked"], given["check"]
        )
        if given["keep"]:
            hsm.token.keep_backup(given["private"], given["wrapped"])
            sync_folder(hsm.folder)
    except ValueError as error:
        raise HsmAnswerError(BAD_REQUEST, "private is no RSA private key") from error
    except TokenRefusedError as error:
        raise _masked_wrong(hsm) from error
    return {}


def _masked_wrong(hsm: Hsm) -> HsmAnswerError:
    if not hsm.token.healthy():
        return HsmAnswerError(TOKEN_FAILED, "the token does not answer")
    return HsmAnswerError(MASKED_KEY_WRONG, "the wrapped masking key does not open")


def _need_masking_key(hsm: Hsm) -> None:
    if not hsm.token.has_masking_key:
        raise HsmAnswerError(MASKING_KEY_MISSING, "this HSM has no masking key yet")


def _refuse_second_masking_key(hsm: Hsm) -> None:
    if hsm.token.has_masking_key:
        raise HsmAnswerError(KEY_EXISTS, "this HSM has a masking key already")


def serve(hsm: Hsm, _session: Session, _given: Arguments) -> Answer:
    hsm.serving = True
    return {}


def standby(hsm: Hsm, _session: Session, _given: Arguments) -> Answer:
    hsm.serving = False
    hsm.end([other for other in hsm.sessions if other.role == ROLE_CRYPTO_USER])
    return {}


def health(hsm: Hsm, _session: Session, _given: Arguments) -> Answer:
    return {
        "ok": hsm.token.healthy(),
        "serving": hsm.serving,
        "keys": len(hsm.keys),
        "free": max(0, hsm.capacity - len(hsm.keys)),
        "debris": hsm.keys.debris,
    }


_ANY = frozenset({ANYONE})
_LOGGED_IN = frozenset({ROLE_ADMIN, ROLE_CRYPTO_USER, SUPERVISOR})
_CRYPTO = frozenset({ROLE_CRYPTO_USER})
_KEYS = frozenset({ROLE_CRYPTO_USER, SUPERVISOR})
_USERS = frozenset({ROLE_ADMIN, SUPERVISOR})
_SUPERVISOR = frozenset({SUPERVISOR})
_OWNER = args.Argument(args.TEXT.check, "")
_MASKED = {"label": args.LABEL, "id": args.ID, "masked": args.SMALL, "check": args.CHECK}

OPERATIONS: dict[str, Operation] = {
    "hello": Operation(hello, _ANY, {}),
    "login": Operation(login, _ANY, {"user": args.TEXT, "password": args.PASSWORD, "client": args.TEXT}),
    "control": Operation(control, _ANY, {"secret": args.SMALL}),
    "encrypt": Operation(
        encrypt, _CRYPTO, {"label": args.LABEL, "check": args.CHECK, "plaintext": args.PLAINTEXT, "aad": args.AAD}
    ),
    "decrypt": Operation(
        decrypt,
        _CRYPTO,
        {"label": args.LABEL, "check": args.CHECK, "iv": args.IV, "sealed": args.SEALED, "aad": args.AAD},
    ),
    "generate_key": Operation(generate_key, _KEYS, {"label": args.LABEL, "id": args.ID}),
    "restore_key": Operation(restore_key, _KEYS, _MASKED | {"owner": _OWNER}),
    "destroy_key": Operation(destroy_key, _KEYS, {"label": args.LABEL, "id": args.ID}),
    "check_key": Operation(check_key, _SUPERVISOR, {"label": args.LABEL, "check": args.CHECK}),
    "random": Operation(random, _KEYS, {"length": args.LENGTH}),
    "list_keys": Operation(list_keys, _KEYS, {"after": args.AFTER, "limit": args.LIMIT}),
    "key_attributes": Operation(key_attributes, _KEYS, {"label": args.LABEL}),
    "clients": Operation(clients, frozenset({ROLE_ADMIN, ROLE_CRYPTO_USER}), {}),
    "end_client": Operation(end_client, frozenset({ROLE_ADMIN, ROLE_CRYPTO_USER}), {"client": args.TEXT}),
    "create_user": Operation(
        create_user, _USERS, {"user": args.USER, "role": args.ROLE, "password": args.NEW_PASSWORD}
    ),
    "activate": Operation(activate, _SUPERVISOR, {"password": args.NEW_PASSWORD}),
    "change_password": Operation(change_password, _LOGGED_IN, {"user": args.USER, "password": args.NEW_PASSWORD}),
    "delete_user": Operation(delete_user, _USERS, {"user": args.USER}),
    "list_users": Operation(list_users, _LOGGED_IN, {}),
    "export_users": Operation(export_users, _SUPERVISOR, {"after": args.AFTER}),
    "import_users": Operation(import_users, _SUPERVISOR, {"users": args.ROWS, "add": args.OFF}),
    "identity": Operation(identity, _SUPERVISOR, {}),
    "sign": Operation(sign, _SUPERVISOR, {"data": args.SMALL}),
    "make_masking_key": Operation(make_masking_key, _SUPERVISOR, {}),
    "masking_key": Operation(masking_key, _SUPERVISOR, {}),
    "trust_key": Operation(trust_key, _SUPERVISOR, {"so_pin": args.TEXT, "label": args.TEXT, "public": args.SMALL}),
    "wrap_masking_key": Operation(wrap_masking_key, _SUPERVISOR, {"label": args.TEXT}),
    "unwrap_masking_key": Operation(unwrap_masking_key, _SUPERVISOR, {"wrapped": args.SMALL}),
    "try_backup": Operation(
        try_backup, _SUPERVISOR, _MASKED | {"wrapped": args.SMALL, "private": args.SMALL, "keep": args.OFF}
    ),
    "serve": Operation(serve, _SUPERVISOR, {}),
    "standby": Operation(standby, _SUPERVISOR, {}),
    "health": Operation(health, _SUPERVISOR, {}),
}
