"""The file of a backup: what was written comes back, and whatever was changed in it is refused."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from hsmapp import backup_file
from hsmapp.backup_file import BackupFileError, Manifest
from hsmapp.sealing import PURPOSES, Keyring

MASTER_KEY = bytes(range(32))
KEYRING = Keyring.from_master_key(MASTER_KEY)
DATABASE = os.urandom(3 * 1024 * 1024 + 5)  # more than one piece
MANIFEST = Manifest(
    "2026-11-24T00:00:00+00:00", KEYRING.master_key_id.hex(), "ab" * 32, ["hsmapp.0001_initial"], {"keys": 3}
)


@pytest.fixture
def backup(tmp_path: Path) -> Path:
    database = tmp_path / "database"
    database.write_bytes(DATABASE)
    size = backup_file.write(tmp_path / "backup", database, MANIFEST, KEYRING)
    database.unlink()
    assert size == (tmp_path / "backup").stat().st_size
    return tmp_path / "backup"


def test_what_was_written_comes_back(backup: Path) -> None:
    target = backup.with_name("target")
    assert backup_file.extract(backup, target, KEYRING) == MANIFEST
    assert target.read_bytes() == DATABASE
    assert [stat.S_IMODE(path.stat().st_mode) for path in (backup, target)] == [0o600, 0o600]


def test_two_backups_of_the_same_database_are_told_apart(backup: Path) -> None:
    target, other = backup.with_name("target"), backup.with_name("other")
    backup_file.extract(backup, target, KEYRING)
    backup_file.write(other, target, MANIFEST, KEYRING)
    assert backup_file.identity(backup) != backup_file.identity(other)


def one_bit(position: float) -> Callable[[bytes], bytes]:
    def flip(content: bytes) -> bytes:
        at = int(position * (len(content) - 1))
        return content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :]

    return flip


def in_line(number: int, old: bytes, new: bytes) -> Callable[[bytes], bytes]:
    def change(content: bytes) -> bytes:
        lines = content.split(b"\n", 3)
        assert old in lines[number]
        lines[number] = lines[number].replace(old, new, 1)
        return b"\n".join(lines)

    return change


DAMAGES = {
    "a bit early in the database": (one_bit(0.1), "is damaged"),
    "a bit in the middle": (one_bit(0.5), "is damaged"),
    "the last bit": (one_bit(1.0), "is damaged"),
    "its end is missing": (lambda content: content[:-1], "is damaged"),
    "more at its end": (lambda content: content + b"\0", "is damaged"),
    "empty": (lambda content: b"", "is not a backup"),
    "a database instead": (lambda content: content.split(b"\n", 3)[3], "is not a backup"),
    "a seal that is none": (in_line(1, b"01", b"0x"), "is damaged"),
    "counts that were changed": (in_line(2, b'"keys":', b'"keys":1'), "is damaged"),
    "a manifest that is none": (in_line(2, b"{", b""), "is damaged"),
    "a later format": (in_line(0, b"backup 1", b"backup 2"), "format that this code does not know"),
}


@pytest.mark.parametrize(("damage", "sentence"), DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_backup_is_refused_and_leaves_no_database(
    backup: Path, damage: Callable[[bytes], bytes], sentence: str
) -> None:
    backup.write_bytes(damage(backup.read_bytes()))
    with pytest.raises(BackupFileError, match=sentence):
        backup_file.extract(backup, backup.with_name("target"), KEYRING)
    assert list(backup.parent.iterdir()) == [backup]


def test_another_master_key_opens_nothing(backup: Path) -> None:
    other = Keyring.from_master_key(bytes(32))
    with pytest.raises(BackupFileError, match="under another master key"):
        backup_file.extract(backup, backup.with_name("target"), other)
    # Whoever writes the id of his own key into the manifest still has no seal of ours.
    backup.write_bytes(
        backup.read_bytes().replace(KEYRING.master_key_id.hex().encode(), other.master_key_id.hex().encode())
    )
    with pytest.raises(BackupFileError, match="is damaged"):
        backup_file.extract(backup, backup.with_name("target"), other)


def test_no_running_process_is_given_the_key_that_seals_backups() -> None:
    from hsmapp import sealing

    handed_out = {*sealing.WEB_WORKER, *sealing.SUPERVISOR, *sealing.JOBS}
    assert sealing.BACKUP_FILE in set(PURPOSES) - handed_out
