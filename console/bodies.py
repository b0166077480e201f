"""The body of a browser's request: the whole of it, or an error.

granian gives what has come before a connection broke as if it were all there is. A form that was cut short would be
acted on: a text of which the end is missing, a tick that is not there. (On the AWS wire the signature sees to that.)
"""

from __future__ import annotations

import io
from typing import Protocol


class Readable(Protocol):
    """`wsgi.input`, of which granian's reads right by read(n) alone."""

    def read(self, size: int, /) -> bytes: ...


def whole(stream: Readable, length: int) -> io.BufferedReader:
    """The body of that many bytes. Reading it raises OSError, to Django a broken connection, if there are fewer."""
    return io.BufferedReader(_Whole(stream, length))


class _Whole(io.RawIOBase):
    def __init__(self, stream: Readable, length: int):
        self._stream, self._left = stream, length

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]  # what a BufferedReader gives
        wanted = min(len(buffer), self._left)
        chunk = self._stream.read(wanted) if wanted else b""
        if len(chunk) < min(1, wanted):
            raise OSError(f"the body of the request ended {self._left} bytes before its length")
        buffer[: len(chunk)] = chunk
        self._left -= len(chunk)
        return len(chunk)
