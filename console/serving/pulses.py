"""Who has shown a sign of life lately (hsmapp/heartbeat.py), heard on a socket in the data folder."""

from __future__ import annotations

import os
import socket
import struct
from dataclasses import dataclass
from pathlib import Path

from hsmapp.unix_sockets import unix_address

_CREDENTIALS = struct.Struct("3i")  # struct ucred: pid, uid, gid
# Silence is counted while this process listens. What it missed while it was stopped, busy or asleep says nothing.
LONGEST_ROUND_SECONDS = 0.5


@dataclass
class Pulse:
    """One process that has beaten."""

    kind: str
    silent_seconds: float = 0.0  # below 0 while it starts: how long it still has until its first beat
    has_beaten: bool = True
    is_woken: bool = False  # it was sent SIGCONT in this silence


class Pulses:
    """The signs of life of all processes, by process id."""

    def __init__(self, path: Path):
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        self.path = path
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        self._socket.setblocking(False)
        folder = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            self._socket.bind(unix_address(folder, path))
        finally:
            os.close(folder)
        self._pulses: dict[int, Pulse] = {}

    def listen(self, elapsed_seconds: float) -> None:
        """Take in what has come; elapsed_seconds: since the last call."""
        for pulse in self._pulses.values():
            pulse.silent_seconds += min(elapsed_seconds, LONGEST_ROUND_SECONDS)
        while (beat := self._receive()) is not None:
            pid, kind = beat
            self.beat(pid, kind)
        for pid in [pid for pid in self._pulses if not Path(f"/proc/{pid}").exists()]:
            del self._pulses[pid]

    def expect(self, pid: int, kind: str, within_seconds: float) -> None:
        """Wait for the first beat of a process that has just been started."""
        self._pulses[pid] = Pulse(kind, silent_seconds=-within_seconds, has_beaten=False)

    def beat(self, pid: int, kind: str) -> None:
        """Note a sign of life."""
        self._pulses[pid] = Pulse(kind)

    def of(self, pid: int) -> Pulse | None:
        return self._pulses.get(pid)

    def of_children(self, parent: int) -> dict[int, Pulse]:
        """The pulses of a process's own children, by process id."""
        return {pid: pulse for pid, pulse in self._pulses.items() if parent_of(pid) == parent}

    def close(self) -> None:
        self._socket.close()
        self.path.unlink(missing_ok=True)

    def _receive(self) -> tuple[int, str] | None:
        """The next beat: the sender's process id and kind."""
        while True:
            try:
                data, ancillary, _, _ = self._socket.recvmsg(64, socket.CMSG_SPACE(_CREDENTIALS.size))
            except BlockingIOError:
                return None
            for level, kind, content in ancillary:
                if level == socket.SOL_SOCKET and kind == socket.SCM_CREDENTIALS:
                    pid, uid, _ = _CREDENTIALS.unpack(content[: _CREDENTIALS.size])
                    if uid == os.geteuid():
                        return pid, data.decode(errors="replace")


def _stat(pid: int) -> list[str]:
    """The fields of /proc/<pid>/stat from the state on; none if there is no such process."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
    except OSError:
        return []


def parent_of(pid: int) -> int | None:
    fields = _stat(pid)
    return int(fields[1]) if fields else None


def is_stopped(pid: int) -> bool:
    """Whether the process was stopped by a signal (SIGSTOP)."""
    return _stat(pid)[:1] == ["T"]
