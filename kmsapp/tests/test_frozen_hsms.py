"""HSMs that hang: a few calls wait for one deadline, no later call does, and the HSM comes back by itself.

A process stopped by SIGSTOP still takes connections and answers nothing, as one does whose disk hangs. The machine may
be busy with other things: how late a thread was woken meanwhile is measured, and allowed on top of each limit.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from hsmapp import cluster
from hsmapp.keeper import PROBE_EVERY_SECONDS, PROBE_SECONDS
from hsmapp.models import Hsm, KeyIntent, MaskedKey
from hsmapp.states import HSM_SILENT
from hsmapp.testing import process_of, state_of, wait_until
from kmsapp.errors import CloudHsmClusterInvalidConfigurationException, KmsError, KMSInvalidStateException
from kmsapp.tests.one_hsm import FIRST, SECOND, wait_for_successor
from kmsapp.tests.people import create_key, decrypt, encrypt, encrypts

pytestmark = pytest.mark.alone

IV_PREFIX = slice(57, 65)  # docs/ciphertext.md: drawn by each HSM process when it opens its token
THREADS = 4  # of a web worker
WORST_SECONDS = 1.5
AT_ONCE_SECONDS = 0.8
HANGS_SECONDS = cluster.CRYPTO_SECONDS + 0.3  # longer than a call waits, shorter than the supervisor does


@dataclass
class Sleeper:
    """A thread that only sleeps, to see how late this machine wakes it."""

    woken_late_seconds: float = 0.0
    stop: threading.Event = field(default_factory=threading.Event)

    def sleep(self) -> None:
        while not self.stop.is_set():
            started = time.monotonic()
            time.sleep(0.01)
            self.woken_late_seconds = max(self.woken_late_seconds, time.monotonic() - started - 0.01)


@dataclass
class Load(Sleeper):
    """Threads that encrypt, decrypt and compare, and the one that sleeps."""

    key_id: str = ""
    took: list[tuple[float, float]] = field(default_factory=list)  # when a call began, and how long it took
    failures: list[str] = field(default_factory=list)
    wrong: int = 0
    prefixes: set[bytes] = field(default_factory=set)

    def call(self) -> None:
        while not self.stop.is_set():
            plaintext = os.urandom(64)
            try:
                blob = self._timed_encrypt(plaintext)
                self.wrong += self._timed_decrypt(blob) != plaintext
            except KmsError as error:
                self.failures.append(f"{error.code}: {error.message}")

    def _timed_encrypt(self, plaintext: bytes) -> bytes:
        started = time.monotonic()
        try:
            blob = encrypt(self.key_id, plaintext)
        finally:
            self.took.append((started, time.monotonic() - started))
        self.prefixes.add(blob[IV_PREFIX])
        return blob

    def _timed_decrypt(self, blob: bytes) -> bytes:
        started = time.monotonic()
        try:
            return decrypt(blob)
        finally:
            self.took.append((started, time.monotonic() - started))

    @property
    def worst_seconds(self) -> float:
        return max(seconds for _, seconds in self.took)

    def slow_since(self, moment: float) -> int:
        """How many calls begun since then took longer than a call that met no hanging HSM."""
        limit = AT_ONCE_SECONDS + self.woken_late_seconds
        return sum(started >= moment and seconds > limit for started, seconds in self.took)

    @property
    def waited(self) -> int:
        """How many calls waited for an HSM's deadline."""
        return sum(seconds > cluster.CRYPTO_SECONDS * 0.9 for _, seconds in self.took)

    def answered_between(self, start: float, end: float) -> int:
        return sum(start <= started and started + seconds <= end for started, seconds in self.took)

    def line(self) -> str:
        return (
            f"{len(self.took):,} calls, {len(self.failures)} failed, {self.wrong} wrong, "
            f"worst {self.worst_seconds:.3f} s (threads woken {self.woken_late_seconds:.3f} s late)"
        )


@contextmanager
def load(key_id: str) -> Iterator[Load]:
    """Run the threads, and check when they have ended that nothing failed and nobody waited too long."""
    running = Load(key_id=key_id)
    threads = [threading.Thread(target=running.call) for _ in range(THREADS)]
    threads.append(threading.Thread(target=running.sleep))
    for thread in threads:
        thread.start()
    try:
        wait_until(lambda: len(running.took) > 20, "the load to run")
        yield running
        seen = len(running.took)
        wait_until(lambda: len(running.took) > seen + 20, "the load to go on")
    finally:
        running.stop.set()
        for thread in threads:
            thread.join()
    print(running.line())
    assert running.failures == []
    assert running.wrong == 0
    assert running.worst_seconds < WORST_SECONDS + running.woken_late_seconds


@contextmanager
def sleeping() -> Iterator[Sleeper]:
    sleeper = Sleeper()
    thread = threading.Thread(target=sleeper.sleep)
    thread.start()
    try:
        yield sleeper
    finally:
        sleeper.stop.set()
        thread.join()


