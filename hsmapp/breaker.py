"""When an HSM is left alone and when it is tried again: a circuit breaker, one per HSM in each web worker.

Closed: calls go to the HSM. A call that gets no answer opens it, and from then on no call tries that HSM: one that is
frozen costs one deadline for the few calls under way, and nothing after that. Open: the pool tries to log in, in the
background, at once and then less and less often (half-open); a login that succeeds closes it. An HSM that fails again
soon after that keeps the longer pause, so that one that is merely slow is not met by call after call.

Pure: the time is an argument, in seconds of a monotonic clock. Whoever uses a breaker from several threads locks it.
"""

from __future__ import annotations

FIRST_PAUSE_SECONDS = 0.25
LONGEST_PAUSE_SECONDS = 4.0
STEADY_SECONDS = 30.0  # after so long without a failure, earlier ones are forgotten


class Breaker:
    """Whether an HSM is called, and when it may be probed."""

    def __init__(self) -> None:
        self._failures = 0  # since it was last steady
        self._closed_at = 0.0
        self._probe_at: float | None = None  # None while closed

    @property
    def is_open(self) -> bool:
        return self._probe_at is not None

    def seconds_to_probe(self, now: float) -> float:
        """How long from now a login must not be tried; 0 while closed."""
        return 0.0 if self._probe_at is None else max(0.0, self._probe_at - now)

    def call_failed(self, now: float) -> None:
        """A call got no answer. Of several that were under way at once only the first counts."""
        if self.is_open:
            return
        if now - self._closed_at >= STEADY_SECONDS:
            self._failures = 0
        self._open(now)

    def probe_failed(self, now: float) -> None:
        """A login got no answer."""
        self._open(now)

    def probe_succeeded(self, now: float) -> None:
        if self.is_open:
            self._probe_at, self._closed_at = None, now

    def _open(self, now: float) -> None:
        # No pause after the first failure: a process that was killed may have a successor already.
        pause = FIRST_PAUSE_SECONDS * 2 ** (self._failures - 1) if self._failures else 0.0
        self._probe_at = now + min(pause, LONGEST_PAUSE_SECONDS)
        self._failures += 1
