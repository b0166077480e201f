"""The file that `manage.py backup` writes: one copy of the database, and what proves that it is whole and ours.

Three lines, then the database (SQLite) to the end of the file:
    casemate backup 1
    <the SHA-256 of everything after this line, sealed under the master key (sealing.py), in hexadecimal>
    <the manifest, one JSON object>
The seal tells a damaged or changed file from the one that was written, and that the master key at hand is the one that
opens the secrets in it. The master key itself is in no backup, and neither are tokens or their PINs in clear.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO

from hsmapp import sealing
from hsmapp.durable import sync
from hsmapp.sealing import Keyring, SealingError

_NAME = b"casemate backup "
_VERSION = b"1"
_LONGEST_LINE = 256 * 1024
_PIECE = 1024 * 1024
_SEALED = {"purpose": sealing.BACKUP_FILE, "table": "backup", "row": "file"}


class BackupFileError(Exception):
    """The file is not a backup that can be used: one sentence that says why."""


@dataclass(frozen=True)
class Manifest:
    """What people are told of a backup, and what is compared before it is used."""

    created_at: str  # ISO 8601, UTC
    master_key_id: str  # hexadecimal
    installation_root: str  # SHA-256 of the root certificate, hexadecimal; empty: there was none yet
    migrations: list[str]  # "app.name"
    counts: dict[str, int]  # what -> how many


@contextmanager
def written_whole(path: Path) -> Iterator[IO[bytes]]:
    """A new file, mode 0600, that appears under its name when it is whole and on the disk, or not at all."""
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    fresh = Path(name)
    try:
        with os.fdopen(descriptor, "w+b") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(path)
    except BaseException:
        fresh.unlink(missing_ok=True)
        raise
    sync(path.parent)


def write(path: Path, database: Path, manifest: Manifest, keyring: Keyring) -> int:
    """Write a backup of a database file that nobody changes meanwhile; return its size in bytes. Raises OSError."""
    described = json.dumps(asdict(manifest), separators=(",", ":")).encode() + b"\n"
    digest = hashlib.sha256(described)
    with database.open("rb") as source:
        for piece in _pieces(source):
            digest.update(piece)
        source.seek(0)
        with written_whole(path) as file:
            file.write(_NAME + _VERSION + b"\n")
            file.write(keyring.seal(digest.digest(), **_SEALED).hex().encode() + b"\n")
            file.write(described)
            for piece in _pieces(source):
                file.write(piece)
            return file.tell()


def extract(path: Path, target: Path, keyring: Keyring) -> Manifest:
    """Write the backup's database to a file, on the disk when this returns, and return the backup's manifest.

    Raises: BackupFileError, and OSError if the target can't be written; there is no target then.
    """
    try:
        source = path.open("rb")
    except OSError as error:
        raise BackupFileError(f"The backup {path} can't be read: {error.strerror}.") from error
    with source, written_whole(target) as copy:
        sealed = _read_seal(path, source)
        described = source.readline(_LONGEST_LINE)
        manifest = _parsed(path, described)
        if manifest.master_key_id != keyring.master_key_id.hex():
            raise BackupFileError(f"The backup {path} was made under another master key than the one given.")
        digest = hashlib.sha256(described)
        for piece in _pieces(source):
            digest.update(piece)
            copy.write(piece)
        if not hmac.compare_digest(_unsealed(path, sealed, keyring), digest.digest()):
            raise _damaged(path)
    return manifest


def identity(path: Path) -> str:
    """What tells this backup from every other one: its seal, which no two backups share."""
    with path.open("rb") as source:
        return _read_seal(path, source).hex()


def _read_seal(path: Path, source: IO[bytes]) -> bytes:
    first = source.readline(_LONGEST_LINE)
    if not first.startswith(_NAME):
        raise BackupFileError(f"{path} is not a backup that `manage.py backup` has written.")
    if first != _NAME + _VERSION + b"\n":
        raise BackupFileError(f"The backup {path} is of a format that this code does not know: use the newer version.")
    try:
        return bytes.fromhex(source.readline(_LONGEST_LINE).decode("ascii"))
    except ValueError as error:
        raise _damaged(path) from error


def _parsed(path: Path, described: bytes) -> Manifest:
    try:
        return Manifest(**json.loads(described))
    except (ValueError, TypeError) as error:
        raise _damaged(path) from error


def _unsealed(path: Path, sealed: bytes, keyring: Keyring) -> bytes:
    try:
        return keyring.open(sealed, **_SEALED)
    except SealingError as error:
        raise _damaged(path) from error


def _damaged(path: Path) -> BackupFileError:
    return BackupFileError(f"The backup {path} is damaged: it is not what was written.")


def _pieces(file: IO[bytes]) -> Iterator[bytes]:
    while piece := file.read(_PIECE):
        yield piece
