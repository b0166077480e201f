"""R20: no wall clock, however wrong, destroys a key early; and one that is right holds nothing back.

A world of one machine is played by rules that know the true time; Casemate sees only its clocks.
"""

from __future__ import annotations

import datetime
from collections import Counter
from dataclasses import dataclass, field

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hsmapp import unproven_time
from hsmapp.unproven_time import LONGEST_SILENCE, TOLERANCE, ZERO, Hold, Reading, Reason, Span

BEGINNING = datetime.datetime(2028, 2, 20, tzinfo=datetime.UTC)  # a leap year's end of February lies ahead
DAY, HOUR, MINUTE = datetime.timedelta(days=1), datetime.timedelta(hours=1), datetime.timedelta(minutes=1)
EXAMPLES = 300
_played: Counter[str] = Counter()


@dataclass
class Deletion:
    scheduled_at: datetime.datetime  # wall
    due_at: datetime.datetime  # wall
    scheduled_after: datetime.timedelta  # true time
    destroyed_after: datetime.timedelta | None = None  # true time


@dataclass
class World:
    """One machine: the true time, what its clocks show, and what Casemate has noted."""

    true: datetime.timedelta = ZERO
    error: datetime.timedelta = ZERO  # of the wall clock
    booted_after: datetime.timedelta = ZERO
    boots: int = 1
    notes: dict[str, Reading] = field(default_factory=dict)
    newest: Reading | None = None
    spans: list[Span] = field(default_factory=list)
    deletions: list[Deletion] = field(default_factory=list)

    @property
    def wall(self) -> datetime.datetime:
        return BEGINNING + self.true + self.error

    def look(self) -> None:
        reading = Reading(self.wall, self.true - self.booted_after, f"boot {self.boots}")
        own = self.notes.get(reading.boot_id)
        span = unproven_time.find_span(own, self.newest, reading)
        if span is not None:
            assert span.begins_at < span.ends_at
            self.spans.append(span)
        self.newest = self.notes[reading.boot_id] = unproven_time.next_note(own, reading, span)

    def hold(self, deletion: Deletion) -> Hold | None:
        return unproven_time.find_hold(
            self.spans, scheduled_at=deletion.scheduled_at, due_at=deletion.due_at, now=self.wall
        )

    def destroy_what_is_due(self) -> None:
        for deletion in self.deletions:
            due = deletion.destroyed_after is None and deletion.due_at <= self.wall
            if due and self.hold(deletion) is None:
                deletion.destroyed_after = self.true

    def round(self) -> None:
        self.look()
        self.destroy_what_is_due()

    def schedule(self, waiting: datetime.timedelta) -> Deletion:
        self.deletions.append(Deletion(self.wall, self.wall + waiting, self.true))
        return self.deletions[-1]

    def run(self, length: datetime.timedelta) -> None:
        """Jobs look again and again; how often makes no difference below a day."""
        end = self.true + length
        while self.true < end:
            self.true = min(end, self.true + 12 * HOUR)
            self.round()

    def sleep(self, length: datetime.timedelta) -> None:
        self.true += length
        self.round()

    def step(self, length: datetime.timedelta) -> None:
        self.error += length
        self.round()

    def reboot(self, off: datetime.timedelta) -> None:
        self.true += off
        self.booted_after, self.boots = self.true, self.boots + 1
        self.round()

    def play(self, happening: tuple[str, datetime.timedelta]) -> None:
        kind, length = happening
        _played[kind] += 1
        {"run": self.run, "sleep": self.sleep, "step": self.step, "reboot": self.reboot, "wait": self.schedule}[kind](
            length
        )


def happening(
    kind: str, least: datetime.timedelta, most: datetime.timedelta
) -> st.SearchStrategy[tuple[str, datetime.timedelta]]:
    return st.tuples(st.just(kind), st.timedeltas(least, most))


WAIT = happening("wait", 7 * DAY, 30 * DAY)
RUN = happening("run", MINUTE, 20 * DAY)
SLEEP = happening("sleep", MINUTE, 20 * DAY)
STEPS = st.one_of(happening("step", -40 * DAY, 40 * DAY), happening("step", -TOLERANCE, TOLERANCE))
NAPS = happening("sleep", MINUTE, LONGEST_SILENCE)
RESTARTS = happening("reboot", MINUTE, LONGEST_SILENCE)
NUDGES = happening("step", -TOLERANCE / 50, TOLERANCE / 50)


@settings(max_examples=EXAMPLES, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.one_of(WAIT, RUN, NAPS, STEPS), min_size=10, max_size=30))
def test_no_step_of_the_wall_clock_destroys_a_key_early(happenings: list[tuple[str, datetime.timedelta]]) -> None:
    world = World()
    world.round()
    for each in happenings:
        world.play(each)
    for deletion in world.deletions:
        if deletion.destroyed_after is not None:
            _played["destroyed"] += 1
            waited = deletion.destroyed_after - deletion.scheduled_after
            assert waited >= (deletion.due_at - deletion.scheduled_at) - TOLERANCE


