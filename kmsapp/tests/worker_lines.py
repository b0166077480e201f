"""Kept connections to every web worker of a server: which worker serves one, and calls over it."""

from __future__ import annotations

import http.client
import json
import os
import socket
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from kmsapp.testing import Server

ANSWER_SECONDS = 30.0
MOST_TRIES = 2_000
_ESTABLISHED = "01"  # of /proc/net/tcp


@dataclass
class Line:
    """A connection that stays with one worker."""

    worker: int  # process id
    connection: socket.socket = field(repr=False)

    def call(self, request: bytes) -> str:
        """Send a signed request; the answer's error, empty for a 200."""
        self.connection.sendall(request)
        response = http.client.HTTPResponse(self.connection, method="POST")
        response.begin()
        body = response.read()
        if response.status == 200:
            return ""
        return str(json.loads(body)["__type"]).rpartition("#")[2]


def open_lines(server: Server, *, workers: int, each: int) -> list[Line]:
    """So many connections to each of the server's workers.

    The kernel chooses who takes a connection, so more are opened than are kept.
    """
    pids = server.web_workers()
    assert len(pids) == workers, pids
    found: Counter[int] = Counter()
    lines = []
    for _ in range(MOST_TRIES):
        connection = socket.create_connection(("127.0.0.1", server.port), timeout=ANSWER_SECONDS)
        worker = _worker_of(connection, pids)
        if worker is None or found[worker] == each:
            connection.close()
            continue
        found[worker] += 1
        lines.append(Line(worker, connection))
        if len(lines) == workers * each:
            return lines
    raise AssertionError(f"{MOST_TRIES} connections led to {dict(found)}")


def _worker_of(connection: socket.socket, pids: list[int]) -> int | None:
    """Which of the processes holds the other end; None while it waits to be taken."""
    inode = _inode(server_port=connection.getpeername()[1], client_port=connection.getsockname()[1])
    return next((pid for pid in pids if f"socket:[{inode}]" in _open_files(pid)), None)


def _inode(*, server_port: int, client_port: int) -> str:
    ends = (f"{server_port:04X}", f"{client_port:04X}", _ESTABLISHED)
    for row in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        fields = row.split()
        if (fields[1][-4:], fields[2][-4:], fields[3]) == ends:
            return fields[9]
    return ""


def _open_files(pid: int) -> set[str]:
    found = set()
    for name in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(OSError):
            found.add(os.readlink(name))
    return found