@contextmanager
def frozen(*pids: int) -> Iterator[None]:
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            thaw(pid)


def thaw(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGCONT)
    except ProcessLookupError:
        return  # its supervisor has ended it


def serving_prefixes(key_id: str) -> set[bytes]:
    """Which HSM processes encrypt, by the prefixes of their IVs."""
    return {encrypt(key_id, b"which HSM?")[IV_PREFIX] for _ in range(8)}


@pytest.mark.parametrize("hsm_id", [FIRST, SECOND])
def test_an_hsm_frozen_under_load_costs_one_deadline_and_serves_again_after_sigcont(
    installation: Path, hsm_id: str
) -> None:
    """Shorter than what its supervisor waits for: the same process goes on."""
    key_id = create_key()
    both = serving_prefixes(key_id)
    assert len(both) == 2
    pid = process_of(hsm_id, installation)
    with load(key_id) as running:
        with frozen(pid):
            froze = time.monotonic()
            opened = froze + cluster.CRYPTO_SECONDS
            time.sleep(HANGS_SECONDS)
        running.prefixes = set()
        wait_until(lambda: running.prefixes == both, f"{hsm_id} to be used again")
    assert process_of(hsm_id, installation) == pid
    slow = running.slow_since(0.0)
    print(f"{hsm_id}: {slow} calls waited for a deadline, {running.slow_since(opened)} of them begun after it")
    # The threads that wait are not all: the HSM that answers soonest is asked first.
    assert running.waited >= 1 and slow < THREADS
    assert running.answered_between(froze + 0.2, opened - 0.05) > 0
    assert running.slow_since(opened + running.woken_late_seconds) == 0
    assert state_of(hsm_id) == "ACTIVE"


def test_a_frozen_hsm_is_noticed_shown_degraded_and_replaced(installation: Path) -> None:
    key_id = create_key()
    pid = process_of(FIRST, installation)
    with load(key_id), frozen(pid):
        started = time.monotonic()
        wait_until(lambda: Hsm.objects.get(hsm_id=FIRST).state_message == HSM_SILENT, "DEGRADED with the reason")
        noticed = time.monotonic() - started
        wait_for_successor(FIRST, pid, installation)
        print(f"noticed after {noticed:.2f} s, serves again after {time.monotonic() - started:.2f} s")
    assert noticed < PROBE_EVERY_SECONDS + PROBE_SECONDS + 2.0
    wait_until(lambda: len(serving_prefixes(key_id)) == 2, "both HSMs to be used")


def test_hsms_that_hang_again_and_again_fail_no_call(installation: Path) -> None:
    """Longer than a call's deadline, again and again, one HSM after the other."""
    key_id = create_key()
    pids = [process_of(hsm_id, installation) for hsm_id in (FIRST, SECOND)]
    with load(key_id) as running:
        for pid in pids * 2:
            with frozen(pid):
                time.sleep(HANGS_SECONDS)
            running.prefixes = set()
            wait_until(lambda: len(running.prefixes) == 2, "both HSMs to be used")
    assert [process_of(hsm_id, installation) for hsm_id in (FIRST, SECOND)] == pids


def test_when_all_hsms_hang_calls_are_refused_at_once_and_it_recovers_by_itself(installation: Path) -> None:
    key_id = create_key()
    pids = [process_of(hsm_id, installation) for hsm_id in (FIRST, SECOND)]
    took = []
    with sleeping() as sleeper, frozen(*pids):
        for _ in range(4):
            started = time.monotonic()
            with pytest.raises(KMSInvalidStateException):
                encrypt(key_id, b"x")
            took.append(time.monotonic() - started)
    print(f"refused after {', '.join(f'{seconds:.2f} s' for seconds in took)}")
    assert took[0] < cluster.CALL_SECONDS + 0.5 + sleeper.woken_late_seconds
    assert took[-1] < AT_ONCE_SECONDS + sleeper.woken_late_seconds
    wait_until(lambda: encrypts(key_id), "an answer")


def test_create_key_waits_no_longer_for_a_frozen_hsm_than_other_calls_and_leaves_nothing(installation: Path) -> None:
    """The HSM whose turn it is to make the key hangs; the other one has stored nothing yet."""
    key_id = create_key()
    made = MaskedKey.objects.count()
    turn = (KeyIntent.objects.latest("pk").pk + 1) % 2
    hsm_id = sorted([FIRST, SECOND])[turn]
    pid = process_of(hsm_id, installation)
    with load(key_id) as running, frozen(pid):
        started = time.monotonic()
        with pytest.raises(CloudHsmClusterInvalidConfigurationException):
            create_key()
        waited = time.monotonic() - started
    print(f"CreateKey refused after {waited:.2f} s")
    assert waited < cluster.CRYPTO_SECONDS + AT_ONCE_SECONDS + running.woken_late_seconds
    assert MaskedKey.objects.count() == made
    wait_until(lambda: not KeyIntent.objects.exclude(state="done").exclude(hsms=[]).exists(), "both HSMs to be clean")
