"""The rows behind unproven_time.py: notes, spans, holds, and the command that people confirm with."""

from __future__ import annotations

import datetime
import threading
from dataclasses import replace
from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.db import connection

from hsmapp import clock, clock_watch, epochs, jobs
from hsmapp.clock_watch import look, look_for_holds, read_clocks, unconfirmed
from hsmapp.models import AccountClock, ClockNote, UnprovenSpan
from hsmapp.unproven_time import Hold, Reading, Reason

ACCOUNT = "111122223333"
DAY, MINUTE = datetime.timedelta(days=1), datetime.timedelta(minutes=1)


def note_as_if(wall_behind: datetime.timedelta, *, boot_behind: datetime.timedelta) -> Reading:
    """Note what the clocks would have shown if they were so far behind what they show now."""
    now = read_clocks()
    reading = replace(now, wall=now.wall - wall_behind, boot_time=now.boot_time - boot_behind)
    assert look(reading)
    return reading


def set_ahead(length: datetime.timedelta) -> None:
    """Make this machine's wall clock one that was set ahead by so much, ten seconds after its last note."""
    seconds = datetime.timedelta(seconds=10)
    note_as_if(length + seconds, boot_behind=seconds)


def find_hold(account: str, *, scheduled_at: datetime.datetime, due_at: datetime.datetime) -> Hold | None:
    return look_for_holds().on(account, scheduled_at=scheduled_at, due_at=due_at)


def test_both_clocks_of_this_machine_go_forward() -> None:
    before, after = read_clocks(), read_clocks()
    assert before.boot_id == after.boot_id and len(before.boot_id) == 36
    assert datetime.timedelta() < before.boot_time <= after.boot_time
    assert abs(after.wall - clock.now()) < MINUTE


def test_jobs_note_the_clocks_and_once_a_minute_is_enough(db: None) -> None:
    jobs.run_due()
    (note,) = ClockNote.objects.all()
    jobs.run_due()
    assert ClockNote.objects.get().pk == note.pk
    reading = read_clocks()
    assert look(replace(reading, wall=reading.wall + MINUTE, boot_time=reading.boot_time + MINUTE))
    newer = ClockNote.objects.get()
    assert newer.pk > note.pk and newer.wall > note.wall
    assert unconfirmed() == []


def test_looking_between_two_notes_writes_nothing(db: None, django_assert_num_queries: object) -> None:
    look(read_clocks())
    with django_assert_num_queries(1):  # type: ignore[operator]
        assert not look(read_clocks())


def test_a_clock_set_ahead_is_seen_by_whoever_is_about_to_destroy(db: None) -> None:
    """Jobs last noted the clocks ten seconds ago; the deletion's own look must find the jump."""
    now = clock.now()
    set_ahead(40 * DAY)
    hold = find_hold(ACCOUNT, scheduled_at=now - 40 * DAY - MINUTE, due_at=now - 10 * DAY)
    assert hold == Hold(until=None)
    (span,) = unconfirmed()
    assert span.reason == Reason.AHEAD and abs(span.ends_at - span.begins_at - 40 * DAY) < MINUTE
    assert find_hold(ACCOUNT, scheduled_at=now - 60 * DAY, due_at=now - 41 * DAY) is None, "was due before the jump"


def test_a_span_is_confirmed_once(db: None) -> None:
    set_ahead(40 * DAY)
    look(read_clocks())
    (span,) = unconfirmed()
    assert clock_watch.confirm(span.pk, by="alice")
    assert not clock_watch.confirm(span.pk, by="bob")
    span.refresh_from_db()
    assert span.confirmed_by == "alice" and span.confirmed_at is not None
    now = clock.now()
    assert find_hold(ACCOUNT, scheduled_at=now - 41 * DAY, due_at=now - DAY) is None


