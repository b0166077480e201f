"""The one thread that hashes passwords.

Argon2 takes milliseconds and frees the interpreter meanwhile, so it runs beside the main thread, which alone touches
PKCS#11. The queue is short: who comes when it is full is told so at once, instead of waiting behind ten thousand
wrong logins.
"""

from __future__ import annotations

import contextlib
import os
import queue
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

QUEUE_LENGTH = 16


@dataclass(frozen=True)
class HashJob:
    """work: runs in the hashing thread, touches nothing shared. finish: takes its result on the main thread and gives
    the answer, or a further job if what it was hashed for has changed meanwhile.
    """

    work: Callable[[], Any]
    finish: Callable[[Any], dict[str, Any] | HashJob]


class HashingThread:
    """Runs jobs one after another. `wake` is readable (an eventfd) when `finished` has something."""

    def __init__(self) -> None:
        self.wake = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._waiting: queue.Queue[tuple[HashJob, object]] = queue.Queue(QUEUE_LENGTH)
        self._done: deque[tuple[HashJob, object, Any]] = deque()
        threading.Thread(target=self._run, name="hashing", daemon=True).start()

    def submit(self, job: HashJob, tag: object) -> bool:
        """Queue the job; False if the queue is full. `tag` comes back with the result."""
        try:
            self._waiting.put_nowait((job, tag))
        except queue.Full:
            return False
        return True

    def finished(self) -> list[tuple[HashJob, object, Any]]:
        with contextlib.suppress(BlockingIOError):
            os.eventfd_read(self.wake)
        results = []
        while self._done:
            results.append(self._done.popleft())
        return results

    def _run(self) -> None:
        while True:
            job, tag = self._waiting.get()
            try:
                result: Any = job.work()
            except Exception as error:  # the result belongs to the main thread, which raises it there
                result = error
            self._done.append((job, tag, result))
            os.eventfd_write(self.wake, 1)
