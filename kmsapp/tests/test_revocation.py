"""A8: whatever takes a permission away, the first call after its answer is refused, by every web worker, under load.

Somebody uses a key over connections to each of four workers, about a hundred calls a second, so each worker has every
fact in its caches. Then the permission is taken away. CASEMATE_REVOCATIONS sets the number of passes over all kinds.
"""

from __future__ import annotations

import itertools
import os
import threading
import time
from base64 import b64encode
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from kmsapp.testing import Casemate, served_copy
from kmsapp.tests.revocations import KINDS, Revocable
from kmsapp.tests.wire_world import World
from kmsapp.tests.worker_lines import Line, open_lines

PASSES = int(os.environ.get("CASEMATE_REVOCATIONS", "1"))
WORKERS = 4
LINES_EACH = 2
CALLS_A_SECOND = 100
BEFORE = 6  # calls that each worker answers before the permission is taken away
AFTER = 10  # and that are begun afterwards
WAIT_SECONDS = 60.0


@dataclass(frozen=True)
class Called:
    """A call that was answered."""

    worker: int
    began: float  # time.monotonic
    ended: float
    error: str  # empty: it was allowed


@dataclass
class Load:
    """A thread for each connection."""

    requests: list[bytes]
    called: list[Called] = field(default_factory=list)
    broken: list[BaseException] = field(default_factory=list)
    stop: threading.Event = field(default_factory=threading.Event)
    hurry: threading.Event = field(default_factory=threading.Event)  # from now on without pauses

    def run(self, line: Line) -> None:
        pause_seconds = WORKERS * LINES_EACH / CALLS_A_SECOND
        requests = itertools.cycle(self.requests)
        try:
            while not self.stop.is_set():
                began = time.monotonic()
                error = line.call(next(requests))
                self.called.append(Called(line.worker, began, time.monotonic(), error))
                self.hurry.wait(pause_seconds)
        except Exception as error:  # the test tells of it
            self.broken.append(error)

    def wait_until_each_worker_answered(self, count: int, *, since: float) -> None:
        deadline = time.monotonic() + WAIT_SECONDS
        while not self.broken:
            answered = Counter(call.worker for call in list(self.called) if call.began >= since)
            if len(answered) == WORKERS and min(answered.values()) >= count:
                return
            assert time.monotonic() < deadline, f"waited for {count} calls of each worker: {answered}"
            time.sleep(0.005)


@dataclass(frozen=True)
class Outcome:
    """What was answered before the permission was taken away, and to calls begun after the answer to that."""

    before: list[Called]
    after: list[Called]
    first_refusals_seconds: list[float]  # of each worker: from that answer until it had refused a call


@pytest.fixture(scope="module")
def four_workers(stopped_server: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Casemate]:
    data = tmp_path_factory.mktemp("four") / "data"
    with served_copy(stopped_server, data, "--immediate", "--workers", str(WORKERS)) as casemate:
        yield casemate


def take_away(revocable: Revocable, lines: list[Line], world: World) -> Outcome:
    blob = world.kms.encrypt(KeyId=revocable.key_arn, Plaintext=b"until it is taken away")["CiphertextBlob"]
    load = Load(
        [
            revocable.sign.kms("Encrypt", {"KeyId": revocable.key_arn, "Plaintext": b64encode(b"plain").decode()}),
            revocable.sign.kms("Decrypt", {"CiphertextBlob": b64encode(blob).decode()}),
        ]
    )
    threads = [threading.Thread(target=load.run, args=(line,)) for line in lines]
    for thread in threads:
        thread.start()
    try:
        load.wait_until_each_worker_answered(BEFORE, since=0.0)
        revoking = time.monotonic()
        revocable.revoke()
        answered = time.monotonic()
        load.hurry.set()
        load.wait_until_each_worker_answered(AFTER, since=answered)
    finally:
        load.stop.set()
        load.hurry.set()
        for thread in threads:
            thread.join()
    assert not load.broken, load.broken
    return outcome(load.called, revoking=revoking, answered=answered)


def outcome(called: list[Called], *, revoking: float, answered: float) -> Outcome:
    after = [call for call in called if call.began >= answered]
    firsts: dict[int, float] = {}
    for call in sorted(after, key=lambda call: call.ended):
        if call.error:
            firsts.setdefault(call.worker, call.ended - answered)
    return Outcome([call for call in called if call.ended < revoking], after, list(firsts.values()))


def test_the_first_call_after_a_revocation_is_refused_by_every_worker(four_workers: Casemate) -> None:
    world = World.of(four_workers)
    lines = open_lines(four_workers.server, workers=WORKERS, each=LINES_EACH)
    outcomes: list[Outcome] = []
    for name, kind in [*KINDS.items()] * PASSES:
        revocable = kind(world)
        found = take_away(revocable, lines, world)
        assert {call.error for call in found.before} == {""}, name
        assert {call.error for call in found.after} == {revocable.refused_as}, name
        assert len(found.first_refusals_seconds) == WORKERS, name
        outcomes.append(found)
    print("\n".join(counts(outcomes)))


def counts(outcomes: list[Outcome]) -> list[str]:
    before = sum(len(each.before) for each in outcomes)
    after = sum(len(each.after) for each in outcomes)
    slowest = max(seconds for each in outcomes for seconds in each.first_refusals_seconds)
    return [
        f"{len(outcomes)} revocations of {len(KINDS)} kinds, {WORKERS} web workers: "
        f"{before:,} calls before, all allowed; {after:,} begun after the answer, all refused",
        f"the slowest first refusal of a worker came {slowest * 1000:.0f} ms after the answer",
    ]
