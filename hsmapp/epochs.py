"""One number per account that tells caches when to forget.

Every transaction that changes what a call could see raises the account's epoch in that same transaction
(`raise_epoch`). A cache keeps the epoch it was filled at and compares it with the database before each use
(`Cached.get`), so a revocation is seen by every worker at its next call. A miss reads the epoch before the data:
whatever changes in between only makes the entry old, never wrong. One request asks for several facts; it reads the
epoch once (`one_reading`), and is judged by what held when it came.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from typing import Generic, TypeVar

from django.db import DEFAULT_DB_ALIAS, connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import F

from hsmapp.models import Epoch

Value = TypeVar("Value")
# By the database's vendor, since a driver's own placeholder is needed.
_READ = {
    "sqlite": 'SELECT "number" FROM "hsmapp_epoch" WHERE "account" = ?',
    "postgresql": 'SELECT "number" FROM "hsmapp_epoch" WHERE "account" = %s',
}


_caches: list[Callable[[], None]] = []


def forget_all() -> None:
    """Empty every cache of this process: for a process that turns to another database, as tests do."""
    for clear in _caches:
        clear()


class _Reading(threading.local):
    """The epochs that the request of this thread has read, and the connection it reads with; None outside of one."""

    numbers: dict[str, int] | None = None
    # Django finds a thread's connection through two proxies, which takes longer than to look a fact up.
    database: BaseDatabaseWrapper | None = None


_reading = _Reading()


@contextmanager
def one_reading() -> Iterator[None]:
    """Within this block, which is one request on this thread, an account's epoch is read from the database once."""
    before = _reading.numbers, _reading.database
    _reading.numbers, _reading.database = {}, connections[DEFAULT_DB_ALIAS]
    try:
        yield
    finally:
        _reading.numbers, _reading.database = before


def raise_epoch(account: str) -> None:
    """Make every cached fact about the account old. Call inside the transaction that changes the fact."""
    if _reading.numbers is not None:
        _reading.numbers.pop(account, None)  # the request sees what it has changed
    row = Epoch.objects.filter(account=account)
    if not row.update(number=F("number") + 1):
        _, first = Epoch.objects.get_or_create(account=account, defaults={"number": 1})
        if not first:  # somebody else's transaction has just made the row: that raise was theirs
            row.update(number=F("number") + 1)


def current(account: str) -> int:
    """The account's epoch, as this request has read it if it has."""
    return _current(account, _database())


def _database() -> BaseDatabaseWrapper:
    database = _reading.database
    return connections[DEFAULT_DB_ALIAS] if database is None else database


def _current(account: str, database: BaseDatabaseWrapper) -> int:
    numbers = _reading.numbers
    if numbers is None or database.in_atomic_block:
        return _read(account, database)
    number = numbers.get(account)
    if number is None:
        number = numbers[account] = _read(account, database)
    return number


def _read(account: str, database: BaseDatabaseWrapper) -> int:
    """One indexed read, past Django's cursors, because this is on the path of every call."""
    if database.connection is None:
        database.ensure_connection()
    with database.wrap_database_errors:
        row = database.connection.execute(_READ[database.vendor], (account,)).fetchone()
    return int(row[0]) if row else 0


class Cached(Generic[Value]):
    """A bounded cache of facts about accounts; a fact is valid while its account's epoch stands."""

    def __init__(self, limit: int = 20_000):
        self._limit = limit
        self._facts: dict[Hashable, tuple[int, Value]] = {}
        self._lock = threading.Lock()
        _caches.append(self.clear)

    def get(self, account: str, key: Hashable, read: Callable[[], Value], *, epoch: int | None = None) -> Value:
        """Return the fact `key` about the account, reading it anew if the epoch moved.

        epoch: the account's epoch if the caller has just read it (one read serves a whole request).
        """
        database = _database()
        if database.in_atomic_block:
            return read()  # what this transaction sees may be rolled back, and must not outlive it in a cache
        number = _current(account, database) if epoch is None else epoch
        known = self._facts.get((account, key))
        if known is not None and known[0] == number:
            return known[1]
        value = read()
        with self._lock:
            if len(self._facts) >= self._limit:
                self._facts.clear()
            self._facts[(account, key)] = (number, value)
        return value

    def clear(self) -> None:
        with self._lock:
            self._facts.clear()
