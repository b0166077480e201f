"""Real HSMs for tests in this process: the supervisor in a thread, SoftHSM tokens in a folder of the test's own."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from django.db import connection

from hsmapp import connections, database_files, epochs, hsms, sealing, supervisor
from hsmapp.models import Hsm

WAIT_SECONDS = 60.0


@contextmanager
def hsms_running() -> Iterator[None]:
    """Run the HSM processes that the database wants, on the tokens of settings.DATA."""
    sealing.keyring.cache_clear()
    epochs.forget_all()
    hsms.none_runs()
    stop = threading.Event()
    thread = threading.Thread(target=_supervise, args=(stop,), name="supervisor of a test")
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(WAIT_SECONDS)
        connections.close_pools()
        sealing.keyring.cache_clear()


def save_database(path: Path) -> None:
    """Copy the test's SQLite database into a file."""
    database_files.copy(path)


def load_database(path: Path) -> None:
    """Replace the contents of the test's SQLite database by those of a file."""
    connection.ensure_connection()
    with closing(sqlite3.connect(path)) as copy:
        copy.backup(connection.connection)


def _supervise(stop: threading.Event) -> None:
    try:
        supervisor.supervise(stop)
    finally:
        connection.close()


def wait_until(done: Callable[[], object], what: str) -> None:
    """Wait for something that other threads or processes bring about."""
    deadline = time.monotonic() + WAIT_SECONDS
    while not done():
        assert time.monotonic() < deadline, f"waited {WAIT_SECONDS} s for {what}"
        time.sleep(0.02)


def state_of(hsm_id: str) -> str:
    return str(Hsm.objects.values_list("state", flat=True).get(hsm_id=hsm_id))


def process_of(hsm_id: str, folder: Path) -> int:
    """Process id of the HSM process whose lock lies in this installation's folder."""
    lock = folder / "hsm" / f"{hsm_id}.lock"
    for process in Path("/proc").glob("[0-9]*"):
        try:
            command = (process / "cmdline").read_bytes().split(b"\0")
            if hsm_id.encode() in command and any(
                target.readlink() == lock for target in (process / "fd").iterdir() if target.is_symlink()
            ):
                return int(process.name)
        except OSError:
            continue  # it ended meanwhile, or belongs to somebody else
    raise LookupError(f"no process of {hsm_id}")
