"""Watches the marks of a server's processes (hsmapp/steps.py) and kills a process when a call has come to a step.

A program of its own, because a thread of the tests would wait for the interpreter while the clients have it, and the
steps take a millisecond or less. Arguments: folder of the marks, wanted step (0: any moment, drawn at random), process
id to kill (0: the process in which the call is). Writes "ready", then a line of what it struck, as JSON:
{"pid", "steps": names of the steps in which calls were}, or {} if the process to kill had ended by itself. No line if
the deadline passes first.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import sys
import time
from pathlib import Path

from hsmapp import steps
from hsmapp.steps import Step

DEADLINE_SECONDS = 60.0
LOOK_AROUND_SECONDS = 0.05  # how often new processes are looked for
LONGEST_CALL_SECONDS = 0.08  # of CreateKey and its answer on a quiet machine: moments are drawn from it
NICENESS = -15  # on a busy machine the watcher must not be the one that waits, if it may choose


class Watcher:
    """Reads the marks of the processes that are alive."""

    def __init__(self, folder: Path):
        self._folder = folder
        self._paths: list[Path] = []
        self._looked = 0.0

    def look(self) -> dict[int, list[Step]]:
        """The calls under way: process id -> their steps."""
        if time.monotonic() > self._looked + LOOK_AROUND_SECONDS:
            self._paths = [path for path in self._folder.iterdir() if Path("/proc", path.name).exists()]
            self._looked = time.monotonic()
        found = {int(path.name): steps.read(path) for path in self._paths}
        return {pid: reached for pid, reached in found.items() if reached}


def main() -> None:
    folder, wanted, victim = Path(sys.argv[1]), Step(int(sys.argv[2])), int(sys.argv[3])
    with contextlib.suppress(PermissionError):  # an ordinary user's watcher takes its turn with the others
        os.nice(NICENESS)
    print("ready", flush=True)
    struck = strike(Watcher(folder), wanted, victim)
    if struck is not None:
        print(json.dumps(struck), flush=True)


def strike(watcher: Watcher, wanted: Step, victim: int) -> dict[str, object] | None:
    """Wait for the moment, kill, and tell where the calls were."""
    end = time.monotonic() + DEADLINE_SECONDS
    moment: float | None = None  # of a random kill, once a call is under way
    while time.monotonic() < end:
        under_way = watcher.look()
        if victim and not Path("/proc", str(victim)).exists():
            return {}
        if wanted:
            struck = [pid for pid, reached in under_way.items() if wanted in reached]
        else:
            if under_way and moment is None:
                moment = time.monotonic() + random.random() * LONGEST_CALL_SECONDS  # noqa: S311
            is_time = moment is not None and time.monotonic() >= moment
            struck = (list(under_way) or [0]) if is_time else []
        if struck:
            pid = victim or struck[0]
            if pid == 0:
                moment = None  # the call has ended meanwhile: the next one
                continue
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                if victim:
                    return {}
                continue  # the marks of a web worker outlive it
            reached = [step for at in ([pid] if not victim else under_way) for step in under_way.get(at, [])]
            return {"pid": pid, "steps": [step.name for step in reached]}
    return None


if __name__ == "__main__":
    main()
