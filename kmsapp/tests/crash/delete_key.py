"""Kills in the middle of ScheduleKeyDeletion, CancelKeyDeletion and the deletion of keys.

Each race has four keys whose deletion is scheduled: one that is to go, one that is cancelled at the very time when it
is due, one that was cancelled before, and one whose time has not come. Meanwhile a process is killed. Time passes by
the account's clock.
"""

from __future__ import annotations

import random
import secrets
import sqlite3
import tempfile
import threading
import time
from collections import Counter
from contextlib import closing
from dataclasses import dataclass, field
from itertools import cycle
from pathlib import Path
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from hsmapp.steps import DELETE_KEY, Step
from kmsapp.testing import Casemate
from kmsapp.tests.crash.campaign import Gun, IsStruck, Struck, aims, server_with_marks
from kmsapp.tests.crash.makers import DOCUMENTED, STORE, Made, encrypt_first
from kmsapp.tests.crash.truths import assert_token_agrees, let_time_pass, reconcile_twice
from kmsapp.tests.crash.victims import IN_TURN
from kmsapp.tests.remains import query
from kmsapp.tests.token_copies import HSMS

# The processes that come to these steps. "web worker" in the turn of victims stands for the process at work.
AT_WORK = {Step.DELETING: "jobs", Step.DELETED: "jobs", Step.OBJECT_DESTROYED: "supervisor"}
DAY_MICROSECONDS = 86_400 * 1_000_000
WINDOW_DAYS, PATIENT_DAYS = 7, 30
PATIENCE_SECONDS = 120.0  # for a server that is started again on a busy machine
GONE = "deleted"
ABOUT_SECONDS = 0.4  # about as long as jobs take to notice that a time has come
_TRANSIENT = {code for errors in DOCUMENTED.values() for code in errors}


@dataclass
class Report:
    struck: Struck = field(default_factory=Struck)
    races: int = 0
    raced: Counter[str] = field(default_factory=Counter)  # what was answered to the cancel at the due time
    deleted: int = 0
    kept: int = 0
    opened: dict[str, int] = field(default_factory=dict)  # HSM id -> first ciphertexts of kept keys that opened there
    repaired: list[str] = field(default_factory=list)

    def lines(self) -> list[str]:
        return [
            *self.struck.lines(DELETE_KEY),
            f"{self.races} races: {self.deleted} keys deleted, each once and none before its time, their objects gone "
            f"from every HSM; {self.kept} kept, each of which decrypts on every HSM: {self.opened}",
            f"cancelled at the very time: {dict(self.raced)}, 0 acknowledged and deleted all the same",
            f"by all comparisons with the database: {', '.join(self.repaired) or 'nothing to do'}; by one more: "
            "nothing to do",
        ]


def kill_under_delete_key(folder: Path, *, kills: int) -> Report:
    """Kill so many times while keys are scheduled, cancelled and deleted. Raises AssertionError."""
    report, victims, wanted = Report(), cycle(IN_TURN), aims(DELETE_KEY)
    with server_with_marks(folder) as casemate:
        gun, races = Gun(casemate, report.struck), Races(casemate, report)
        for _ in range(kills):
            victim, step = next(victims), next(wanted)
            gun.shoot(AT_WORK.get(step, victim) if victim == "web worker" else victim, step, races.begin)
            races.wait_for_the_race()
        assert_only_what_was_kept_is_there(casemate, races, report)
    return report


