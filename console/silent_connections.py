"""Connections on which the rest of a request never comes, and their end.

granian gives a request to a thread when its head is there, and the thread waits for the body for as long as the client
says nothing: as many silent clients as there are threads would stop the server for good. granian has a limit for heads
and for idle connections, and none for bodies. So each web worker looks what the kernel knows of the connections that it
has accepted, and ends those on which nothing was said for longer than any call takes; the body then ends too, short of
its length.
"""

from __future__ import annotations

import logging
import os
import socket
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress

# A call has a deadline of half a minute at the most (CreateKey's).
SILENT_SECONDS = 60.0
LOOK_SECONDS = 5.0

# Of struct tcp_info in linux/tcp.h: the milliseconds since data was last sent, and last received.
_TCP_INFO_BYTES = 104
_LAST_SENT, _LAST_RECEIVED = 44, 52

_log = logging.getLogger(__name__)


def watch() -> None:
    """Look for them until the process ends, in a thread of its own."""
    threading.Thread(target=_watch, name="silent connections", daemon=True).start()


def _watch() -> None:
    while True:
        time.sleep(LOOK_SECONDS)
        with suppress(OSError):  # no descriptors left to look with
            if ended := end(SILENT_SECONDS):
                _log.warning("ended %d connections on which the rest of a request did not come", ended)


def end(silent_seconds: float) -> int:
    """End connections that this process has accepted and on which neither side said anything for so long; how many."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(one) for one in _tcp_sockets()]
        own = {one.getsockname()[1] for one in sockets if _is_listening(one)}
        return sum(
            _end(one, silent_seconds) for one in sockets if one.getsockname()[1] in own and not _is_listening(one)
        )


def _end(connection: socket.socket, silent_seconds: float) -> bool:
    try:
        is_silent = _silence(connection) > silent_seconds
        if is_silent:
            connection.shutdown(socket.SHUT_RDWR)
    except OSError:
        return False  # the client was quicker
    return is_silent


def _tcp_sockets() -> Iterator[socket.socket]:
    """Sockets of one's own for the same connections: what happens to the process's own meanwhile is no matter."""
    for name in os.listdir("/proc/self/fd"):
        with suppress(OSError):
            if os.readlink(f"/proc/self/fd/{name}").startswith("socket:"):
                duplicate = socket.socket(fileno=os.dup(int(name)))
                if duplicate.family in (socket.AF_INET, socket.AF_INET6) and duplicate.type == socket.SOCK_STREAM:
                    yield duplicate
                else:
                    duplicate.close()


def _is_listening(connection: socket.socket) -> bool:
    return bool(connection.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN))


def _silence(connection: socket.socket) -> float:
    """Seconds since either side said anything."""
    info = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TCP_INFO_BYTES)
    milliseconds: list[int] = [struct.unpack_from("=I", info, at)[0] for at in (_LAST_SENT, _LAST_RECEIVED)]
    return min(milliseconds) / 1000
