"""Jobs watch the wall clock, so that one that is wrong destroys no key.

`look` notes both clocks once a minute and writes a span for wall time that may not have passed (unproven_time.py
decides). It also looks between two notes, so that a clock set ahead is seen before anything acts on it. Whoever is
about to destroy what fell due asks `find_hold` first; a person confirms a span with `manage.py clock confirm`.
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


def find_hold(account: str, *, scheduled_at: datetime.datetime, due_at: datetime.datetime) -> Hold | None:
    """Whether a deletion that is due must not be carried out yet.

    scheduled_at: wall time at which it was asked for.  due_at: on the account's clock. A clock that was moved has made
    it due by as much earlier on wall time, so what a moved clock alone makes due lies before any span.
    """
    reading = read_clocks()
    look(reading)
    return unproven_time.find_hold(
        [Span(row.begins_at, row.ends_at, Reason(row.reason)) for row in unconfirmed()],
        scheduled_at=scheduled_at,
        due_at=due_at - clock.offset_of(account),
        now=reading.wall,
    )


def unconfirmed() -> list[UnprovenSpan]:
    """The spans that wait for a person, in the order in which they were noticed."""
    return list(UnprovenSpan.objects.filter(confirmed_at=None).order_by("pk"))


def confirm(span_id: int, *, by: str) -> bool:
    """Note that somebody says that the time is right, and so what fell due in this span is. False if none waits."""
    waiting = UnprovenSpan.objects.filter(pk=span_id, confirmed_at=None)
    return bool(waiting.update(confirmed_at=clock.now(), confirmed_by=by))
