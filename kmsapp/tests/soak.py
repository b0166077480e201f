"""Encrypt and Decrypt without a pause while HSMs are killed or frozen: for long by bin/soak, for seconds by a test.

Clients are boto3's, without retries, so each refusal is one that a caller would have seen. Every decryption is compared
with what was encrypted. An HSM is killed with SIGKILL or stopped with SIGSTOP only while all of them serve.
"""

from __future__ import annotations

import os
import secrets
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from kmsapp.testing import Casemate
from kmsapp.tests.token_copies import HSMS

KEY = "alias/ExampleKey"
LARGEST_BYTES = 4096  # what Encrypt takes


@dataclass
class Client:
    """One caller that encrypts, decrypts and compares until it is told to stop."""

    casemate: Casemate = field(repr=False)
    stop: threading.Event = field(repr=False)
    calls: int = 0
    wrong: int = 0
    slowest_seconds: float = 0.0
    failures: list[str] = field(default_factory=list)

    def run(self) -> None:
        kms = self.casemate.boto3("kms")
        while not self.stop.is_set():
            plaintext = secrets.token_bytes(1 + secrets.randbelow(LARGEST_BYTES))
            context = {"message": secrets.token_hex(4)}
            blob = self._timed(kms.encrypt, "CiphertextBlob", KeyId=KEY, Plaintext=plaintext, EncryptionContext=context)
            if blob is None:
                continue
            opened = self._timed(kms.decrypt, "Plaintext", CiphertextBlob=blob, EncryptionContext=context)
            if opened is not None and opened != plaintext:
                self.wrong += 1

    def _timed(self, operation: Callable[..., Any], member: str, **params: object) -> bytes | None:
        """The member of the answer; None if the call failed, which is noted."""
        started = time.monotonic()
        try:
            answer: bytes = operation(**params)[member]
        except (ClientError, BotoCoreError) as error:
            self.failures.append(str(error))
            return None
        finally:
            self.calls += 1
            self.slowest_seconds = max(self.slowest_seconds, time.monotonic() - started)
        return answer


@dataclass(frozen=True)
class Return:
    """An HSM that was killed or frozen and came back."""

    hsm_id: str
    struck_after_seconds: float
    active_after_seconds: float  # from then until another process of it served


@dataclass(frozen=True)
class Report:
    """What the clients saw."""

    seconds: float
    clients: tuple[Client, ...]
    returns: tuple[Return, ...]

    @property
    def calls(self) -> int:
        return sum(client.calls for client in self.clients)

    @property
    def failures(self) -> list[str]:
        return [failure for client in self.clients for failure in client.failures]

    @property
    def wrong(self) -> int:
        return sum(client.wrong for client in self.clients)

    @property
    def slowest_seconds(self) -> float:
        return max(client.slowest_seconds for client in self.clients)

    def lines(self) -> list[str]:
        """The report for people; at most five failures are shown."""
        return [
            f"{len(self.clients)} clients, {self.seconds:.0f} s: {self.calls:,} calls, {len(self.failures)} failed, "
            f"{self.wrong} wrong, slowest {self.slowest_seconds:.2f} s",
            *(
                f"{back.hsm_id} struck after {back.struck_after_seconds:.1f} s, "
                f"ACTIVE again in {back.active_after_seconds:.2f} s"
                for back in self.returns
            ),
            *self.failures[:5],
        ]


def soak(
    casemate: Casemate, *, seconds: float, kills: int, clients: int = 3, how: signal.Signals = signal.SIGKILL
) -> Report:
    """Keep the clients calling for so many seconds and kill the HSMs in turn, spread evenly over that time.

    how: SIGSTOP freezes them instead, until their supervisor replaces them.
    """
    stop = threading.Event()
    callers = tuple(Client(casemate, stop) for _ in range(clients))
    threads = [threading.Thread(target=caller.run) for caller in callers]
    started = time.monotonic()
    for thread in threads:
        thread.start()
    try:
        returns = []
        for number in range(kills):
            time.sleep(max(0.0, started + seconds * (number + 1) / (kills + 1) - time.monotonic()))
            struck_after = time.monotonic() - started
            hsm_id = HSMS[number % len(HSMS)]
            returns.append(Return(hsm_id, struck_after, strike_and_wait(casemate, hsm_id, how)))
        time.sleep(max(0.0, started + seconds - time.monotonic()))
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    return Report(time.monotonic() - started, callers, tuple(returns))


def strike_and_wait(casemate: Casemate, hsm_id: str, how: signal.Signals) -> float:
    """Kill or stop the HSM's process; return the seconds until another one of it serves."""
    pid = kill(casemate, hsm_id, how)
    started = time.monotonic()
    wait_for_successor(casemate, hsm_id, pid)
    return time.monotonic() - started


def kill(casemate: Casemate, hsm_id: str, how: signal.Signals = signal.SIGKILL) -> int:
    """kill -9 the HSM's process, or stop it with SIGSTOP, and return the id it had."""
    pid = casemate.hsm_pid(hsm_id)
    os.kill(pid, how)
    return pid


def wait_for_successor(casemate: Casemate, hsm_id: str, killed: int) -> None:
    """Wait until another process of the HSM serves. The row is DEGRADED from before that process starts."""

    def is_another() -> bool:
        try:
            return casemate.hsm_pid(hsm_id) != killed
        except LookupError:
            return False

    casemate.wait_until(is_another, f"another process of {hsm_id}")
    casemate.wait_for_hsms(active=len(HSMS))
