"""Signs of life: each process of a server tells bin/serve that it lives, so that a frozen one is noticed.

A beat is a datagram with the process's kind in it; who sent it, the kernel says (SO_PASSCRED). It is sent by a thread,
which a stopped or swapped-out process does not run, and only while the main loop gets on, if there is one to watch.
Nothing is sent, and nothing fails, where nobody listens: a shell, a test, a command of manage.py.
"""

from __future__ import annotations

import contextlib
import socket
import threading
import time

from django.conf import settings

BEAT_SECONDS = 0.5


class Heart:
    """Beats until the process ends, or until its main loop has been stuck for too long."""

    def __init__(self, kind: str, *, stuck_after_seconds: float | None):
        self._kind = kind.encode()
        self._stuck_after_seconds = stuck_after_seconds
        self._last_progress = time.monotonic()

    def progress(self) -> None:
        """Call it once in each round of the main loop."""
        self._last_progress = time.monotonic()

    def beat_for_ever(self, address: str) -> None:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as to:
            # A listener that is busy reads later; waiting for it would make its slowness ours.
            to.setblocking(False)
            while True:
                if not self._is_stuck():
                    # Nobody listens, or its queue is full: the next beat says the same.
                    with contextlib.suppress(OSError):
                        to.sendto(self._kind, address)
                time.sleep(BEAT_SECONDS)

    def _is_stuck(self) -> bool:
        limit = self._stuck_after_seconds
        return limit is not None and time.monotonic() - self._last_progress > limit


def begin(kind: str, *, stuck_after_seconds: float | None = None) -> Heart:
    """Begin to beat, if bin/serve listens.

    stuck_after_seconds: the longest that one round of the main loop may take; None if there is no loop of ours.
    """
    heart = Heart(kind, stuck_after_seconds=stuck_after_seconds)
    if settings.HEARTBEAT:
        threading.Thread(target=heart.beat_for_ever, args=(settings.HEARTBEAT,), name="heart", daemon=True).start()
    return heart
