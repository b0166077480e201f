"""Which stretches of wall time nobody can prove to have passed, and which deletions they hold back.

Pure: readings and spans in, decisions out. A wall clock that is set ahead, or a machine that was off while nobody could
cancel anything, must not destroy a key before a person has said that the time is right (clock_watch.py keeps the rows).

CLOCK_BOOTTIME is the witness: it counts suspended time too, it can't be set, and it starts anew at every boot. Within
a boot wall time may not run ahead of it; across boots nothing is known but the length of the silence.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import StrEnum

# Smaller steps than this are time servers at work. They are added up, so many of them count as one.
TOLERANCE = datetime.timedelta(minutes=1)
LONGEST_SILENCE = datetime.timedelta(hours=24)
ZERO = datetime.timedelta()


class Reason(StrEnum):
    AHEAD = "ahead"  # wall time ran ahead of the machine's own clock
    SILENCE = "silence"  # nothing was noted for longer than LONGEST_SILENCE
    RESTORED = "restored"  # the database came from a backup, which may not know of a deletion that was cancelled


# For people.
IN_WORDS = {
    Reason.AHEAD: "the clock of this machine was set ahead",
    Reason.SILENCE: "Casemate did not run for over 24 hours",
    Reason.RESTORED: "the database was restored from a backup, and the deletion may have been cancelled since",
}


@dataclass(frozen=True)
class Reading:
    """Both clocks of a machine at one moment."""

    wall: datetime.datetime
    boot_time: datetime.timedelta  # CLOCK_BOOTTIME
    boot_id: str  # another one: boot_time can't be compared
    ahead: datetime.timedelta = ZERO  # how far wall time had run ahead, in steps too small to be called a span


@dataclass(frozen=True)
class Span:
    """Wall time after begins_at, up to and including ends_at, of which nobody can prove that it passed."""

    begins_at: datetime.datetime
    ends_at: datetime.datetime
    reason: Reason


def ran_ahead(before: Reading, now: Reading) -> datetime.timedelta:
    """How far wall time has run ahead since the note, small steps of earlier notes included. Never negative."""
    if before.boot_id != now.boot_id:
        return ZERO
    step = (now.wall - before.wall) - (now.boot_time - before.boot_time)
    return max(ZERO, before.ahead + step)


def find_span(own: Reading | None, newest: Reading | None, now: Reading) -> Span | None:
    """The span that ends now, if there is one.

    own: the last note of this boot.  newest: the last note of any boot of any machine.
    """
    if own is not None and (ahead := ran_ahead(own, now)) > TOLERANCE:
        return Span(now.wall - ahead, now.wall, Reason.AHEAD)
    # Both, because another machine may have kept watch while this one slept, and this one's own note can be believed
    # when another machine's clock is years away.
    last = [note.wall for note in (own, newest) if note is not None]
    if last and now.wall - max(last) > LONGEST_SILENCE:
        return Span(max(last), now.wall, Reason.SILENCE)
    return None


def next_note(own: Reading | None, now: Reading, span: Span | None) -> Reading:
    """The note to keep of this boot. What a span tells is told; what was too small for one is carried on."""
    return replace(now, ahead=ZERO if own is None or span is not None else ran_ahead(own, now))


@dataclass(frozen=True)
class Hold:
    """Why a deletion that seems due is not carried out."""

    until: datetime.datetime | None  # wall time at which it ends by itself; None: only a confirmation ends it


def find_hold(
    unconfirmed: Iterable[Span], *, scheduled_at: datetime.datetime, due_at: datetime.datetime, now: datetime.datetime
) -> Hold | None:
    """Whether a deletion is held back, all three times being wall time.

    unconfirmed: the spans that nobody has confirmed, in the order in which they were noticed.
    A deletion that fell due within a span waits for the confirmation. One that was scheduled before wall time was set
    ahead and falls due after that would come too early by as much: it waits that much longer, or for the confirmation.
    Of those that were scheduled before the database was restored, all wait for the confirmation.
    """
    due = due_at
    confirmation_needed = False
    for span in unconfirmed:
        if scheduled_at >= span.ends_at:
            continue
        if span.reason == Reason.RESTORED:
            confirmation_needed = True
            continue
        if due <= span.begins_at:
            continue
        confirmation_needed = confirmation_needed or due_at <= span.ends_at
        if span.reason == Reason.AHEAD:
            due += span.ends_at - span.begins_at
    if confirmation_needed:
        return Hold(until=None)
    return Hold(until=due) if now < due else None