@settings(max_examples=EXAMPLES, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.one_of(WAIT, happening("run", MINUTE, 2 * DAY), NAPS, RESTARTS, NUDGES), max_size=30))
def test_a_clock_that_is_right_holds_nothing_back(happenings: list[tuple[str, datetime.timedelta]]) -> None:
    """Suspended for a day at most, rebooted, corrected by a second now and then: no person is asked anything."""
    world = World()
    world.round()
    for each in happenings:
        world.play(each)
    assert world.spans == []
    assert all(deletion.destroyed_after is not None for deletion in world.deletions if deletion.due_at <= world.wall)


@settings(max_examples=EXAMPLES, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.one_of(WAIT, RUN, SLEEP, STEPS, happening("reboot", MINUTE, 5 * DAY)), max_size=20))
def test_confirmed_time_lets_every_deletion_go(happenings: list[tuple[str, datetime.timedelta]]) -> None:
    world = World()
    world.round()
    for each in happenings:
        world.play(each)
    world.spans.clear()
    world.destroy_what_is_due()
    assert all(deletion.destroyed_after is not None for deletion in world.deletions if deletion.due_at <= world.wall)


def test_what_was_played() -> None:
    print(f"R20: {sum(_played.values()) - _played['destroyed']} happenings: {dict(_played)}")
    assert min(_played[kind] for kind in ("run", "sleep", "step", "reboot", "wait", "destroyed")) > 100


def test_a_jump_of_40_days_does_not_destroy_a_key_scheduled_for_30_days() -> None:
    world = World()
    world.round()
    deletion = world.schedule(30 * DAY)
    world.run(HOUR)
    world.step(40 * DAY)
    world.run(40 * DAY)
    assert deletion.destroyed_after is None and world.hold(deletion) == Hold(until=None)
    (span,) = world.spans
    assert (span.ends_at - span.begins_at, span.reason) == (40 * DAY, Reason.AHEAD)


def test_a_jump_that_ends_before_the_due_time_does_not_shorten_the_wait() -> None:
    world = World()
    world.round()
    deletion = world.schedule(30 * DAY)
    world.step(29 * DAY)
    world.run(2 * DAY)
    assert world.hold(deletion) == Hold(until=deletion.due_at + 29 * DAY)
    world.run(28 * DAY)
    assert deletion.destroyed_after == 30 * DAY


def test_many_small_steps_count_as_one() -> None:
    world = World()
    world.round()
    for _ in range(10):
        world.run(MINUTE)
        world.step(TOLERANCE / 5)
    assert [span.reason for span in world.spans] == [Reason.AHEAD]


def test_a_clock_set_back_and_then_right_holds_what_that_makes_due() -> None:
    world = World()
    world.round()
    world.step(-40 * DAY)
    deletion = world.schedule(7 * DAY)
    world.run(HOUR)
    world.step(40 * DAY)
    assert deletion.destroyed_after is None and world.hold(deletion) == Hold(until=None)


DURING = {
    "the machine was off for two days": ("reboot", 2 * DAY, True),
    "the machine was off for a night": ("reboot", 10 * HOUR, False),
    "the machine was suspended for two days": ("sleep", 2 * DAY, True),
    "the machine was suspended for a night": ("sleep", 10 * HOUR, False),
}


@pytest.mark.parametrize("kind, length, held", DURING.values(), ids=DURING)
def test_what_fell_due_while_nobody_watched(kind: str, length: datetime.timedelta, held: bool) -> None:
    world = World()
    world.round()
    due_meanwhile, due_later = world.schedule(7 * DAY), world.schedule(10 * DAY)
    world.run(7 * DAY - HOUR)
    world.play((kind, length))
    assert (due_meanwhile.destroyed_after is None) is held
    world.run(3 * DAY)
    assert due_later.destroyed_after is not None, "what falls due after a silence is not early"


def test_a_reading_of_another_boot_says_nothing_about_this_one() -> None:
    before = Reading(BEGINNING, 90 * DAY, "boot 1", ahead=TOLERANCE)
    assert unproven_time.ran_ahead(before, Reading(BEGINNING + HOUR, MINUTE, "boot 2")) == ZERO


def test_a_machine_whose_clock_is_years_away_asks_once() -> None:
    """Two machines take turns; the one that is wrong has a note of its own after its first look."""
    right = Reading(BEGINNING, DAY, "right")
    wrong = Reading(BEGINNING + 400 * DAY, DAY, "wrong")
    first = unproven_time.find_span(None, right, wrong)
    assert first is not None and first.reason == Reason.SILENCE
    later = Reading(wrong.wall + MINUTE, wrong.boot_time + MINUTE, "wrong")
    assert (
        unproven_time.find_span(wrong, Reading(right.wall + MINUTE, right.boot_time + MINUTE, "right"), later) is None
    )


def test_what_was_scheduled_before_a_database_was_restored_waits_for_a_confirmation() -> None:
    restored = BEGINNING + 3 * DAY
    span = Span(BEGINNING, restored, Reason.RESTORED)

    def hold(scheduled_at: datetime.datetime, due_at: datetime.datetime) -> Hold | None:
        return unproven_time.find_hold([span], scheduled_at=scheduled_at, due_at=due_at, now=BEGINNING + 60 * DAY)

    for due_at in (BEGINNING - DAY, BEGINNING + DAY, BEGINNING + 20 * DAY):
        assert hold(BEGINNING - 7 * DAY, due_at) == Hold(until=None)
    assert hold(restored, restored + 7 * DAY) is None, "it was scheduled in the restored database"
