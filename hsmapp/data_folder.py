"""Who may work on a data folder: one server, or one restore, at a time."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class FolderInUseError(Exception):
    """A server, or a restore, is at work on the data folder."""


@contextmanager
def held(data: Path) -> Iterator[None]:
    """Hold the data folder, making it if it is new; a new folder that stayed empty goes again.

    The kernel gives the lock back when this process ends, however it ends. Raises: FolderInUseError.
    """
    is_new = not data.exists()
    data.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = os.open(data, os.O_RDONLY | os.O_DIRECTORY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise FolderInUseError(str(data)) from error
        yield
    finally:
        os.close(descriptor)
        if is_new and not any(data.iterdir()):
            data.rmdir()
