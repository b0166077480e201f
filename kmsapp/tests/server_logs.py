"""What a running server writes into its logs while a test is at work."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from kmsapp.testing import Casemate


@contextmanager
def no_bug(casemate: Casemate) -> Iterator[None]:
    """A bug's traceback goes to the log, whatever the wire said: none must be written inside."""
    before = {log: log.stat().st_size for log in (casemate.data / "log").glob("*")}
    yield
    for log in (casemate.data / "log").glob("*"):
        new = log.read_bytes()[before.get(log, 0) :]
        assert b"Traceback" not in new, new.decode()
