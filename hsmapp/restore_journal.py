"""What the last restore into a data folder has done: `<data>/restore.json`.

Written before the first change, so that a server never starts on what a restore left halfway; and at its end, so that
the same restore once more knows that there is nothing left to do with the database.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path

from hsmapp.durable import write_durably


@dataclass(frozen=True)
class Journal:
    backup: str  # identity of the backup (backup_file.identity)
    folder: str  # name of the folder below <data>/replaced that keeps what was there before
    database: str = ""  # SHA-256 of the database as the restore left it; empty: the restore is not finished


def _path(data: Path) -> Path:
    return data / "restore.json"


def read(data: Path) -> Journal | None:
    try:
        return Journal(**json.loads(_path(data).read_text()))
    except FileNotFoundError:
        return None


def is_unfinished(data: Path) -> bool:
    """Whether a restore into this data folder was cut short."""
    found = read(data)
    return found is not None and not found.database


def begin(data: Path, backup: str, folder: str) -> None:
    _write(data, Journal(backup, folder))


def finish(data: Path, database: Path) -> None:
    found = read(data)
    if found is not None:
        _write(data, Journal(found.backup, found.folder, digest_of(database)))


def _write(data: Path, journal: Journal) -> None:
    write_durably(_path(data), json.dumps(asdict(journal)).encode())


def digest_of(database: Path) -> str:
    with database.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
