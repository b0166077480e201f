"""ScheduleKeyDeletion, CancelKeyDeletion and the time between: never early, and what was cancelled stays (R20, R21)."""

from __future__ import annotations

import datetime
import json
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from io import StringIO
from pathlib import Path

import pytest
from django.conf import settings
from django.core.management import call_command
from django.db import connection

from hsmapp import clock, clock_watch, epochs, sealing
from hsmapp.models import ClockNote, MaskedKey, Tombstone, UnprovenSpan
from hsmapp.testing import load_database
from kmsapp import audit, demo, key_deletion_jobs
from kmsapp.errors import AccessDeniedException, KMSInvalidStateException, NotFoundException, ValidationException
from kmsapp.models import AuditEvent, KmsKey
from kmsapp.tests.installations import DATABASE_COPY
from kmsapp.tests.key_deletions import DAY, arn, let_pass, schedule, state
from kmsapp.tests.people import BOB, CAROL, MALLORY, call

KEY = demo.KEY_ID
SECOND = datetime.timedelta(seconds=1)


@pytest.fixture(autouse=True)
def rows(
    transactional_db: None, installation_template: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[None]:
    """The demo's database without its HSMs, which are not asked when a key is deleted."""
    load_database(installation_template / DATABASE_COPY)
    monkeypatch.setattr(settings, "DATA", tmp_path)
    monkeypatch.setattr(settings, "MASTER_KEY_FILE", tmp_path / "master.key")
    sealing.make_master_key(settings.MASTER_KEY_FILE)
    sealing.keyring.cache_clear()
    epochs.forget_all()
    audit.close_file()
    yield
    audit.close_file()
    sealing.keyring.cache_clear()


def look(at: datetime.datetime | None = None) -> int:
    """Have the job look; return how many keys it has deleted."""
    return key_deletion_jobs.delete_due(at or clock.now())


# Scheduling


@pytest.mark.parametrize("given", [None, 7, 30])
def test_the_answer_and_the_record_say_when(given: int | None) -> None:
    days = given or 30
    clock.move(demo.ACCOUNT, 3 * DAY)
    assert "DeletionDate" not in call("DescribeKey", KeyId=KEY)["KeyMetadata"]
    before, known = clock.for_account(demo.ACCOUNT), epochs.current(demo.ACCOUNT)
    answer = schedule(KEY, given) if given else call("ScheduleKeyDeletion", KeyId=KEY)
    date = answer.pop("DeletionDate")
    assert answer == {"KeyId": arn(KEY), "KeyState": "PendingDeletion", "PendingWindowInDays": days}
    assert datetime.timedelta() <= date - before - days * DAY < 5 * SECOND
    assert epochs.current(demo.ACCOUNT) > known, "every worker refuses at once"
    metadata = call("DescribeKey", KeyId=KEY)["KeyMetadata"]
    assert (metadata["KeyState"], metadata["Enabled"], metadata["DeletionDate"]) == ("PendingDeletion", False, date)
    event = AuditEvent.objects.latest("pk").event
    assert event["requestParameters"] == {"keyId": KEY, "pendingWindowInDays": days}
    assert event["responseElements"] == {
        "keyId": arn(KEY),
        "keyState": "PendingDeletion",
        "deletionDate": f"{date:%b %-d, %Y, %-I:%M:%S %p}",
        "pendingWindowInDays": days,
    }


def test_a_window_of_other_than_seven_to_thirty_days_is_refused() -> None:
    for days in (1, 6, 31, 365):
        with pytest.raises(ValidationException, match=f"PendingWindowInDays is {days}. It must be between 7 and 30"):
            schedule(KEY, days)
    for days in (-1, 0, 366):
        with pytest.raises(ValidationException, match="1 validation error detected: Value"):
            schedule(KEY, days)
    assert state(KEY) == "Enabled"


def test_a_policy_may_bound_the_window() -> None:
    statement = {
        "Effect": "Deny",
        "Action": "kms:ScheduleKeyDeletion",
        "Resource": "*",
        "Condition": {"NumericLessThan": {"kms:ScheduleKeyDeletionPendingWindowInDays": "14"}},
    }
    document = json.dumps({"Version": "2012-10-17", "Statement": statement})
    call("iam:PutUserPolicy", UserName="alice", PolicyName="patience", PolicyDocument=document)
    with pytest.raises(AccessDeniedException, match="explicit deny"):
        schedule(KEY, 13)
    schedule(KEY, 14)
    call("CancelKeyDeletion", KeyId=KEY)
    call("ScheduleKeyDeletion", KeyId=KEY)  # 30 days, as nothing else was asked for


def test_it_is_scheduled_once_and_cancelled_once() -> None:
    with pytest.raises(KMSInvalidStateException, match=f"^{arn(KEY)} is not pending deletion.$"):
        call("CancelKeyDeletion", KeyId=KEY)
    schedule(KEY)
    with pytest.raises(KMSInvalidStateException, match=f"^{arn(KEY)} is pending deletion.$"):
        schedule(KEY, 30)
    assert call("CancelKeyDeletion", KeyId=arn(KEY)) == {"KeyId": arn(KEY)}
    assert state(KEY) == "Disabled", "whatever it was before"
    assert AuditEvent.objects.latest("pk").event["responseElements"] == {"keyId": arn(KEY)}
    assert "DeletionDate" not in call("DescribeKey", KeyId=KEY)["KeyMetadata"]
    with pytest.raises(KMSInvalidStateException, match="is not pending deletion"):
        call("CancelKeyDeletion", KeyId=KEY)


# The time between


def test_no_key_is_deleted_before_its_time_on_its_accounts_clock() -> None:
    due = schedule(KEY, 7)["DeletionDate"]
    clock.move(demo.OTHER_ACCOUNT, 400 * DAY)
    assert look(due - SECOND) == 0, "nor by another account's clock"
    clock.move(demo.ACCOUNT, 5 * DAY)
    assert look(due - 5 * DAY - SECOND) == 0
    clock.move(demo.ACCOUNT, datetime.timedelta())
    assert look(due - SECOND) == 0, "the clock was set back"
    clock.move(demo.ACCOUNT, 7 * DAY)
    assert look() == 1 and look() == 0
    assert not KmsKey.objects.filter(key_id=KEY).exists()


def test_what_was_cancelled_is_not_deleted_whatever_the_time() -> None:
    for _ in range(2):  # a second deletion does not inherit the time of the first
        schedule(KEY, 7)
        call("CancelKeyDeletion", KeyId=KEY)
        assert let_pass(8) == 0
    schedule(KEY, 30)
    assert let_pass(29.9) == 0
    call("CancelKeyDeletion", KeyId=KEY)
    assert let_pass(100) == 0 and state(KEY) == "Disabled"
    call("EnableKey", KeyId=KEY)
    assert state(KEY) == "Enabled"


def test_of_four_deleters_and_a_cancel_one_wins(installation_template: Path) -> None:
    """At once, when the time has come."""
    races, cancelled = 24, 0
    for number in range(races):
        load_database(installation_template / DATABASE_COPY)
        epochs.forget_all()
        answer, deleted = race(delay_seconds=number * 0.002)
        is_there = KmsKey.objects.filter(key_id=KEY).exists()
        assert (answer == "cancelled") == is_there and deleted == (not is_there)
        assert Tombstone.objects.count() == AuditEvent.objects.filter(event_name="DeleteKey").count() == deleted
        assert MaskedKey.objects.exists() == is_there
        cancelled += is_there
    print(f"R21: {races} races of 4 deleters and a cancel, {cancelled} won by the cancel, none by both")


def race(*, delay_seconds: float) -> tuple[str, int]:
    """Cancel the deletion of a key at its time; return what became of that, and how many deleters deleted it.

    delay_seconds: by which the deleters are late, because a call does more before it writes.
    """
    schedule(KEY)
    clock.move(demo.ACCOUNT, 7 * DAY)
    answers: list[str] = []
    deleted: list[int] = []

    def cancel() -> None:
        try:
            call("CancelKeyDeletion", KeyId=KEY)
            answers.append("cancelled")
        except NotFoundException:
            answers.append("too late")

    def delete() -> None:
        time.sleep(delay_seconds)
        deleted.append(look())

    run_at_once(cancel, *[delete] * 4)
    (answer,) = answers
    return answer, sum(deleted)


def run_at_once(*actions: Callable[[], None]) -> None:
    start, failures = threading.Barrier(len(actions)), list[Exception]()

    def run(action: Callable[[], None]) -> None:
        try:
            start.wait()
            action()
        except Exception as error:
            failures.append(error)
        finally:
            connection.close()

    threads = [threading.Thread(target=run, args=(action,)) for action in actions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []


# Time of which nobody can prove that it passed


def set_ahead(length: datetime.timedelta) -> None:
    """Make this machine's wall clock one that was set ahead by so much since the key was scheduled."""
    now = clock_watch.read_clocks()
    ClockNote.objects.all().delete()
    assert clock_watch.look(replace(now, wall=now.wall - length, boot_time=now.boot_time))
    KmsKey.objects.filter(key_id=KEY).update(
        deletion_scheduled_at=now.wall - length - SECOND, deletion_date=now.wall - length + 30 * DAY
    )
    epochs.raise_epoch(demo.ACCOUNT)


def confirm() -> None:
    call("console:ConfirmKeyDeletion", KeyId=KEY)


def held() -> str:
    return str(call("console:DescribeKey", KeyId=KEY)["DeletionHeldBecause"])


def test_what_only_a_jump_of_the_clock_made_due_waits_for_somebody_who_may_delete_the_key() -> None:
    schedule(KEY)
    assert held() == ""
    with pytest.raises(KMSInvalidStateException, match="does not wait for a confirmation"):
        confirm()
    set_ahead(40 * DAY)
    assert look() == 0 and look() == 0
    assert held() == "the clock of this machine was set ahead"
    for caller in (BOB, MALLORY, CAROL):
        with pytest.raises(AccessDeniedException):
            call("console:ConfirmKeyDeletion", caller, KeyId=arn(KEY))
    assert look() == 0
    confirm()
    assert held() == ""
    assert AuditEvent.objects.latest("pk").event["requestParameters"] == {"keyId": KEY, "confirms": True}
    assert look() == 1 and not KmsKey.objects.filter(key_id=KEY).exists()


def test_a_confirmed_span_lets_the_deletion_go_and_a_cancel_still_wins_before() -> None:
    schedule(KEY)
    set_ahead(40 * DAY)
    assert look() == 0
    (span,) = clock_watch.unconfirmed()
    call("CancelKeyDeletion", KeyId=KEY)
    call_command("clock", "confirm", str(span.pk), stdout=StringIO())
    assert look() == 0 and state(KEY) == "Disabled"
    schedule(KEY)
    assert let_pass(7) == 1, "a moved account clock needs no confirmation"


def test_deletions_that_a_restored_database_has_wait_until_somebody_looked() -> None:
    """The backup may be from before a cancel that was answered."""
    schedule(KEY, 30)
    clock_watch.note_restored("default", made_at=clock.now())
    assert let_pass(30) == 0
    assert held().startswith("the database was restored from a backup")
    call("CancelKeyDeletion", KeyId=KEY)
    schedule(KEY)
    assert held() == "", "it was scheduled since"
    assert let_pass(7) == 1
    assert UnprovenSpan.objects.get().confirmed_at is None
