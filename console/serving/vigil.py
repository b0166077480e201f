"""The watch over processes that run and do nothing: wakes them, kills what does not wake, and notes it for /healthz.

A process stopped by SIGSTOP (a debugger that went away, a slip of the keyboard) goes on after a SIGCONT with everything
it was doing, so that comes first; what stays silent is killed, and started again as anything that died.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

from console.serving.children import Child
from console.serving.pulses import Pulse, Pulses, is_stopped
from console.serving.troubles import TroubleNote

FIRST_BEAT_SECONDS = 60.0  # a start on a busy machine takes some seconds
NAMED_SECONDS = 2.0
WAKE_SECONDS = 3.0
# Processes beat twice a second. On a machine so busy that one is not run for so long, killing it is no loss.
KILL_SECONDS = 10.0


class Vigil:
    """Watches the processes of one server."""

    def __init__(self, socket_path: Path):
        self._pulses = Pulses(socket_path)
        self._note = TroubleNote()
        self._last_round = 0.0

    def environment(self) -> dict[str, str]:
        """What the processes are told, so that they can be heard and can say what is wrong."""
        return {"CASEMATE_HEARTBEAT": str(self._pulses.path), "CASEMATE_TROUBLES": self._note.path}

    def expect(self, child: Child) -> None:
        """Wait for the first sign of life of a process that was just started."""
        if child.process is not None:
            self._pulses.expect(child.process.pid, child.name, FIRST_BEAT_SECONDS)

    def round(self, children: list[Child], web: Child, now: float) -> None:
        """Look at every process once; now: monotonic time."""
        self._pulses.listen(now - self._last_round)
        self._last_round = now
        troubles: dict[str, str] = {}
        for child in children:
            if child.process is None:
                troubles[child.name] = "it ended and is being started again"
                continue
            for pid, pulse in self._watched(child.process.pid, child is web):
                child.has_lived = child.has_lived or pulse.has_beaten
                if pulse.silent_seconds >= NAMED_SECONDS:
                    troubles[pulse.kind] = "no sign of life"
                _attend(pid, pulse)
        self._note.write(troubles)

    def close(self) -> None:
        self._pulses.close()
        self._note.close()

    def _watched(self, pid: int, is_web: bool) -> Iterator[tuple[int, Pulse]]:
        """The process and, below the web server, its workers."""
        if is_web:
            workers = self._pulses.of_children(pid)
            if workers and not is_stopped(pid):
                # The web server itself has no loop of ours to beat in.
                self._pulses.beat(pid, "web")
            yield from workers.items()
        if (pulse := self._pulses.of(pid)) is not None:
            yield pid, pulse


def _attend(pid: int, pulse: Pulse) -> None:
    """Do what the silence of a process calls for."""
    try:
        if pulse.silent_seconds >= KILL_SECONDS:
            print(f"A process ({pulse.kind}) shows no sign of life and is killed.", file=sys.stderr, flush=True)
            os.kill(pid, signal.SIGKILL)
        elif pulse.silent_seconds >= WAKE_SECONDS and not pulse.is_woken:
            pulse.is_woken = True
            os.kill(pid, signal.SIGCONT)
    except ProcessLookupError:
        return  # it has just ended by itself
