"""The socket of the HSM process: one thread, one epoll loop, one request at a time.

Rules: a connection has 5 s for each frame it sends and for each answer it takes, and 10 s to log in; what is no frame
ends it. Each connection gets one request done per turn of the loop, and no further request is read from it before its
answer has left, so whatever one connection does, memory stays bounded and the others go on. The process ends when its
standard input does.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import struct
import sys
import time
import traceback
from collections import deque
from pathlib import Path
from typing import Any

from hsmapp.device import operations
from hsmapp.device.hashing import HashingThread, HashJob
from hsmapp.device.hsm import Hsm, Session
from hsmapp.device.operations import EndConnectionError
from hsmapp.device.protocol import (
    BAD_REQUEST,
    BUSY,
    HEADER,
    MAX_FRAME_BYTES,
    TOKEN_FAILED,
    FrameError,
    HsmAnswerError,
    pack,
    unpack,
)
from hsmapp.unix_sockets import unix_address

MAX_CONNECTIONS = 2048
FRAME_SECONDS = 5.0
LOGIN_SECONDS = 10.0
BUSY_SECONDS = 0.05
_SWEEP_SECONDS = 0.5
_BACKLOG = 1024
_ACCEPTS_PER_TURN = 64
_READ_BYTES = HEADER.size + MAX_FRAME_BYTES
_CREDENTIALS = struct.Struct("3i")
_HUNG_UP = select.EPOLLHUP | select.EPOLLERR
_STDIN = 0


class Peer:
    """One connection: what has come in, what has not gone out yet, and since when it has been so."""

    def __init__(self, connected: socket.socket, process: int, now: float) -> None:
        self.socket = connected
        self.process = process  # its client's process id
        self.number = connected.fileno()
        self.session = Session()
        self.received = bytearray()
        self.unsent = memoryview(b"")
        self.since = now  # when the present wait began: for a frame's rest, for an answer to be taken, or for a login
        self.hashing = False
        self.watched = select.EPOLLIN
        self.closed = False

    @property
    def overdue_seconds(self) -> float | None:
        """How long the present wait may last; None without limit."""
        if self.hashing:
            return None
        if self.unsent or self.received:
            return FRAME_SECONDS
        return LOGIN_SECONDS if self.session.role is None else None

    @property
    def wants(self) -> int:
        if self.unsent:
            return select.EPOLLOUT
        return 0 if self.hashing else select.EPOLLIN

    def take_frame(self) -> bytes | None:
        """Return the payload of the next whole frame, None if it has not all come. Raises: FrameError."""
        if len(self.received) < HEADER.size:
            return None
        (length,) = HEADER.unpack_from(self.received)
        if length > MAX_FRAME_BYTES:
            raise FrameError("oversized")
        end = HEADER.size + length
        if len(self.received) < end:
            return None
        payload = bytes(self.received[HEADER.size : end])
        del self.received[:end]
        return payload


class Server:
    """Serves one Hsm on one Unix socket until standard input ends or SIGTERM comes."""

    def __init__(self, hsm: Hsm, path: Path) -> None:
        self._hsm = hsm
        self._listening = listen(path)
        self._hashing = HashingThread()
        self._stop = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._epoll = select.epoll()
        for number in (self._listening.fileno(), self._hashing.wake, self._stop, _STDIN):
            self._epoll.register(number, select.EPOLLIN)
        self._peers: dict[int, Peer] = {}
        self._of_session: dict[Session, Peer] = {}
        self._ready: deque[Peer] = deque()
        self._next_sweep = 0.0
        self._busy: deque[tuple[float, Peer]] = deque()  # who found no place in the queue, and when it is told so

    def stop(self) -> None:
        """End `run` soon; may be called from a signal handler."""
        os.eventfd_write(self._stop, 1)

    def stop_on_signals(self) -> None:
        """Have SIGTERM and SIGINT end `run`; before anyone is told that the process is ready."""
        for kind in (signal.SIGTERM, signal.SIGINT):
            signal.signal(kind, lambda _number, _frame: self.stop())

    def run(self) -> None:
        while True:
            # A turn: whoever has something, then one request of each connection that has sent ahead.
            events = self._epoll.poll(self._idle_seconds())
            now = time.monotonic()
            waiting = False
            for number, event in events:
                if number in (self._stop, _STDIN):
                    if self._ends(number):
                        return
                elif number == self._listening.fileno():
                    waiting = True
                else:
                    self._handle(number, event, now)
            for _ in range(len(self._ready)):
                self._serve(self._ready.popleft(), now)
            while self._busy and self._busy[0][0] <= now:
                self._refuse(self._busy.popleft()[1], now)
            if waiting:
                # Last, so that no event of a connection closed in this turn meets a new one with its number.
                self._accept(now)
            if now >= self._next_sweep:
                self._sweep(now)

    def _idle_seconds(self) -> float:
        if self._ready:
            return 0.0
        until_told = self._busy[0][0] - time.monotonic() if self._busy else _SWEEP_SECONDS
        return min(max(until_told, 0.0), _SWEEP_SECONDS)

    def _ends(self, number: int) -> bool:
        # Nothing but its end is expected on standard input after the configuration.
        return number == self._stop or not os.read(_STDIN, 4096)

    def _handle(self, number: int, event: int, now: float) -> None:
        if number == self._hashing.wake:
            self._take_hashes(now)
        elif (peer := self._peers.get(number)) is not None:
            self._handle_peer(peer, event, now)

    def _handle_peer(self, peer: Peer, event: int, now: float) -> None:
        if event & _HUNG_UP:
            # What it had still asked for is not done either: it has stopped waiting and may have gone elsewhere.
            self._close(peer)
        elif event & select.EPOLLIN:
            self._read(peer, now)
        elif event & select.EPOLLOUT:
            self._send(peer, now)
            if not peer.unsent:
                self._ready.append(peer)

    def _accept(self, now: float) -> None:
        for _ in range(_ACCEPTS_PER_TURN):
            try:
                connected, _address = self._listening.accept()
            except OSError:
                return  # nobody is waiting any more, or no descriptor is free: whoever waits stays in the backlog
            process, uid = peer_credentials(connected)
            if len(self._peers) >= MAX_CONNECTIONS or uid != os.getuid():
                connected.close()
                continue
            connected.setblocking(False)
            peer = Peer(connected, process, now)
            self._peers[peer.number] = peer
            self._of_session[peer.session] = peer
            self._hsm.sessions.add(peer.session)
            self._epoll.register(peer.number, select.EPOLLIN)

    def _read(self, peer: Peer, now: float) -> None:
        try:
            part = peer.socket.recv(_READ_BYTES)
        except BlockingIOError:
            return
        except OSError:
            part = b""
        if not part:
            self._close(peer)
            return
        if not peer.received:
            peer.since = now
        peer.received += part
        self._serve(peer, now)

    def _serve(self, peer: Peer, now: float) -> None:
        """Carry out the next request of this connection, if there is a whole one and no answer is under way."""
        if peer.closed or peer.hashing or peer.unsent:
            return
        try:
            payload = peer.take_frame()
            if payload is None:
                return
            peer.since = now
            answer = self._answer(peer, payload)
        except (FrameError, EndConnectionError):
            self._close(peer)
            return
        self._end_sessions()
        if answer is not None:
            self._reply(peer, answer, now)
        self._watch(peer)

    def _answer(self, peer: Peer, payload: bytes) -> list[Any] | None:
        """Return the answer, or None if it comes when a hash is done. Raises: FrameError, EndConnectionError."""
        try:
            result = operations.run(self._hsm, peer.session, unpack(payload))
        except HsmAnswerError as error:
            return ["error", error.name, error.message]
        except RecursionError:
            return ["error", BAD_REQUEST, "nested too deeply"]
        except (FrameError, EndConnectionError):
            raise
        except Exception as error:  # the last stage: a defect costs one answer, not the HSM
            return _defect(error)
        if isinstance(result, HashJob):
            self._hash(peer, result)
            return None
        return ["ok", result]

    def _hash(self, peer: Peer, job: HashJob) -> None:
        peer.hashing = True
        refused = self._hashing.submit(job, peer, peer.process)
        if isinstance(refused, Peer):
            # Told at once, it would come again at once, and a crowd of such clients would keep this thread busy.
            self._busy.append((time.monotonic() + BUSY_SECONDS, refused))

    def _refuse(self, peer: Peer, now: float) -> None:
        if not peer.closed:
            peer.hashing = False
            self._reply(peer, ["error", BUSY, "too many logins at once; try again"], now)
            self._watch(peer)

    def _take_hashes(self, now: float) -> None:
        for job, tag, result in self._hashing.finished():
            peer = tag
            if not isinstance(peer, Peer) or peer.closed:
                continue
            peer.hashing = False
            answer = self._finish(peer, job, result)
            if answer is not None:
                self._reply(peer, answer, now)
            self._end_sessions()
            self._watch(peer)

    def _finish(self, peer: Peer, job: HashJob, hashed: Any) -> list[Any] | None:
        """Return the answer, or None if it takes another hash."""
        try:
            if isinstance(hashed, Exception):
                raise hashed
            result = job.finish(hashed)
        except HsmAnswerError as error:
            return ["error", error.name, error.message]
        except Exception as error:  # the last stage, as in _answer
            return _defect(error)
        if isinstance(result, HashJob):
            self._hash(peer, result)
            return None
        return ["ok", result]

    def _reply(self, peer: Peer, answer: list[Any], now: float) -> None:
        try:
            frame = pack(answer)
        except ValueError as error:
            frame = pack(_defect(error))
        peer.unsent = memoryview(frame)
        peer.since = now
        self._send(peer, now)
        if not peer.unsent and peer.received and not peer.closed:
            self._ready.append(peer)

    def _send(self, peer: Peer, now: float) -> None:
        try:
            sent = peer.socket.send(peer.unsent)
        except BlockingIOError:
            sent = 0
        except OSError:
            self._close(peer)
            return
        peer.unsent = peer.unsent[sent:]
        if not peer.unsent:
            peer.since = now
            if peer.session.end_after_answer:
                self._close(peer)
                return
        self._watch(peer)

    def _watch(self, peer: Peer) -> None:
        if not peer.closed and peer.wants != peer.watched:
            peer.watched = peer.wants
            self._epoll.modify(peer.number, peer.watched)

    def _end_sessions(self) -> None:
        while self._hsm.ending:
            peer = self._of_session.get(self._hsm.ending.pop())
            if peer is not None:
                self._close(peer)

    def _sweep(self, now: float) -> None:
        self._next_sweep = now + _SWEEP_SECONDS
        late = [
            peer
            for peer in self._peers.values()
            if (seconds := peer.overdue_seconds) is not None and now - peer.since > seconds
        ]
        for peer in late:
            self._close(peer)

    def _close(self, peer: Peer) -> None:
        if peer.closed:
            return
        peer.closed = True
        self._peers.pop(peer.number, None)
        self._of_session.pop(peer.session, None)
        self._hsm.sessions.discard(peer.session)
        self._epoll.unregister(peer.number)
        peer.socket.close()


def listen(path: Path) -> socket.socket:
    """Listen on a Unix socket, mode 0600, in place of a stale one: the caller holds the HSM's lock."""
    folder = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    before = os.umask(0o177)
    try:
        with contextlib.suppress(FileNotFoundError):
            path.unlink()
        listening.bind(unix_address(folder, path))
    finally:
        os.umask(before)
        os.close(folder)
    listening.listen(_BACKLOG)
    listening.setblocking(False)
    return listening


def peer_credentials(connected: socket.socket) -> tuple[int, int]:
    """Return process id and user id of the other side."""
    pid, uid, _gid = _CREDENTIALS.unpack(connected.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size))
    return pid, uid


def _defect(error: Exception) -> list[Any]:
    """Log where the error came from, and not its message, which may hold a value; answer without detail."""
    places = " < ".join(
        f"{Path(frame.filename).name}:{frame.lineno}" for frame in reversed(traceback.extract_tb(error.__traceback__))
    )
    with contextlib.suppress(OSError):  # the log's disk is full, say: no reason to end the HSM
        print(f"error: {type(error).__name__} at {places}", file=sys.stderr, flush=True)
    return ["error", TOKEN_FAILED, "an error inside the HSM process; its log has more"]
