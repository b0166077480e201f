"""The two clocks, and what is due on them.

`now()` is wall time: signatures, sessions, audit. `for_account(account)` is the account's clock, which labs may set
ahead: key deletion, rotation, waiting periods. All times are aware UTC datetimes.

A handler asks `due` for its rows. Waiting periods that a person chose (a key's deletion, a backup's seven days) name
the account whose clock shortens them. Transitions of key stores, clusters, HSMs and backups name none: they stand for
work on HSMs that takes its time whatever a lab says, and their due time is also the lease of whoever is at work, which
a moved clock must not end under them. settings.IMMEDIATE is what shortens those (jobs.transition_due).
"""

from __future__ import annotations

import datetime
from typing import TypeVar

from django.db import models, transaction
from django.db.models import Exists, ExpressionWrapper, OuterRef, Q, QuerySet, Value

from hsmapp import epochs
from hsmapp.models import AccountClock

Row = TypeVar("Row", bound=models.Model)


def now() -> datetime.datetime:
    """Wall time."""
    return datetime.datetime.now(datetime.UTC)


def offset_of(account: str) -> datetime.timedelta:
    """How far the account's clock is ahead of wall time."""
    found = AccountClock.objects.filter(account=account).values_list("offset", flat=True).first()
    return found or datetime.timedelta()


def for_account(account: str) -> datetime.datetime:
    """The account's clock: wall time plus the account's offset."""
    return now() + offset_of(account)


def move(account: str, offset: datetime.timedelta) -> None:
    """Set the account's clock ahead of wall time by `offset`; zero brings it back.

    Raises: ValueError for a negative offset: what has happened can't be made to lie ahead again.
    """
    if offset < datetime.timedelta():
        raise ValueError(f"An account's clock can't be behind wall time: {offset}.")
    with transaction.atomic():
        AccountClock.objects.update_or_create(account=account, defaults={"offset": offset})
        epochs.raise_epoch(account)


def due(
    rows: QuerySet[Row], due_field: str, *, now: datetime.datetime, account_field: str | None = None
) -> QuerySet[Row]:
    """Those of `rows` whose due time has come: on wall time, or on the clock of the account that `account_field` names.

    now: wall time.  account_field: None for what no account's clock shortens.
    """
    on_wall = Q(**{f"{due_field}__lte": now})
    if account_field is None:
        return rows.filter(on_wall)
    missing = ExpressionWrapper(OuterRef(due_field) - Value(now), output_field=models.DurationField())
    ahead = AccountClock.objects.filter(account=OuterRef(account_field), offset__gte=missing)
    return rows.filter(on_wall | Exists(ahead))
