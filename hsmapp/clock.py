"""The two clocks.

`now()` is wall time: signatures, sessions, audit. `for_account(account)` is the account's clock, which labs may set
ahead: key deletion, rotation, waiting periods. All times are aware UTC datetimes.
"""

from __future__ import annotations

import datetime


def now() -> datetime.datetime:
    """Wall time."""
    return datetime.datetime.now(datetime.UTC)


def for_account(account: str) -> datetime.datetime:
    """The account's clock: wall time plus the account's offset."""
    from hsmapp.models import AccountClock

    row = AccountClock.objects.filter(account=account).values_list("offset", flat=True).first()
    return now() + (row or datetime.timedelta())
