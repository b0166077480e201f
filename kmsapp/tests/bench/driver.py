"""Sends prepared requests over kept-alive connections, and takes the time of each answer.

One thread and one `select`, so that the driver takes little of the machine that it shares with what it measures.
"""

from __future__ import annotations

import collections
import re
import select
import socket
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

ANSWER_SECONDS = 30.0  # no answer within that: the measurement is void
IDLE_SECONDS = 0.5  # a server may close a connection that carried nothing for so long
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)\r\n", re.IGNORECASE)
_CLOSES = re.compile(rb"\r\nconnection: *close\r\n", re.IGNORECASE)


@dataclass(frozen=True)
class Target:
    """A server's address and the requests for it, sent in turn."""

    port: int
    requests: Sequence[bytes] = field(repr=False)


@dataclass(frozen=True)
class Answer:
    """An answer with a 200."""

    number: int  # of its request among the target's
    since: float  # when the call was timed from (time.perf_counter)
    seconds: float  # that it took
    body: bytes = field(repr=False)


Note = Callable[[Answer], None]


@dataclass
class Run:
    """What one measurement gave."""

    seconds: float = 0.0
    latencies: list[float] = field(default_factory=list)  # seconds, of calls that were answered with a 200
    failures: collections.Counter[str] = field(default_factory=collections.Counter)  # status line and body -> count

    @property
    def rate(self) -> float:
        """Answered calls a second."""
        return len(self.latencies) / self.seconds

    def percentile_ms(self, percent: float) -> float:
        if len(self.latencies) < 2:
            return self.latencies[0] * 1000 if self.latencies else float("nan")
        # Nearest to a thousandth: 99.9 is asked for too.
        return statistics.quantiles(self.latencies, n=1000)[round(percent * 10) - 1] * 1000


class _Client:
    """One connection with at most one call under way."""

    def __init__(self, port: int):
        self._port = port
        self.since = 0.0  # from when the call under way is timed
        self.number = 0  # of its request
        self.body = b""
        self._answer = b""
        self._used = 0.0  # when it last carried something (time.perf_counter)
        self._socket = self._connect()

    def _connect(self) -> socket.socket:
        made = socket.create_connection(("127.0.0.1", self._port), timeout=ANSWER_SECONDS)
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        # Read only when select says so: with a time limit, Python would ask the kernel once more for each call.
        made.settimeout(None)
        self._used = time.perf_counter()
        return made

    def fileno(self) -> int:
        return self._socket.fileno()

    def send(self, request: bytes, number: int, since: float) -> None:
        self.since, self.number, self._answer, self.body = since, number, b"", b""
        # As HTTP clients do: what was idle for long the server may have closed, and then no request is lost on it.
        now = time.perf_counter()
        if now - self._used > IDLE_SECONDS and select.select([self._socket], [], [], 0)[0]:
            self._reconnect()
        self._used = now
        self._socket.sendall(request)

    def receive(self) -> bytes | None:
        """Take in what has come; the status line once the answer is complete."""
        part = self._socket.recv(262_144)
        self._answer += part
        head, end, body = self._answer.partition(b"\r\n\r\n")
        if not part:
            self._reconnect()
            return head.partition(b"\r\n")[0] or b"the connection was closed"
        length = _LENGTH.search(head + b"\r\n")
        if not end or length is None or len(body) < int(length[1]):
            return None
        self.body = body
        if _CLOSES.search(head + b"\r\n"):
            self._reconnect()
        return head.partition(b"\r\n")[0]

    def _reconnect(self) -> None:
        self._socket.close()
        self._socket = self._connect()

    def close(self) -> None:
        self._socket.close()


class _Loop:
    """The connections of one measurement: those that wait for an answer, and those that wait for work."""

    def __init__(self, target: Target, connections: int, note: Note | None = None):
        self._requests = target.requests
        self._note = note
        self._sent = 0
        self.idle = [_Client(target.port) for _ in range(connections)]
        self.busy: list[_Client] = []
        self.run = Run()

    def send(self, since: float) -> None:
        client = self.idle.pop()
        number = self._sent % len(self._requests)
        client.send(self._requests[number], number, since)
        self._sent += 1
        self.busy.append(client)

    def wait(self, seconds: float) -> None:
        """Wait so long at most for answers, and note them."""
        ready, _, _ = select.select(self.busy, [], [], max(seconds, 0.0))
        for client in ready:
            status = client.receive()
            if status is None:
                continue
            if status.startswith((b"HTTP/1.1 200", b"HTTP/1.0 200")):
                took = time.perf_counter() - client.since
                self.run.latencies.append(took)
                if self._note is not None:
                    self._note(Answer(client.number, client.since, took, client.body))
            else:
                self.run.failures[
                    f"{status.decode(errors='replace')} {client.body.decode(errors='replace')}"[:500]
                ] += 1
            self.busy.remove(client)
            self.idle.append(client)

    def send_all(self, count: int) -> None:
        """Send so many calls as a closed loop, and wait for all answers but the last ones under way."""
        while count:
            while self.idle and count:
                self.send(time.perf_counter())
                count -= 1
            self.wait(0.1)

    def drain(self) -> None:
        """Wait for the answers under way."""
        deadline = time.perf_counter() + ANSWER_SECONDS
        while self.busy and time.perf_counter() < deadline:
            self.wait(0.1)

    def finish(self, started: float) -> Run:
        """Wait for the answers under way, and give what was measured."""
        self.drain()
        self.run.seconds = time.perf_counter() - started
        self.run.failures["no answer"] += len(self.busy)
        self.run.failures = +self.run.failures
        for client in (*self.idle, *self.busy):
            client.close()
        return self.run


def closed_loop(target: Target, *, connections: int, seconds: float, warm_calls: int = 0) -> Run:
    """As many calls as the server answers: each connection sends the next one when it has its answer.

    warm_calls: so many come before over the same connections, which lead to the same workers, and are not counted.
    """
    loop = _Loop(target, connections)
    loop.send_all(warm_calls)
    loop.drain()
    loop.run = Run()
    started = time.perf_counter()
    while (now := time.perf_counter()) < started + seconds:
        while loop.idle:
            loop.send(now)
        loop.wait(0.1)
    return loop.finish(started)


def counted(target: Target, *, connections: int, note: Note | None = None) -> Run:
    """Each request once, as a closed loop. note: is told each answer."""
    loop = _Loop(target, connections, note)
    started = time.perf_counter()
    loop.send_all(len(target.requests))
    return loop.finish(started)


def open_loop(target: Target, *, rate: float, seconds: float, connections: int = 64, note: Note | None = None) -> Run:
    """Calls at fixed moments, whether or not earlier ones were answered; a call that finds no free connection waits.

    Latency counts from the scheduled moment, so that a slow answer is paid for by all calls that it holds up.
    note: is told each answer.
    """
    loop = _Loop(target, connections, note)
    started = time.perf_counter()
    total = round(rate * seconds)
    sent = 0
    while sent < total:
        now = time.perf_counter()
        while loop.idle and sent < total and (due := started + sent / rate) <= now:
            loop.send(due)
            sent += 1
        loop.wait(started + sent / rate - time.perf_counter() if loop.idle else 0.1)
    return loop.finish(started)
