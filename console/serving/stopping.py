"""The request to stop: Ctrl-C, SIGTERM or SIGHUP.

The first signal raises StopRequested wherever the main thread is. Python drops what is raised in a destructor or a
callback of its own, and much of a start is imports, which have such callbacks; so the request is noted too, and `check`
raises it again. Imports next to nothing, so that a start can be stopped from its first moment on.
"""

from __future__ import annotations

import signal
from types import FrameType

_NUMBERS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_is_requested = False


class StopRequested(BaseException):
    """Ctrl-C, SIGTERM or SIGHUP."""


def on_signals() -> None:
    """Turn the first signal into StopRequested, and ignore further ones: the stop has its own time limit."""
    for number in _NUMBERS:
        signal.signal(number, _handle)


def check() -> None:
    """Raise StopRequested if a stop was requested."""
    if _is_requested:
        raise StopRequested


def _handle(number: int, frame: FrameType | None) -> None:
    global _is_requested
    _is_requested = True
    for each in _NUMBERS:
        signal.signal(each, signal.SIG_IGN)
    raise StopRequested
