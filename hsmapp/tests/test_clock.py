"""Two clocks: wall time for everybody, and each account's own."""

from __future__ import annotations

import datetime

import pytest

from hsmapp import clock
from hsmapp.models import AccountClock

ACCOUNT, OTHER = "111122223333", "444455556666"
# A clock is read twice, with a query between: what may lie between two readings of the same moment.
MOMENT = datetime.timedelta(seconds=5)

OFFSETS = {
    "seven days ahead": datetime.timedelta(days=7),
    "a year and a second ahead": datetime.timedelta(days=365, seconds=1),
    "a microsecond ahead": datetime.timedelta(microseconds=1),
    "not moved": datetime.timedelta(),
}


def test_wall_time_is_aware_and_in_utc() -> None:
    before = datetime.datetime.now(datetime.UTC)
    now = clock.now()
    assert before <= now <= datetime.datetime.now(datetime.UTC)
    assert now.utcoffset() == datetime.timedelta()


@pytest.mark.parametrize("offset", OFFSETS.values(), ids=OFFSETS)
def test_an_accounts_clock_is_ahead_by_its_offset(db: None, offset: datetime.timedelta) -> None:
    AccountClock.objects.create(account=ACCOUNT, offset=offset)
    before = clock.now()
    shown = clock.for_account(ACCOUNT)
    assert before + offset <= shown <= clock.now() + offset
    assert shown.utcoffset() == datetime.timedelta()


def test_one_accounts_clock_does_not_move_anothers_nor_wall_time(db: None) -> None:
    AccountClock.objects.create(account=ACCOUNT, offset=datetime.timedelta(days=30))
    assert abs(clock.for_account(OTHER) - clock.now()) < MOMENT
    assert abs(clock.now() - datetime.datetime.now(datetime.UTC)) < MOMENT
    assert clock.for_account(ACCOUNT) - clock.for_account(OTHER) > datetime.timedelta(days=29)


def test_a_moved_clock_is_seen_at_once(db: None) -> None:
    """It is read anew each time: what is due on an account's clock must not wait for a cache."""
    row = AccountClock.objects.create(account=ACCOUNT, offset=datetime.timedelta())
    before = clock.for_account(ACCOUNT)
    row.offset = datetime.timedelta(days=1)
    row.save()
    assert clock.for_account(ACCOUNT) - before >= datetime.timedelta(days=1)
