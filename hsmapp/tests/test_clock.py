"""Two clocks: wall time for everybody, and each account's own."""

from __future__ import annotations

import datetime

import pytest
from django.db import IntegrityError, transaction

from hsmapp import clock, epochs
from hsmapp.models import AccountClock, Cluster, Tombstone

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


def test_a_moved_clock_raises_the_accounts_epoch_with_it(db: None) -> None:
    before, others = epochs.current(ACCOUNT), epochs.current(OTHER)
    clock.move(ACCOUNT, datetime.timedelta(days=7))
    assert clock.offset_of(ACCOUNT) == datetime.timedelta(days=7)
    assert (epochs.current(ACCOUNT), epochs.current(OTHER)) == (before + 1, others)
    with pytest.raises(RuntimeError), transaction.atomic():
        clock.move(ACCOUNT, datetime.timedelta(days=9))
        raise RuntimeError("the lab's own transaction fails")
    assert clock.offset_of(ACCOUNT) == datetime.timedelta(days=7)
    assert epochs.current(ACCOUNT) == before + 1


def test_no_accounts_clock_is_behind_wall_time(db: None) -> None:
    with pytest.raises(ValueError, match="behind wall time"):
        clock.move(ACCOUNT, datetime.timedelta(microseconds=-1))
    with pytest.raises(IntegrityError), transaction.atomic():
        AccountClock.objects.create(account=ACCOUNT, offset=datetime.timedelta(microseconds=-1))


WHEN = datetime.datetime(2027, 3, 1, 12, 0, 0, tzinfo=datetime.UTC)
SECOND = datetime.timedelta(seconds=1)
DUE = {
    "now": (WHEN, datetime.timedelta(), True),
    "a second ago": (WHEN - SECOND, datetime.timedelta(), True),
    "in a microsecond": (WHEN + datetime.timedelta(microseconds=1), datetime.timedelta(), False),
    "in a second, on a clock a second ahead": (WHEN + SECOND, SECOND, True),
    "in half a second, on a clock a second ahead": (WHEN + SECOND / 2, SECOND, True),
    "in two seconds, on a clock a second ahead": (WHEN + SECOND * 2, SECOND, False),
    "in 30 days, on a clock 30 days ahead": (
        WHEN + datetime.timedelta(days=30),
        datetime.timedelta(days=30),
        True,
    ),
    "in 30 days and a second, on a clock 30 days ahead": (
        WHEN + datetime.timedelta(days=30, seconds=1),
        datetime.timedelta(days=30),
        False,
    ),
    "a year ago, on a clock a year ahead": (WHEN - datetime.timedelta(days=365), datetime.timedelta(days=365), True),
}


@pytest.mark.parametrize("due_at, offset, due", DUE.values(), ids=DUE)
def test_rows_are_due_on_their_accounts_clock(
    db: None, due_at: datetime.datetime, offset: datetime.timedelta, due: bool
) -> None:
    """Any table will do that has an account and a time: clusters have both."""
    clock.move(ACCOUNT, offset)
    clock.move(OTHER, datetime.timedelta(days=4000))
    Cluster.objects.create(cluster_id="cluster-1", account=ACCOUNT, created_at=due_at)
    rows = clock.due(Cluster.objects.all(), "created_at", now=WHEN, account_field="account")
    assert rows.exists() is due
    on_wall = clock.due(Cluster.objects.all(), "created_at", now=WHEN)
    assert on_wall.exists() is (due_at <= WHEN)


def test_due_rows_follow_a_relation_and_lack_no_account_that_never_moved(db: None) -> None:
    cluster = Cluster.objects.create(cluster_id="cluster-1", account=ACCOUNT, created_at=WHEN)
    for label, due_at in (("due", WHEN), ("tomorrow", WHEN + datetime.timedelta(days=1))):
        Tombstone.objects.create(cluster=cluster, label=label, backing_key_id="", created_at=due_at)

    def due() -> list[str]:
        rows = clock.due(Tombstone.objects.order_by("pk"), "created_at", now=WHEN, account_field="cluster__account")
        return [row.label for row in rows]

    assert due() == ["due"]
    clock.move(OTHER, datetime.timedelta(days=2))
    assert due() == ["due"]
    clock.move(ACCOUNT, datetime.timedelta(days=2))
    assert due() == ["due", "tomorrow"]
