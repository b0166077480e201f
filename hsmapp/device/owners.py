"""The owner journal: which HSM user owns the key with a label.

Lies beside the token, because PKCS#11 knows no owners. Only appended to: a record is on the disk before its key is in
the token. A record is length (4 bytes) | CRC-32 (4 bytes) | msgpack [label, id, owner]; an owner of None says that
the key was destroyed. The last record of a label counts. A crash can tear only the last record, which is cut off at
the next start.
"""

from __future__ import annotations

import contextlib
import os
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path

import msgpack

from hsmapp.durable import sync, write_durably

# In place of an owner: nobody's, and not to be used. No HSM user can have this name.
QUARANTINED = "casemate quarantine"

_HEAD = struct.Struct(">II")
# Rewritten at a start when it holds this many times more records than keys.
_STALE_FACTOR = 4
_STALE_MINIMUM = 1000


class OwnerJournal:
    """The owners of one token's keys. Keys are named by label and id together."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._owners: dict[tuple[str, str], str] = {}
        records = self._read()
        if records > max(_STALE_MINIMUM, _STALE_FACTOR * len(self._owners)):
            with contextlib.suppress(OSError):  # no room: it is as good as it is, and shorter at another start
                self._rewrite()
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        sync(path.parent)

    def _read(self) -> int:
        if not self._path.exists():
            return 0
        content = self._path.read_bytes()
        good, records = 0, 0
        for end, (label, id_, owner) in _records(content):
            good, records = end, records + 1
            self._apply(label, id_, owner)
        if good < len(content):
            os.truncate(self._path, good)
        return records

    def _apply(self, label: str, id_: str, owner: str | None) -> None:
        if owner is None:
            self._owners.pop((label, id_), None)
        else:
            self._owners[label, id_] = owner

    def _rewrite(self) -> None:
        content = b"".join(_record(label, id_, owner) for (label, id_), owner in self._owners.items())
        write_durably(self._path, content)

    def owner(self, label: str, id_: str) -> str | None:
        return self._owners.get((label, id_))

    def owns_any(self, owner: str) -> bool:
        return owner in self._owners.values()

    def note(self, label: str, id_: str, owner: str) -> None:
        """Record the owner; on the disk when this returns."""
        if self._owners.get((label, id_)) == owner:
            return
        self._append(_record(label, id_, owner))
        os.fdatasync(self._file)
        self._apply(label, id_, owner)

    def forget(self, label: str, id_: str) -> None:
        """Record that the key is gone. Not synced: a record of a key that is not there does no harm."""
        if (label, id_) in self._owners:
            self._append(_record(label, id_, None))
            self._apply(label, id_, None)

    def _append(self, record: bytes) -> None:
        before = os.fstat(self._file).st_size
        if os.write(self._file, record) != len(record):
            # A torn record in the middle would hide all that follow it.
            os.ftruncate(self._file, before)
            raise OSError("the owner journal takes no more records")

    def close(self) -> None:
        os.close(self._file)


def _record(label: str, id_: str, owner: str | None) -> bytes:
    body: bytes = msgpack.packb([label, id_, owner])
    return _HEAD.pack(len(body), zlib.crc32(body)) + body


def _records(content: bytes) -> Iterator[tuple[int, tuple[str, str, str | None]]]:
    position = 0
    while position + _HEAD.size <= len(content):
        length, checksum = _HEAD.unpack_from(content, position)
        end = position + _HEAD.size + length
        body = content[position + _HEAD.size : end]
        if len(body) < length or zlib.crc32(body) != checksum:
            return
        label, id_, owner = msgpack.unpackb(body)
        yield end, (label, id_, owner)
        position = end
