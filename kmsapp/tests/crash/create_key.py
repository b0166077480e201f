"""Kills in the middle of CreateKey."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from itertools import cycle
from pathlib import Path

from hsmapp.steps import CREATE_KEY, Step
from kmsapp.tests.crash.campaign import Gun, Struck, aims, server_with_marks, still_rare
from kmsapp.tests.crash.makers import Makers
from kmsapp.tests.crash.truths import Counts, assert_nothing_is_lost
from kmsapp.tests.crash.victims import IN_TURN

PER_SERVER = 250  # kills; a cluster of hsm1.medium holds 3,300 keys
MOST_EXTRA = 60  # kills beyond the count, for steps that were struck too seldom


@dataclass
class Report:
    """Of all servers together."""

    struck: Struck = field(default_factory=Struck)
    counts: list[Counts] = field(default_factory=list)
    refused: Counter[str] = field(default_factory=Counter)
    undocumented: list[str] = field(default_factory=list)
    broken: Counter[str] = field(default_factory=Counter)

    def lines(self) -> list[str]:
        acknowledged = sum(counts.acknowledged for counts in self.counts)
        opened = Counter[str]()
        for counts in self.counts:
            opened.update(counts.opened)
        return [
            *self.struck.lines(CREATE_KEY),
            f"{acknowledged} keys acknowledged, 0 lost; {sum(counts.keys for counts in self.counts)} keys in all, "
            f"one to one with token objects on every HSM; first ciphertexts opened: {dict(opened)}",
            f"by all comparisons with the database: {self._repaired() or 'nothing to do'}; by one more: nothing to do",
            f"refused: {dict(self.refused)}; calls without an answer: {dict(self.broken)}",
        ]

    def _repaired(self) -> str:
        return "; ".join(", ".join(counts.repaired) for counts in self.counts if counts.repaired)


def kill_under_create_key(stopped: Path, folder: Path, *, kills: int, each: int) -> Report:
    """Kill so many times, and beyond that until every step was struck `each` times. Raises AssertionError.

    stopped: the data folder of a server that was stopped; folder: for copies of it.
    """
    report, victims, wanted = Report(), cycle(IN_TURN), aims(CREATE_KEY)
    left = kills
    while left > 0:
        batch = min(left, PER_SERVER)
        left -= batch
        own = folder / str(left)
        own.mkdir()
        with server_with_marks(stopped, own) as casemate, Makers(casemate) as makers:
            gun = Gun(casemate, report.struck)
            for _ in range(batch):
                shoot(gun, makers, next(victims), next(wanted))
            if not left:
                for _ in range(MOST_EXTRA):
                    rare = still_rare(report.struck, CREATE_KEY, each)
                    if rare is None:
                        break
                    shoot(gun, makers, "web worker", rare)
            makers.end()
            report.counts.append(assert_nothing_is_lost(casemate, makers.made))
        report.refused.update(makers.refused)
        report.undocumented += makers.undocumented
        report.broken.update(makers.broken)
    assert report.undocumented == []
    return report


def shoot(gun: Gun, makers: Makers, victim: str, step: Step) -> None:
    """One kill; then keys are made again, on both HSMs."""
    gun.shoot(victim, step, lambda is_struck: makers.going.set())
    before = len(makers.made)
    gun.casemate.wait_until(lambda: len(makers.made) > before, f"a key to be made after a kill of {victim}")
    makers.pause()