class Races:
    """Somebody who schedules and cancels deletions, and has patience with a server whose processes are killed."""

    def __init__(self, casemate: Casemate, report: Report):
        self._casemate, self._report = casemate, report
        self._kms = casemate.boto3("kms", connect_timeout=2, read_timeout=10)
        self._thread: threading.Thread | None = None
        self._failures: list[BaseException] = []
        self._offset_days = 0
        self._cancelled, self._patient = self._new_key(), self._new_key()
        self._spare: list[Made] = []  # keys whose deletion was cancelled in time
        self.deleted: list[str] = []

    @property
    def kept(self) -> list[Made]:
        return [self._cancelled, self._patient, *self._spare]

    def begin(self, is_struck: IsStruck) -> None:
        """Begin a race, if none is going on."""
        if self._thread is None or not self._thread.is_alive():
            self.wait_for_the_race()
            self._thread = threading.Thread(target=self._run)
            self._thread.start()

    def wait_for_the_race(self) -> None:
        """Raises what was wrong in it."""
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        if self._failures:
            raise self._failures[0]

    def _run(self) -> None:
        try:
            self._race()
            self._report.races += 1
        except BaseException as error:
            self._failures.append(error)

    def _race(self) -> None:
        doomed, raced = self._new_key(), self._spare.pop() if self._spare else self._new_key()
        for key in (doomed, raced, self._cancelled):
            self._schedule(key, WINDOW_DAYS)
        self._schedule(self._patient, PATIENT_DAYS)
        self._cancel(self._cancelled)
        for key in (doomed, raced, self._patient):
            assert self._state(key) == "PendingDeletion", f"{key.arn} before its time"
        answer = self._cancel_at_the_time(raced)
        self._wait_until_decided(doomed)
        end = self._wait_until_decided(raced)
        assert self._state(doomed) == GONE
        assert answer == "no answer" or end == {"cancelled": "Disabled", "too late": GONE}[answer], (raced.arn, answer)
        assert self._state(self._cancelled) == "Disabled", "an acknowledged cancel wins"
        assert self._state(self._patient) == "PendingDeletion", "its time has not come"
        self._cancel(self._patient)
        self._report.raced[answer] += 1
        self.deleted.append(doomed.arn)
        if end == GONE:
            self.deleted.append(raced.arn)
        else:
            self._spare.append(raced)
        for key in (self._cancelled, self._patient, *([raced] if end != GONE else [])):
            self._until_answered(self._kms.enable_key, KeyId=key.arn)
            self._require_decrypts(key)

    def _cancel_at_the_time(self, key: Made) -> str:
        """Cancel while the waiting period ends, a little before or after; return what was answered."""
        answers: list[str] = []

        def cancel() -> None:
            _pause()
            answers.append(self._cancel_once(key))

        thread = threading.Thread(target=cancel)
        thread.start()
        _pause()
        self._let_pass(WINDOW_DAYS)
        thread.join()
        return answers[0] if answers else "failed"

    def _let_pass(self, days: int) -> None:
        """Set the account's clock ahead, as `manage.py clock move` does."""
        self._offset_days += days
        with closing(sqlite3.connect(self._casemate.data / "casemate.sqlite3", timeout=30)) as database, database:
            database.execute(
                'INSERT INTO hsmapp_accountclock (account, "offset") VALUES (?, ?) '
                'ON CONFLICT (account) DO UPDATE SET "offset" = excluded."offset"',
                (self._casemate.account, self._offset_days * DAY_MICROSECONDS),
            )
            database.execute("UPDATE hsmapp_epoch SET number = number + 1 WHERE account = ?", (self._casemate.account,))

    # Calls

    def _new_key(self) -> Made:
        answer = self._until_answered(self._kms.create_key, Origin="AWS_CLOUDHSM", CustomKeyStoreId=STORE)
        made = Made(answer["KeyMetadata"]["Arn"], secrets.token_bytes(24))

        def encrypt() -> dict[str, Any]:
            encrypt_first(self._kms, made)
            return {}

        self._until_answered(encrypt)
        return made

    def _schedule(self, key: Made, days: int) -> None:
        """Until it is: the call before may have been done without an answer."""
        self._until_answered(
            self._kms.schedule_key_deletion, KeyId=key.arn, PendingWindowInDays=days, done_before="is pending deletion"
        )

    def _cancel(self, key: Made) -> None:
        self._until_answered(self._kms.cancel_key_deletion, KeyId=key.arn, done_before="is not pending deletion")

    def _cancel_once(self, key: Made) -> str:
        try:
            self._kms.cancel_key_deletion(KeyId=key.arn)
        except ClientError as error:
            code = error.response["Error"]["Code"]
            assert code in {"NotFoundException", "KMSInternalException"}, error
            return "too late" if code == "NotFoundException" else "no answer"
        except BotoCoreError:
            return "no answer"
        return "cancelled"

    def _state(self, key: Made) -> str:
        answer = self._until_answered(self._kms.describe_key, KeyId=key.arn, done_before="does not exist")
        return str(answer["KeyMetadata"]["KeyState"]) if answer else GONE

    def _wait_until_decided(self, key: Made) -> str:
        """Its state, once it is not pending deletion any more."""
        end = time.monotonic() + PATIENCE_SECONDS
        while (state := self._state(key)) == "PendingDeletion":
            assert time.monotonic() < end, f"{key.arn} is still there:\n{self._casemate.server.logs()}"
            time.sleep(0.05)
        return state

    def _require_decrypts(self, key: Made) -> None:
        answer = self._until_answered(self._kms.decrypt, CiphertextBlob=key.blob, EncryptionContext=key.context)
        assert answer["Plaintext"] == key.plaintext, key.arn

    def _until_answered(self, operation: Any, *, done_before: str = "", **params: Any) -> dict[str, Any]:
        """Call until somebody answers. done_before: a refusal that says so is an answer too, an empty one."""
        end = time.monotonic() + PATIENCE_SECONDS
        while True:
            try:
                answer: dict[str, Any] = operation(**params)
                return answer
            except ClientError as error:
                if done_before and done_before in error.response["Error"]["Message"]:
                    return {}
                if error.response["Error"]["Code"] not in _TRANSIENT or time.monotonic() > end:
                    raise
            except BotoCoreError:
                if time.monotonic() > end:
                    raise
            time.sleep(0.05)


def _pause() -> None:
    time.sleep(random.random() * ABOUT_SECONDS)  # noqa: S311


def assert_only_what_was_kept_is_there(casemate: Casemate, races: Races, report: Report) -> None:
    """No object without a row, no row without an object, and one record of each deletion."""
    casemate.wait_for_hsms(len(HSMS))
    let_time_pass(casemate)
    casemate.wait_until(lambda: not query(casemate, "SELECT id FROM hsmapp_tombstone"), "every HSM to have confirmed")
    report.repaired = reconcile_twice(casemate)
    rows = query(casemate, "SELECT region, account, key_id FROM kmsapp_kmskey WHERE material_id IS NOT NULL")
    there = {f"arn:aws:kms:{region}:{account}:key/{key_id}" for region, account, key_id in rows}
    assert there == {label for (label,) in query(casemate, "SELECT label FROM hsmapp_maskedkey")}
    assert {made.arn for made in races.kept} <= there and not there & set(races.deleted)
    records = query(casemate, "SELECT resource FROM kmsapp_auditevent WHERE event_name = 'DeleteKey'")
    assert sorted(arn for (arn,) in records) == sorted(races.deleted)
    with tempfile.TemporaryDirectory(prefix="casemate-crash-") as folder:
        report.opened = {hsm_id: assert_token_agrees(casemate, hsm_id, races.kept, Path(folder)) for hsm_id in HSMS}
    report.deleted, report.kept = len(races.deleted), len(races.kept)
