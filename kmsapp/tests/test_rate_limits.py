"""Counters that several processes share: how many they let through, how exactly, and for whom."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator

import pytest

from kmsapp import rate_limits
from kmsapp.rate_limits import NOWHERE, Counters
from kmsapp.testing import ROOT

PROCESSES, RATE = 3, 500


@pytest.fixture
def path() -> Iterator[str]:
    descriptor = rate_limits.make()
    try:
        yield f"/proc/{os.getpid()}/fd/{descriptor}"
    finally:
        os.close(descriptor)


class Clock:
    """Stands still until it is set."""

    def __init__(self) -> None:
        self.seconds = 1_000.0

    def __call__(self) -> int:
        return int(self.seconds * 1e9)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(time, "monotonic_ns", clock)
    return clock


def admitted(counters: Counters, name: str, per_second: int, tries: int) -> int:
    return sum(counters.admits(name, per_second) for _ in range(tries))


def test_as_many_as_the_quota_pass_in_each_second_and_no_more(path: str, clock: Clock) -> None:
    counters = Counters(path)
    for per_second in (1, 5, 50, 1_800):
        name = f"quota of {per_second}"
        for seconds in (0, 0.5, 0.999):
            clock.seconds = 1_000 + seconds
            assert admitted(counters, name, per_second, per_second + 10) == (per_second if seconds == 0 else 0)
        clock.seconds = 1_001
        assert admitted(counters, name, per_second, per_second + 10) == per_second
        clock.seconds = 1_000


def test_what_was_not_used_in_a_second_is_lost(path: str, clock: Clock) -> None:
    counters = Counters(path)
    assert admitted(counters, "five", 5, 2) == 2
    clock.seconds += 10
    assert admitted(counters, "five", 5, 100) == 5


def test_each_name_is_counted_by_itself(path: str, clock: Clock) -> None:
    counters = Counters(path)
    names = [f"account {number} us-west-2 CreateKey" for number in range(5_000)]
    assert all(admitted(counters, name, 5, 3) == 3 for name in names)
    assert all(admitted(counters, name, 5, 9) == 2 for name in names)
    assert len(set(counters._places.values())) == len(names)
    print(f"{len(names)} names, none counted with another one")


def test_a_name_that_finds_no_slot_is_not_limited_and_counts_for_nobody(
    path: str, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rate_limits, "SLOTS", 64)
    counters = Counters(path)
    names = [f"name {number}" for number in range(200)]
    for name in names:
        counters.admits(name, 5)
    late = [name for name in names if counters._places[name] == NOWHERE]
    assert len(late) >= 200 - 64
    assert all(admitted(counters, name, 5, 20) == 20 for name in late)
    assert all(admitted(counters, name, 5, 20) == 4 for name in names if name not in late)


def test_several_processes_together_let_through_what_the_quota_says(path: str) -> None:
    command = [sys.executable, "-m", "kmsapp.tests.request_sender", path, str(RATE)]
    senders = [subprocess.Popen(command, stdout=subprocess.PIPE, cwd=ROOT) for _ in range(PROCESSES)]
    told = [json.loads(sender.communicate(timeout=60)[0]) for sender in senders]
    passed, refused = (sum((Counter(one[what]) for one in told), Counter()) for what in ("admitted", "refused"))
    print(f"{PROCESSES} processes, {RATE} a second: {dict(passed)} let through, {refused.total()} refused")
    assert refused.total() > 0 and len(passed) >= 2
    assert all(count <= RATE + PROCESSES - 1 for count in passed.values())
    # What is refused in a second is refused because the quota was used up.
    assert any(count >= RATE * 0.9 for count in passed.values())


def test_a_worker_that_comes_after_one_that_died_goes_on_in_its_cells(path: str, clock: Clock) -> None:
    script = (
        "import time; time.monotonic_ns = lambda: 10**12\n"
        "from kmsapp.rate_limits import Counters\n"
        f"counters = Counters({path!r})\n"
        "print(counters._worker, sum(counters.admits('shared', 5) for _ in range(2)), flush=True)\n"
        "import os; os.kill(os.getpid(), 9)"
    )
    outputs = [
        subprocess.run([sys.executable, "-c", script], stdout=subprocess.PIPE, cwd=ROOT, check=False).stdout
        for _ in range(3)
    ]
    assert outputs == [b"0 2\n", b"0 2\n", b"0 1\n"], "five in all, whoever was killed"
