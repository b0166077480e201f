"""Secrets at rest: HSM PINs and passwords, access key secrets, backup keys.

A secret is sealed with AES-256-GCM under one HKDF subkey per purpose of the installation's master key, so a stolen
database opens nothing. Sealed = version 1 | master key id 8 | nonce 12 | ciphertext and tag; the associated data are
purpose, table and row id, so that a sealed value moved to another row or column does not open.

The master key is a file of 32 random bytes. `bin/serve` reads it and hands each process a keyring with only the
purposes it needs (`Keyring.limited_to`), in a file that exists in memory only.
"""

from __future__ import annotations

import base64
import json
import os
import secrets
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256, Hash
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

ACCESS_KEY = "access key"
CLUSTER_CREDENTIAL = "cluster credential"
HSM_PIN = "hsm pin"
HSM_SO_PIN = "hsm so pin"
BACKUP_KEY = "backup key"
INSTALLATION_ROOT = "installation root"
BACKUP_FILE = "backup file"
GRANT_TOKEN = "grant token"  # noqa: S105 - the name of a purpose
WEB = "web"  # Django's SECRET_KEY; nothing is sealed with it
PURPOSES = (
    ACCESS_KEY,
    CLUSTER_CREDENTIAL,
    HSM_PIN,
    HSM_SO_PIN,
    BACKUP_KEY,
    INSTALLATION_ROOT,
    BACKUP_FILE,
    GRANT_TOKEN,
    WEB,
)

WEB_WORKER = (ACCESS_KEY, CLUSTER_CREDENTIAL, GRANT_TOKEN, WEB)
SUPERVISOR = (CLUSTER_CREDENTIAL, HSM_PIN, HSM_SO_PIN, BACKUP_KEY, INSTALLATION_ROOT, WEB)
JOBS = (CLUSTER_CREDENTIAL, WEB)

_VERSION = b"\x01"
_HEADER = 1 + 8 + 12


class SealingError(Exception):
    """A secret can't be sealed or opened: wrong master key, a purpose this process was not given, or a changed row."""


def _subkey(master_key: bytes, purpose: str) -> bytes:
    return HKDF(SHA256(), 32, salt=None, info=f"casemate {purpose}".encode()).derive(master_key)


def _key_id(master_key: bytes) -> bytes:
    """Eight bytes that name a master key without telling anything about it."""
    digest = Hash(SHA256())
    digest.update(_subkey(master_key, "master key id"))
    return digest.finalize()[:8]


def _associated_data(purpose: str, table: str, row: object) -> bytes:
    parts = [purpose.encode(), table.encode(), str(row).encode()]
    return b"".join(len(part).to_bytes(4, "big") + part for part in parts)


@dataclass(frozen=True)
class Keyring:
    """The sealing subkeys a process has."""

    master_key_id: bytes
    subkeys: dict[str, bytes] = field(repr=False)  # purpose -> 32 bytes

    @classmethod
    def from_master_key(cls, master_key: bytes) -> Keyring:
        if len(master_key) != 32:
            raise SealingError(f"The master key must be 32 bytes; this one has {len(master_key)}.")
        return cls(_key_id(master_key), {purpose: _subkey(master_key, purpose) for purpose in PURPOSES})

    @classmethod
    def load(cls, text: str) -> Keyring:
        parts = json.loads(text)
        subkeys = {purpose: base64.b64decode(key) for purpose, key in parts["subkeys"].items()}
        return cls(bytes.fromhex(parts["master_key_id"]), subkeys)

    def dump(self) -> str:
        """The keyring as text, for a process that is handed it; secret."""
        subkeys = {purpose: base64.b64encode(key).decode() for purpose, key in self.subkeys.items()}
        return json.dumps({"master_key_id": self.master_key_id.hex(), "subkeys": subkeys})

    def limited_to(self, purposes: Iterable[str]) -> Keyring:
        return Keyring(self.master_key_id, {purpose: self.subkeys[purpose] for purpose in purposes})

    def seal(self, secret: bytes, *, purpose: str, table: str, row: object) -> bytes:
        """Return the secret sealed for one column of one row (`row`: the row's natural id)."""
        nonce = os.urandom(12)
        body = AESGCM(self._subkey_for(purpose)).encrypt(nonce, secret, _associated_data(purpose, table, row))
        return _VERSION + self.master_key_id + nonce + body

    def open(self, sealed: bytes | memoryview, *, purpose: str, table: str, row: object) -> bytes:
        """Return the secret. Raises SealingError if this is not its master key, purpose, table and row."""
        sealed = bytes(sealed)
        if sealed[:1] != _VERSION:
            raise SealingError(f"The sealed {purpose} of {table} {row} has an unknown version.")
        if sealed[1:9] != self.master_key_id:
            raise SealingError(f"The {purpose} of {table} {row} was sealed under another master key.")
        try:
            return AESGCM(self._subkey_for(purpose)).decrypt(
                sealed[9:_HEADER], sealed[_HEADER:], _associated_data(purpose, table, row)
            )
        except InvalidTag as error:
            raise SealingError(f"The sealed {purpose} of {table} {row} was changed.") from error

    def web_secret(self) -> str:
        """Django's SECRET_KEY, the same on every worker and after every restart."""
        return self._subkey_for(WEB).hex()

    def _subkey_for(self, purpose: str) -> bytes:
        try:
            return self.subkeys[purpose]
        except KeyError:
            raise SealingError(f"This process was not given the key for the purpose {purpose!r}.") from None


def make_master_key(path: Path) -> None:
    """Write a new master key, on disk for good before this returns. Raises FileExistsError."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        os.write(descriptor, secrets.token_bytes(32))
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def find_keyring(handed_over: str, master_key_file: Path) -> Keyring | None:
    """The keyring handed to this process, else that of the master key file, else None."""
    if handed_over:
        return Keyring.load(Path(handed_over).read_text())
    if master_key_file.exists():
        return Keyring.from_master_key(master_key_file.read_bytes())
    return None


@cache
def keyring() -> Keyring:
    """This process's keyring, as the settings say. Raises SealingError if there is none."""
    from django.conf import settings

    found = find_keyring(settings.KEYRING, settings.MASTER_KEY_FILE)
    if found is None:
        raise SealingError(f"There is no master key at {settings.MASTER_KEY_FILE}. bin/serve makes one.")
    return found
