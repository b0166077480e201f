"""The HSM users of one HSM: a table in a file beside the token, names, roles, argon2id hashes and failed logins.

As in CloudHSM: names are case-insensitive, at most 31 characters and shown in lower case; passwords are 8 to 32
characters; five wrong logins lock a crypto user until an admin changes the password. Each HSM has its own copy;
whoever manages users changes all of them. The file is replaced as a whole (fsync, rename), so a crash leaves the old
table or the new one.

Hashing costs milliseconds by design and is done by hashing.py in its own thread: nothing here hashes while the HSM
waits.
"""

from __future__ import annotations

import hmac
import re
import secrets
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path

import msgpack
from argon2.low_level import Type, hash_secret_raw

from hsmapp.device.protocol import ROLE_CRYPTO_USER, ROLES, USER_EXISTS, USER_NOT_FOUND, HsmAnswerError
from hsmapp.durable import write_durably

# KMS draws its kmsuser passwords at random with 32 characters and people's are slowed down by the lockout, so the
# cost is that of a quick login: about 10 ms. The parameters are in the first byte of each hash, so that they can be
# raised later.
ARGON2_VERSION = 1
ARGON2_TIME_COST = 2
ARGON2_MEMORY_KIB = 8 * 1024
ARGON2_PARALLELISM = 1
_SALT_BYTES = 16
_HASH_BYTES = 32

MAX_FAILURES = 5
MAX_USERS = 1024
FIRST_ADMIN = "admin"
_NAME = re.compile(r"[a-z0-9][a-z0-9_.@+-]{0,30}\Z")
MIN_PASSWORD, MAX_PASSWORD = 8, 32


def hash_password(password: str, salt: bytes | None = None) -> bytes:
    """Return version (1 byte), salt (16) and argon2id hash (32)."""
    salt = salt if salt is not None else secrets.token_bytes(_SALT_BYTES)
    digest = hash_secret_raw(
        password.encode(),
        salt,
        time_cost=ARGON2_TIME_COST,
        memory_cost=ARGON2_MEMORY_KIB,
        parallelism=ARGON2_PARALLELISM,
        hash_len=_HASH_BYTES,
        type=Type.ID,
    )
    return bytes([ARGON2_VERSION]) + salt + digest


def verify_password(password: str, hashed: bytes) -> bool:
    return hmac.compare_digest(hash_password(password, hashed[1 : 1 + _SALT_BYTES]), hashed)


# An unknown name is verified against this, so that it costs what a wrong password costs.
DUMMY_HASH = bytes([ARGON2_VERSION]) + bytes(_SALT_BYTES + _HASH_BYTES)


@dataclass(frozen=True)
class HsmUser:
    name: str
    role: str
    hashed: bytes = field(repr=False)
    failures: int = 0

    @property
    def locked(self) -> bool:
        return self.role == ROLE_CRYPTO_USER and self.failures >= MAX_FAILURES


class UsersFileError(Exception):
    """The users file cannot be read; without it nobody could log in."""


class HsmUsers:
    """The table. Changes are on the disk when a method returns."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._users: dict[str, HsmUser] = {}
        if path.exists():
            self._users = {user.name: user for user in _unpack(path.read_bytes())}

    @staticmethod
    def normal_name(name: str) -> str:
        """Return the name as it is stored. Raises: ValueError if it cannot be a user's name."""
        lowered = name.lower()
        if not _NAME.match(lowered):
            raise ValueError(
                "an HSM user's name is 1 to 31 letters, digits or any of _.@+- and starts with a letter or digit"
            )
        return lowered

    @staticmethod
    def check_password(password: str) -> None:
        if not MIN_PASSWORD <= len(password) <= MAX_PASSWORD or "\0" in password:
            raise ValueError(f"an HSM user's password is {MIN_PASSWORD} to {MAX_PASSWORD} characters")

    def find(self, name: str) -> HsmUser | None:
        return self._users.get(name.lower())

    def get(self, name: str) -> HsmUser:
        user = self.find(name)
        if user is None:
            raise HsmAnswerError(USER_NOT_FOUND, f"there is no HSM user {name.lower()!r}")
        return user

    def all(self) -> list[HsmUser]:
        return sorted(self._users.values(), key=lambda user: user.name)

    def create(self, name: str, role: str, hashed: bytes) -> None:
        if name in self._users:
            raise HsmAnswerError(USER_EXISTS, f"there is an HSM user {name!r} already")
        if len(self._users) >= MAX_USERS:
            raise HsmAnswerError(USER_EXISTS, f"an HSM has at most {MAX_USERS} users")
        self._save(self._users | {name: HsmUser(name, role, hashed)})

    def delete(self, name: str) -> None:
        user = self.get(name)
        self._save({other: value for other, value in self._users.items() if other != user.name})

    def set_password(self, name: str, hashed: bytes) -> None:
        """Set the hash of a new password, which unlocks the user."""
        self._put(replace(self.get(name), hashed=hashed, failures=0))

    def note_failure(self, name: str) -> None:
        user = self.get(name)
        if user.role == ROLE_CRYPTO_USER and not user.locked:
            self._put(replace(user, failures=user.failures + 1))

    def note_success(self, name: str) -> None:
        user = self.get(name)
        if user.failures:
            self._put(replace(user, failures=0))

    def export(self, after: str, limit: int) -> list[HsmUser]:
        """Return up to `limit` users whose names follow `after`."""
        return [user for user in self.all() if user.name > after][:limit]

    def take(self, rows: bytes, *, add: bool) -> None:
        """Replace the table by exported rows, or add them to it. Raises: UsersFileError if they are no rows."""
        users = {user.name: user for user in _unpack(rows)}
        self._save(self._users | users if add else users)

    def _put(self, user: HsmUser) -> None:
        self._save(self._users | {user.name: user})

    def _save(self, users: dict[str, HsmUser]) -> None:
        write_durably(self._path, pack_users(users.values()))
        self._users = users

    def save(self) -> None:
        """Write the table as it is: at the first start this marks the token as one that has been there."""
        self._save(self._users)


def pack_users(users: Iterable[HsmUser]) -> bytes:
    rows = [[user.name, user.role, user.hashed, user.failures] for user in users]
    packed: bytes = msgpack.packb(rows)
    return packed


def _unpack(content: bytes) -> list[HsmUser]:
    try:
        rows = msgpack.unpackb(content, strict_map_key=False)
        return [_user(*row) for row in rows]
    except (ValueError, TypeError, msgpack.UnpackException) as error:
        raise UsersFileError("this is no table of HSM users") from error


def _user(name: object, role: object, hashed: object, failures: object) -> HsmUser:
    if not (isinstance(name, str) and isinstance(hashed, bytes) and isinstance(failures, int) and role in ROLES):
        raise ValueError("wrong types")
    if len(hashed) != len(DUMMY_HASH) or hashed[0] != ARGON2_VERSION:
        raise ValueError("unknown hash")
    return HsmUser(HsmUsers.normal_name(name), str(role), hashed, failures)
