"""How long a whole call may take, however many HSMs it asks."""

from __future__ import annotations

import time

# Less is not worth a message: an HSM that is well would be taken for one that does not answer.
LEAST_SECONDS = 0.1


class Deadline:
    """Begins when it is made."""

    def __init__(self, seconds: float):
        self._end = time.monotonic() + seconds

    @property
    def left_seconds(self) -> float:
        return max(0.0, self._end - time.monotonic())

    @property
    def is_over(self) -> bool:
        """Whether nobody is asked any more."""
        return self.left_seconds < LEAST_SECONDS

    def at_most(self, seconds: float) -> float:
        """What one message may take that may take so long by itself."""
        return max(LEAST_SECONDS, min(seconds, self.left_seconds))
