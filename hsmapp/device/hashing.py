"""The one thread that hashes passwords.

Argon2 takes milliseconds and frees the interpreter meanwhile, so it runs beside the main thread, which alone touches
PKCS#11. The queue is short: who comes when it is full is told so, instead of waiting behind ten thousand wrong
logins. And it is shared out between the client processes, so that no single one can keep the others from logging in.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections import Counter, deque
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


@dataclass(frozen=True)
class _Queued:
    job: HashJob
    tag: object
    client: int


class HashingThread:
    """Runs jobs one after another. `wake` is readable (an eventfd) when `finished` has something."""

    def __init__(self) -> None:
        self.wake = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._queue: list[_Queued] = []
        self._filled = threading.Condition()
        self._done: deque[tuple[HashJob, object, Any]] = deque()
        threading.Thread(target=self._run, name="hashing", daemon=True).start()

    def submit(self, job: HashJob, tag: object, client: int) -> object | None:
        """Queue the job of a client; `tag` comes back with its result.

        When the queue is full, a place in it is a matter of shares. Return the tag of the job that found none: of this
        one, or of the last one of the client that has most, if it has more than this client would.
        """
        with self._filled:
            refused = None
            if len(self._queue) >= QUEUE_LENGTH:
                refused = self._last_of_greediest(client)
                if refused is None:
                    return tag
                self._queue.remove(refused)
            self._queue.append(_Queued(job, tag, client))
            self._filled.notify()
        return None if refused is None else refused.tag

    def _last_of_greediest(self, client: int) -> _Queued | None:
        shares = Counter(queued.client for queued in self._queue)
        greediest, most = shares.most_common(1)[0]
        if most <= shares[client] + 1:
            return None
        return next(queued for queued in reversed(self._queue) if queued.client == greediest)

    def finished(self) -> list[tuple[HashJob, object, Any]]:
        with contextlib.suppress(BlockingIOError):
            os.eventfd_read(self.wake)
        results = []
        while self._done:
            results.append(self._done.popleft())
        return results

    def _run(self) -> None:
        while True:
            with self._filled:
                while not self._queue:
                    self._filled.wait()
                queued = self._queue.pop(0)
            try:
                result: Any = queued.job.work()
            except Exception as error:  # the result belongs to the main thread, which raises it there
                result = error
            self._done.append((queued.job, queued.tag, result))
            os.eventfd_write(self.wake, 1)
