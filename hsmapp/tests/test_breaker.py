"""The circuit breaker, and the deadline of a whole call: no HSM, no clock but the one that is given."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from hsmapp.breaker import FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS, STEADY_SECONDS, Breaker
from hsmapp.deadlines import LEAST_SECONDS, Deadline


def opened(breaker: Breaker, now: float) -> float:
    """Let a call fail; the pause until the probe."""
    breaker.call_failed(now)
    assert breaker.is_open
    return breaker.seconds_to_probe(now)


def test_a_new_breaker_is_closed_and_may_be_probed() -> None:
    assert (Breaker().is_open, Breaker().seconds_to_probe(100.0)) == (False, 0.0)


def test_the_first_failure_is_probed_at_once_and_a_login_closes_it() -> None:
    breaker = Breaker()
    assert opened(breaker, 100.0) == 0.0
    breaker.probe_succeeded(100.1)
    assert not breaker.is_open


def test_probes_that_fail_come_less_and_less_often() -> None:
    breaker = Breaker()
    now, pauses = 100.0, [opened(breaker, 100.0)]
    for _ in range(8):
        now += breaker.seconds_to_probe(now)
        breaker.probe_failed(now)
        pauses.append(breaker.seconds_to_probe(now))
    assert pauses[:6] == [0.0, FIRST_PAUSE_SECONDS, 0.5, 1.0, 2.0, LONGEST_PAUSE_SECONDS]
    assert set(pauses[6:]) == {LONGEST_PAUSE_SECONDS}


def test_calls_that_were_under_way_together_count_as_one_failure() -> None:
    alone, together = Breaker(), Breaker()
    alone.call_failed(100.0)
    for late in range(4):
        together.call_failed(100.0 + late / 10)
    for breaker in (alone, together):
        breaker.probe_failed(101.0)
    assert alone.seconds_to_probe(101.0) == together.seconds_to_probe(101.0) == FIRST_PAUSE_SECONDS


def test_an_hsm_that_fails_again_soon_keeps_the_longer_pause_and_a_steady_one_is_forgiven() -> None:
    breaker = Breaker()
    pauses = []
    for now in (100.0, 101.0, 102.0, 102.0 + STEADY_SECONDS):
        pauses.append(opened(breaker, now))
        breaker.probe_succeeded(now)
    assert pauses == [0.0, FIRST_PAUSE_SECONDS, 2 * FIRST_PAUSE_SECONDS, 0.0]


@given(st.lists(st.tuples(st.sampled_from(["call", "probe", "success"]), st.floats(0, 100))))
def test_it_is_open_exactly_from_a_failure_to_a_login_and_never_for_ever(happenings: list[tuple[str, float]]) -> None:
    breaker, now, is_open = Breaker(), 1000.0, False
    for happening, passed in happenings:
        now += passed
        {"call": breaker.call_failed, "probe": breaker.probe_failed, "success": breaker.probe_succeeded}[happening](now)
        is_open = happening != "success"
        assert breaker.is_open == is_open
        assert 0.0 <= breaker.seconds_to_probe(now) <= LONGEST_PAUSE_SECONDS
        assert breaker.seconds_to_probe(now + LONGEST_PAUSE_SECONDS) == 0.0


def test_a_deadline_shares_out_what_is_left() -> None:
    deadline = Deadline(2.0)
    assert deadline.at_most(1.0) == 1.0
    assert 1.9 < deadline.at_most(5.0) <= 2.0
    assert not deadline.is_over
    assert Deadline(LEAST_SECONDS / 2).is_over
    assert Deadline(0.0).at_most(1.0) == LEAST_SECONDS
