"""Jobs watch the wall clock, so that one that is wrong destroys no key.

`look` notes both clocks once a minute and writes a span for wall time that may not have passed (unproven_time.py
decides). It also looks between two notes, so that a clock set ahead is seen before anything acts on it. Whoever is
about to destroy what fell due asks `look_for_holds` first. A person confirms a span with `manage.py clock confirm`, or
the deletion of a single key on its page. A restore writes a span too: a backup may not know what was cancelled since.
"""

from __future__ import annotations

import datetime
import time
from pathlib import Path

from django.db import IntegrityError, transaction

from hsmapp import clock, jobs, unproven_time
from hsmapp.models import ClockNote, UnprovenSpan
from hsmapp.unproven_time import Hold, Reading, Reason, Span

NOTE_EVERY = datetime.timedelta(minutes=1)
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


def read_clocks() -> Reading:
    """Both clocks of this machine, now."""
    boot_time = datetime.timedelta(seconds=time.clock_gettime(time.CLOCK_BOOTTIME))
    return Reading(clock.now(), boot_time, _BOOT_ID.read_text().strip())


@jobs.handler("watch the wall clock")
def watch(now: datetime.datetime) -> int:
    return int(look(read_clocks()))


def look(reading: Reading) -> bool:
    """Compare the clocks with the notes; True if there was something to write. Safe on several machines at once."""
    newest = ClockNote.objects.order_by("-pk").first()
    own = newest
    if newest is not None and newest.boot_id != reading.boot_id:
        own = ClockNote.objects.filter(boot_id=reading.boot_id).first()
    span = unproven_time.find_span(_reading(own), _reading(newest), reading)
    # A note that lies ahead of a clock which was set back would hide the next step ahead: it is replaced at once.
    is_fresh = own is not None and own.wall <= reading.wall and abs(reading.boot_time - own.boot_time) < NOTE_EVERY
    if span is None and is_fresh:
        return False
    return _write(own, unproven_time.next_note(_reading(own), reading, span), span)


def _reading(note: ClockNote | None) -> Reading | None:
    return None if note is None else Reading(note.wall, note.boot_time, note.boot_id, note.ahead)


def _write(own: ClockNote | None, note: Reading, span: Span | None) -> bool:
    """Replace this boot's note, and write the span with it: whoever replaces the note writes the span."""
    try:
        with transaction.atomic():
            if own is not None and not ClockNote.objects.filter(pk=own.pk).delete()[0]:
                return False
            ClockNote.objects.create(boot_id=note.boot_id, wall=note.wall, boot_time=note.boot_time, ahead=note.ahead)
            if span is not None:
                UnprovenSpan.objects.create(begins_at=span.begins_at, ends_at=span.ends_at, reason=span.reason.value)
    except IntegrityError:
        return False  # another process of this boot has just written its first note
    return True


class Holds:
    """Which deletions that are due must not be carried out yet, by one look at the clocks."""

    def __init__(self, reading: Reading) -> None:
        self._now = reading.wall
        self._spans = [Span(row.begins_at, row.ends_at, Reason(row.reason)) for row in unconfirmed()]
        self._offsets: dict[str, datetime.timedelta] = {}  # of accounts' clocks

    def on(self, account: str, *, scheduled_at: datetime.datetime, due_at: datetime.datetime) -> Hold | None:
        """What holds a deletion back.

        scheduled_at: wall time at which it was asked for.  due_at: on the account's clock. A clock that was moved has
        made it due by as much earlier on wall time, so what a moved clock alone makes due lies before any span.
        """
        if account not in self._offsets:
            self._offsets[account] = clock.offset_of(account)
        due = due_at - self._offsets[account]
        return unproven_time.find_hold(self._spans, scheduled_at=scheduled_at, due_at=due, now=self._now)

    def reasons(self, *, scheduled_at: datetime.datetime) -> list[Reason]:
        """Why a deletion may be held back, each once."""
        return list(dict.fromkeys(span.reason for span in self._spans if scheduled_at < span.ends_at))


def look_for_holds() -> Holds:
    """What whoever is about to destroy asks, after having found out what is due."""
    reading = read_clocks()
    look(reading)
    return Holds(reading)


def noted_holds() -> Holds:
    """What is known of holds, for those who only show it: nothing is written."""
    return Holds(read_clocks())


def unconfirmed() -> list[UnprovenSpan]:
    """The spans that wait for a person, in the order in which they were noticed."""
    return list(UnprovenSpan.objects.filter(confirmed_at=None).order_by("pk"))


def note_restored(using: str, *, made_at: datetime.datetime) -> None:
    """Hold what was scheduled before a database was restored. using: that database.  made_at: when its backup was."""
    now = max(clock.now(), made_at)
    UnprovenSpan.objects.using(using).create(begins_at=made_at, ends_at=now, reason=Reason.RESTORED.value)


def confirm(span_id: int, *, by: str) -> bool:
    """Note that somebody says that the time is right, and so what fell due in this span is. False if none waits."""
    waiting = UnprovenSpan.objects.filter(pk=span_id, confirmed_at=None)
    return bool(waiting.update(confirmed_at=clock.now(), confirmed_by=by))
