"""Done at a fixed rate, whatever happens: Encrypt and Decrypt while one HSM is gone, killed or frozen, and back again.

Requests are signed before the clock starts and sent at fixed moments; latency counts from those (bench/driver.py).
Every Decrypt is compared with what was encrypted, and every Encrypt of the run is decrypted after it. While the HSM is
to be away, each process that its supervisor starts for it is killed or stopped too.
"""

from __future__ import annotations

import base64
import json
import os
import signal
import statistics
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from kmsapp.testing import Casemate
from kmsapp.tests.bench import calls, driver
from kmsapp.tests.bench.driver import Answer, Run, Target
from kmsapp.tests.soak import wait_for_successor
from kmsapp.tests.token_copies import HSMS

LOOK_SECONDS = 0.1
VERIFIERS = 8
SIGNED_AT_ONCE = 1000


@dataclass(frozen=True)
class Plan:
    """What is done to which HSM, and when. Times are seconds from the start."""

    rate: float  # calls a second
    seconds: float
    gone_at: float
    back_at: float
    freeze: bool
    hsm_id: str = HSMS[0]


@dataclass
class Report:
    """What the callers saw."""

    plan: Plan
    run: Run
    fail_over: list[float]  # seconds, of calls scheduled while the HSM was away
    wrong: int
    opened: int  # encryptions of the run that were decrypted after it
    done_to: int  # how many processes were killed or stopped
    active_after_seconds: float  # from when it was left alone

    @property
    def failed(self) -> int:
        return self.run.failures.total()

    @property
    def fail_over_p99(self) -> float:
        return _percentile(self.fail_over, 99)

    def lines(self) -> list[str]:
        plan, everything = self.plan, self.run.latencies
        what = "frozen" if plan.freeze else "killed"
        return [
            f"{plan.rate:.0f} calls/s for {plan.seconds:.0f} s, {plan.hsm_id} {what} from {plan.gone_at:.0f} s to "
            f"{plan.back_at:.0f} s ({self.done_to} processes): {len(everything):,} answered, {self.failed} failed, "
            f"{self.wrong} wrong; {self.opened:,} encryptions decrypted afterwards",
            f"all of it: {_figures(everything)}; while the HSM was away: {_figures(self.fail_over)}",
            f"ACTIVE again {self.active_after_seconds:.1f} s after it was left alone",
            *(f"{count} x {status}" for status, count in self.run.failures.items()),
        ]


def _percentile(values: Sequence[float], percent: int) -> float:
    return statistics.quantiles(values, n=100)[percent - 1]


def _figures(values: Sequence[float]) -> str:
    p50, p99 = (_percentile(values, percent) * 1000 for percent in (50, 99))
    return f"p50 {p50:.1f} ms, p99 {p99:.1f} ms, worst {max(values) * 1000:.0f} ms"


@dataclass
class Messages:
    """Pairs of requests: Encrypt of one plaintext, Decrypt of another; and what came back."""

    target: Target
    encrypts: list[bytes] = field(repr=False)
    decrypts: list[bytes] = field(repr=False)
    blobs: list[tuple[str, bytes]] = field(default_factory=list)  # ciphertext in base64, what it must open to
    answers: list[tuple[float, float]] = field(default_factory=list)  # since, seconds
    wrong: int = 0

    def note(self, answer: Answer) -> None:
        self.answers.append((answer.since, answer.seconds))
        pair, is_decrypt = divmod(answer.number, 2)
        said = json.loads(answer.body)
        if is_decrypt:
            self.wrong += base64.b64decode(said["Plaintext"]) != self.decrypts[pair]
        else:
            self.blobs.append((said["CiphertextBlob"], self.encrypts[pair]))


def prepare(casemate: Casemate) -> Messages:
    sign, kms = calls.signer(casemate), casemate.boto3("kms")
    encrypts = [os.urandom(32 + 16 * at) for at in range(calls.DISTINCT)]
    decrypts = [os.urandom(32 + 16 * at) for at in range(calls.DISTINCT)]
    requests = []
    for encrypt, decrypt in zip(encrypts, decrypts, strict=True):
        blob = kms.encrypt(KeyId=calls.KEY, Plaintext=decrypt)["CiphertextBlob"]
        requests.append(sign.kms("Encrypt", {"KeyId": calls.KEY, "Plaintext": _text(encrypt)}))
        requests.append(sign.kms("Decrypt", {"CiphertextBlob": _text(blob)}))
    return Messages(Target(sign.port, requests), encrypts, decrypts)


def _text(value: bytes) -> str:
    return base64.b64encode(value).decode()


class Outage(threading.Thread):
    """Kills or stops every process of the HSM from one moment to another."""

    def __init__(self, casemate: Casemate, plan: Plan, began: float):
        super().__init__(name="outage")
        self.pids: list[int] = []
        self.active_after_seconds = 0.0
        self._casemate, self._plan, self._began = casemate, plan, began

    def run(self) -> None:
        plan = self._plan
        time.sleep(max(0.0, self._began + plan.gone_at - time.perf_counter()))
        while time.perf_counter() < self._began + plan.back_at:
            self._strike(signal.SIGSTOP if plan.freeze else signal.SIGKILL)
            time.sleep(LOOK_SECONDS)
        if plan.freeze:
            _signal(self.pids[-1], signal.SIGCONT)
        wait_for_successor(self._casemate, plan.hsm_id, 0 if plan.freeze else self.pids[-1])
        self.active_after_seconds = time.perf_counter() - self._began - plan.back_at

    def _strike(self, kind: signal.Signals) -> None:
        try:
            pid = self._casemate.hsm_pid(self._plan.hsm_id)
        except LookupError:
            return  # between two processes
        if pid not in self.pids:
            self.pids.append(pid)
            _signal(pid, kind)


def _signal(pid: int, kind: signal.Signals) -> None:
    try:
        os.kill(pid, kind)
    except ProcessLookupError:
        return  # its supervisor was quicker


def outage(casemate: Casemate, plan: Plan) -> Report:
    """Carry out the plan on a server whose HSMs all serve; they do again when this returns."""
    casemate.wait_for_hsms(active=len(HSMS))
    messages = prepare(casemate)
    started = time.perf_counter()
    fault = Outage(casemate, plan, started)
    fault.start()
    try:
        run = driver.open_loop(messages.target, rate=plan.rate, seconds=plan.seconds, note=messages.note)
    finally:
        fault.join()
    opened = verify(casemate, messages)
    away = [seconds for since, seconds in messages.answers if plan.gone_at <= since - started < plan.back_at]
    return Report(plan, run, away, messages.wrong, opened, len(fault.pids), fault.active_after_seconds)


def verify(casemate: Casemate, messages: Messages) -> int:
    """Decrypt what the run has encrypted; how many opened to what they should. What did not counts as wrong."""
    sign = calls.signer(casemate)
    opened = 0

    def check(answer: Answer) -> None:
        nonlocal opened
        opened += base64.b64decode(json.loads(answer.body)["Plaintext"]) == part[answer.number][1]

    for start in range(0, len(messages.blobs), SIGNED_AT_ONCE):
        part = messages.blobs[start : start + SIGNED_AT_ONCE]
        requests = [sign.kms("Decrypt", {"CiphertextBlob": blob}) for blob, _ in part]
        driver.counted(Target(sign.port, requests), connections=VERIFIERS, note=check)
    messages.wrong += len(messages.blobs) - opened
    return opened