def test_a_moved_account_clock_needs_no_confirmation(db: None) -> None:
    """Its clock alone made the deletion due before wall time was set ahead."""
    now = clock.now()
    set_ahead(2 * DAY)
    times = {"scheduled_at": now - 3 * DAY, "due_at": now + 27 * DAY}
    assert find_hold(ACCOUNT, **times) is not None
    clock.move(ACCOUNT, 30 * DAY)
    assert find_hold(ACCOUNT, **times) is None
    clock.move(ACCOUNT, 28 * DAY)
    assert find_hold(ACCOUNT, **times) == Hold(until=None), "without the jump it would not be due yet"


def test_two_days_of_silence_hold_what_fell_due_meanwhile(db: None) -> None:
    now = read_clocks()
    assert look(Reading(now.wall - 2 * DAY, 90 * DAY, "the boot before"))
    scheduled_at = now.wall - 30 * DAY
    assert find_hold(ACCOUNT, scheduled_at=scheduled_at, due_at=now.wall - DAY) == Hold(until=None)
    assert find_hold(ACCOUNT, scheduled_at=scheduled_at, due_at=now.wall - 2 * DAY) is None
    (span,) = unconfirmed()
    assert span.reason == Reason.SILENCE
    assert ClockNote.objects.count() == 2


def test_a_clock_set_back_changes_no_hold(db: None) -> None:
    note_as_if(-DAY, boot_behind=MINUTE * 2)
    look(read_clocks())
    assert unconfirmed() == []
    assert ClockNote.objects.get().wall <= clock.now()


def test_a_clock_set_back_hides_no_jump_that_follows_at_once(db: None) -> None:
    now, second = read_clocks(), datetime.timedelta(seconds=1)
    look(now)
    for at, ahead in enumerate((4000 * DAY, 0 * DAY, 40 * DAY), 1):
        assert look(replace(now, wall=now.wall + ahead + at * second, boot_time=now.boot_time + at * second))
    first, then = unconfirmed()
    assert abs(first.ends_at - first.begins_at - 4000 * DAY) < MINUTE
    assert abs(then.ends_at - then.begins_at - 40 * DAY) < MINUTE


def test_a_jump_that_many_see_is_one_span(transactional_db: None) -> None:
    set_ahead(40 * DAY)
    reading = read_clocks()
    start = threading.Barrier(4)
    written: list[bool] = []

    def watch() -> None:
        try:
            start.wait()
            written.append(look(reading))
        finally:
            connection.close()

    watchers = [threading.Thread(target=watch) for _ in range(4)]
    for watcher in watchers:
        watcher.start()
    for watcher in watchers:
        watcher.join()
    assert len(written) == 4 and any(written)
    assert UnprovenSpan.objects.count() == 1
    assert ClockNote.objects.count() == 1


def manage(*arguments: str) -> str:
    out = StringIO()
    call_command("clock", *arguments, stdout=out)
    return out.getvalue()


def test_the_command_shows_and_confirms(db: None) -> None:
    assert "span" not in manage("show")
    set_ahead(40 * DAY)
    look(read_clocks())
    (span,) = unconfirmed()
    shown = manage("show")
    assert f"span {span.pk}" in shown and "set ahead" in shown and "manage.py clock confirm" in shown
    assert "confirmed" in manage("confirm", str(span.pk))
    assert "span" not in manage("show")
    with pytest.raises(CommandError, match=f"No span {span.pk} waits"):
        manage("confirm", str(span.pk))


def test_the_command_moves_an_accounts_clock(db: None) -> None:
    epoch = epochs.current(ACCOUNT)
    assert "30 days" in manage("move", ACCOUNT, "P30D")
    assert epochs.current(ACCOUNT) == epoch + 1
    assert ACCOUNT in manage("show")
    manage("move", ACCOUNT, "PT0S")
    assert AccountClock.objects.get().offset == datetime.timedelta()
    assert ACCOUNT not in manage("show")


REFUSED = {
    "back in time": (ACCOUNT, "-P1D"),
    "no length of time": (ACCOUNT, "soon"),
    "no account": ("alice", "P1D"),
}


@pytest.mark.parametrize("account, offset", REFUSED.values(), ids=REFUSED)
def test_the_command_refuses(db: None, account: str, offset: str) -> None:
    with pytest.raises(CommandError):
        manage("move", "--", account, offset)
    assert not AccountClock.objects.exists()
