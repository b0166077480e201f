"""Counters of requests in memory that the web workers of one server share. Pure: no Django, no database.

Each counter says how many requests of one kind were let through in the second that is running. It has a cell for each
worker, which alone writes there, and is the sum of them: so no count is ever lost, and none needs a lock. Two workers
that look in the same instant may each let one through for the last place; in no second can it be more than one for each
further worker. A cell is one number of eight bytes, written at once, so a worker that is killed leaves no half of it.

Slots are given out under a lock, once for each name, and never again to another one: nobody ever counts where another
one does. docs/adr/0012-request-quotas-in-shared-memory.md
"""

from __future__ import annotations

import fcntl
import hashlib
import mmap
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

MOST_WORKERS = 128  # twice as many as bin/serve starts: one that is replaced serves on beside its successor
SLOTS = 1 << 16
MOST_PROBED = 32
NOWHERE = -1  # of a name that came too late for a slot: it is not limited
_SLOT = 1 + MOST_WORKERS  # a digest of the name, and the cells
_NUMBERS = 1 + SLOTS * _SLOT  # first of all, how many workers have cells
_SECOND_NS = 1_000_000_000
_COUNT_BITS = 32  # of a cell; above them is the second
_MOST_COUNTED = (1 << _COUNT_BITS) - 1


def make() -> int:
    """The descriptor of memory for the counters. Pages are taken as they are used."""
    descriptor = os.memfd_create("casemate-quotas")
    os.ftruncate(descriptor, 8 * _NUMBERS)
    return descriptor


@contextmanager
def _alone(descriptor: int) -> Iterator[None]:
    """No other worker claims anything meanwhile."""
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    try:
        yield
    finally:
        fcntl.flock(descriptor, fcntl.LOCK_UN)


class Counters:
    """The counters in the memory that a path leads to, as one worker counts there; its threads share this."""

    def __init__(self, path: str | Path):
        self._file = Path(path).open("r+b", buffering=0)  # noqa: SIM115  it is open, and locked, as long as this lives
        self._numbers = memoryview(mmap.mmap(self._file.fileno(), 8 * _NUMBERS)).cast("q")
        self._places: dict[str, int] = {}  # name -> its first cell
        self._lock = threading.Lock()
        self._worker = self._claim_cells()

    def admits(self, name: str, per_second: int) -> bool:
        """Count a request, unless as many were let through in this second."""
        place = self._places.get(name)
        if place is None:
            place = self._place(name)
        if place == NOWHERE:
            return True
        numbers, own = self._numbers, place + self._worker
        with self._lock:
            second = time.monotonic_ns() // _SECOND_NS << _COUNT_BITS
            admitted = 0
            for cell in range(place, place + numbers[0]):
                counted = numbers[cell] - second
                if 0 < counted <= _MOST_COUNTED:
                    admitted += counted
            if admitted >= per_second:
                return False
            numbers[own] = max(numbers[own], second) + 1
        return True

    def _claim_cells(self) -> int:
        """The number of this worker: the first that none has who lives. Its lock goes with its process."""
        for worker in range(MOST_WORKERS):
            try:
                fcntl.lockf(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, worker)
            except BlockingIOError:
                continue
            with _alone(self._file.fileno()):
                self._numbers[0] = max(self._numbers[0], worker + 1)
            return worker
        raise RuntimeError(f"more than {MOST_WORKERS} workers")

    def _place(self, name: str) -> int:
        mark = int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest(), "big", signed=True) or 1
        with self._lock, _alone(self._file.fileno()):
            place = self._places[name] = self._slot(mark)
        return place

    def _slot(self, mark: int) -> int:
        """The first cell of this mark's slot, claimed if no worker has done so yet; NOWHERE if there is none."""
        for probe in range(MOST_PROBED):
            slot = 1 + (mark + probe) % SLOTS * _SLOT
            if self._numbers[slot] == 0:
                self._numbers[slot] = mark
            if self._numbers[slot] == mark:
                return slot + 1
        return NOWHERE
