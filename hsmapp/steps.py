"""Where each thread is in work that must survive a crash at every line: a mark that outlives the process.

With CASEMATE_STEPS=<folder> every process keeps a file there, named after its process id and mapped into memory, with a
byte for each thread. A mark is a write to that memory, so it neither holds the work up nor is lost by kill -9: a crash
test reads the file to aim a kill at a step, and to count afterwards in which step it struck. Without the setting
nothing is kept. Imports nothing of Django at the top, so that whoever watches the files needs none of it.
"""

from __future__ import annotations

import enum
import itertools
import mmap
import os
import threading
from pathlib import Path

SLOTS = 64  # threads that can be told apart; later ones share


class Step(enum.IntEnum):
    """What is true from here on, until the next step."""

    NONE = 0
    # CreateKey (key_creation.py)
    INTENT_WRITTEN = 1  # no HSM knows of the key yet
    MASKED = 2  # one HSM has made it and wrapped it; nothing persistent exists
    ON_SOME_HSMS = 3
    ON_ALL_HSMS = 4
    COMMITTING = 5  # inside the transaction that makes the key
    COMMITTED = 6  # the caller has not been told
    GIVING_UP = 7  # what was made is being destroyed
    # ConnectCustomKeyStore (credentials.py)
    PASSWORD_PROVED = 8
    PENDING_WRITTEN = 9  # the new password is in the database, and on no HSM
    CHANGED_ON_SOME_HSMS = 10
    CHANGED_ON_ALL_HSMS = 11
    PASSWORD_CURRENT = 12  # the store is not CONNECTED yet
    # ScheduleKeyDeletion and CancelKeyDeletion (kmsapp/operations/key_deletion.py)
    SCHEDULING = 13  # inside the transaction
    SCHEDULED = 14  # the caller has not been told
    CANCELLING = 15  # inside the transaction
    CANCELLED = 16  # the caller has not been told
    # Deleting a key (kmsapp/key_deletion_jobs.py, tombstones.py)
    DELETING = 17  # inside the transaction
    DELETED = 18  # every HSM holds it still
    OBJECT_DESTROYED = 19  # in one HSM, which is still on the tombstone


CREATE_KEY = tuple(Step(number) for number in range(1, 7))
CONNECT = tuple(Step(number) for number in range(8, 13))
DELETE_KEY = tuple(Step(number) for number in range(13, 20))

_slots = threading.local()
_numbers = itertools.count()
_maps: dict[int, mmap.mmap] = {}  # process id -> its file; a forked child gets its own


def reach(step: Step) -> None:
    """This thread has come to the step."""
    from django.conf import settings

    if settings.STEPS:
        _mark(Path(settings.STEPS), step)


def leave() -> None:
    """This thread's work has ended, one way or another."""
    if hasattr(_slots, "number"):  # most work reaches no step
        reach(Step.NONE)


def _mark(folder: Path, step: Step) -> None:
    slot = getattr(_slots, "number", None)
    if slot is None:
        slot = _slots.number = next(_numbers) % SLOTS
    pid = os.getpid()
    if pid not in _maps:
        _maps[pid] = _open(folder / str(pid))
    _maps[pid][slot] = step


def _open(path: Path) -> mmap.mmap:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        os.ftruncate(descriptor, SLOTS)
        return mmap.mmap(descriptor, SLOTS)
    finally:
        os.close(descriptor)


def read(path: Path) -> list[Step]:
    """The steps in which the threads of a process are, or were when it died. Empty if there is no such file."""
    try:
        return [Step(number) for number in path.read_bytes() if number]
    except FileNotFoundError:
        return []
