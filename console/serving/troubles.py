"""What bin/serve knows to be wrong with its processes, for /healthz, which a web worker answers.

A note in memory that bin/serve writes and its web workers read by its path in /proc: it needs no disk, and is gone with
the server that wrote it.
"""

from __future__ import annotations

import json
import os

SIZE = 2048  # always written whole, in one go, so that a reader never finds it shorter


class TroubleNote:
    """bin/serve's end: the troubles by process name."""

    def __init__(self) -> None:
        self._descriptor = os.memfd_create("casemate-troubles")
        self._written: dict[str, str] | None = None
        self.write({})

    @property
    def path(self) -> str:
        return f"/proc/{os.getpid()}/fd/{self._descriptor}"

    def write(self, troubles: dict[str, str]) -> None:
        if troubles != self._written:
            os.pwrite(self._descriptor, json.dumps(troubles).encode().ljust(SIZE)[:SIZE], 0)
            self._written = dict(troubles)

    def close(self) -> None:
        os.close(self._descriptor)


def read(path: str) -> dict[str, str]:
    """The troubles noted at a path; none where no bin/serve keeps a note, or while it is being changed."""
    if not path:
        return {}
    try:
        with open(path) as note:
            troubles: dict[str, str] = json.loads(note.read())
    except (OSError, ValueError):
        return {}
    return troubles
