"""Kills one after another, each aimed at a step or at random, with what it struck and how the service came back."""

from __future__ import annotations

import json
import select
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import cycle
from pathlib import Path
from typing import Any

from hsmapp import steps
from hsmapp.steps import Step
from kmsapp.testing import ROOT, Casemate, served_copy
from kmsapp.tests.crash import aim
from kmsapp.tests.crash.victims import VICTIMS

# Whether the kill has been: what begins a call must not wait for a server that is dead.
IsStruck = Callable[[], bool]
BETWEEN = "between two calls"
MISSED_SECONDS = 2.0


@dataclass
class Struck:
    """How many calls were in which step when which process was killed."""

    calls: Counter[tuple[str, str]] = field(default_factory=Counter)  # (step, victim)
    kills: Counter[str] = field(default_factory=Counter)  # victim

    def note(self, victim: str, reached: list[str]) -> None:
        self.kills[victim] += 1
        for step in reached or [BETWEEN]:
            self.calls[step, victim] += 1

    def in_step(self, step: Step) -> int:
        return sum(count for (name, _), count in self.calls.items() if name == step.name)

    def lines(self, every: tuple[Step, ...]) -> list[str]:
        """The histogram: a row for each step, a column for each victim."""
        names = [*(step.name for step in every), Step.GIVING_UP.name, BETWEEN]
        rows = [f"{'calls that were in step':26}" + "".join(f"{victim:>12}" for victim in VICTIMS) + f"{'all':>8}"]
        for name in names:
            counts = [self.calls[name, victim] for victim in VICTIMS]
            rows.append(f"{name:26}" + "".join(f"{count:12}" for count in counts) + f"{sum(counts):8}")
        counts = [self.kills[victim] for victim in VICTIMS]
        return [*rows, f"{'kills':26}" + "".join(f"{count:12}" for count in counts) + f"{sum(counts):8}"]


@contextmanager
def server_with_marks(stopped: Path, folder: Path) -> Iterator[Casemate]:
    """A server on a copy of a stopped server's data folder, whose processes say where they are."""
    marks = folder / "marks"
    marks.mkdir()
    where = {"CASEMATE_STEPS": str(marks)}
    with served_copy(stopped, folder / "data", "--immediate", environment=where) as casemate:
        yield casemate


@dataclass
class Gun:
    """Kills processes of one server."""

    casemate: Casemate
    struck: Struck

    @property
    def _marks(self) -> Path:
        return self.casemate.data.parent / "marks"

    def shoot(self, victim: str, step: Step, begin: Callable[[IsStruck], None]) -> None:
        """Have a call begun, kill the victim when the call has come to the step (NONE: whenever).

        On a busy machine a call can get past a step unseen, so another one is begun until one was struck.
        """
        shot: dict[str, Any] = {}
        while not shot:  # a victim that ends by itself meanwhile has a successor
            shot = self._fire(step, self._find(victim), begin)
        reached = shot["steps"]
        if victim == "web worker":
            # Exactly where it was: the marks outlive it.
            reached = [mark.name for mark in steps.read(self._marks / str(shot["pid"]))]
        self.struck.note(victim, reached)
        if victim == "bin/serve":
            self.casemate.server.stop(signal.SIGKILL)  # it is dead: this waits for all that it had started
            self.casemate.server.start()
        self._forget_the_dead()

    def _fire(self, step: Step, pid: int, begin: Callable[[IsStruck], None]) -> dict[str, Any]:
        """What was struck; nothing if the process was gone already."""
        self.casemate.server.remember()
        with self._aiming(step, pid) as watcher:
            said = watcher.stdout
            assert said is not None
            assert said.readline() == "ready\n"

            def is_struck(within_seconds: float = 0.0) -> bool:
                return bool(select.select([said], [], [], within_seconds)[0])

            begin(is_struck)
            while not is_struck(MISSED_SECONDS):
                begin(is_struck)
            line = said.readline()
        assert line, f"no call came to {step.name} in {aim.DEADLINE_SECONDS} s:\n{self.casemate.server.logs()}"
        shot: dict[str, Any] = json.loads(line)
        return shot

    def _find(self, victim: str) -> int:
        """Process id of the victim, which may be on its way back from the kill before."""
        found: list[int] = []

        def look() -> bool:
            try:
                found[:] = [VICTIMS[victim](self.casemate)]
            except LookupError:
                return False
            return True

        self.casemate.wait_until(look, f"the process to kill: {victim}")
        return found[0]

    @contextmanager
    def _aiming(self, step: Step, pid: int) -> Iterator[subprocess.Popen[str]]:
        watcher = subprocess.Popen(
            [sys.executable, "-m", aim.__name__, str(self._marks), str(int(step)), str(pid)],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            text=True,
        )
        try:
            yield watcher
        finally:
            watcher.kill()
            watcher.communicate()

    def _forget_the_dead(self) -> None:
        for path in self._marks.iterdir():
            if not Path("/proc", path.name).exists():
                path.unlink()


def aims(every: tuple[Step, ...]) -> Iterator[Step]:
    """Each step in turn, and a random moment between two turns."""
    return cycle((*every, Step.NONE))


def still_rare(struck: Struck, every: tuple[Step, ...], each: int) -> Step | None:
    """A step in which fewer calls were struck than wanted."""
    return next((step for step in every if struck.in_step(step) < each), None)
