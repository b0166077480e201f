"""A cached fact is read again as soon as its account's epoch was raised, and never outlives a rollback."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

import pytest
from django.db import connection, transaction

from hsmapp import epochs
from hsmapp.epochs import Cached, raise_epoch
from hsmapp.models import Epoch

ACCOUNT, OTHER = "111122223333", "444455556666"


class Fact:
    """Something in the database, and how often it was read."""

    def __init__(self) -> None:
        self.value = "first"
        self.reads = 0

    def read(self) -> str:
        self.reads += 1
        return self.value


@pytest.fixture
def fact(transactional_db: None) -> Fact:
    return Fact()


@pytest.fixture
def cache() -> Cached[str]:
    return Cached()


def test_a_fact_is_read_once_until_its_epoch_is_raised(fact: Fact, cache: Cached[str]) -> None:
    assert [cache.get(ACCOUNT, "key", fact.read) for _ in range(3)] == ["first"] * 3
    assert fact.reads == 1
    fact.value = "second"
    assert cache.get(ACCOUNT, "key", fact.read) == "first"
    raise_epoch(ACCOUNT)
    assert [cache.get(ACCOUNT, "key", fact.read) for _ in range(3)] == ["second"] * 3
    assert fact.reads == 2


def test_another_accounts_epoch_changes_nothing(fact: Fact, cache: Cached[str]) -> None:
    cache.get(ACCOUNT, "key", fact.read)
    raise_epoch(OTHER)
    cache.get(ACCOUNT, "key", fact.read)
    assert fact.reads == 1


def test_facts_of_two_accounts_and_of_two_names_are_apart(cache: Cached[str], transactional_db: None) -> None:
    def gives(value: str) -> Callable[[], str]:
        return lambda: value

    names = [(ACCOUNT, "a"), (ACCOUNT, "b"), (OTHER, "a"), (OTHER, "b")]
    assert [cache.get(*name, gives(f"{name}")) for name in names] == [f"{name}" for name in names]
    assert [cache.get(*name, gives("read again")) for name in names] == [f"{name}" for name in names]


def test_nothing_is_cached_inside_a_transaction(fact: Fact, cache: Cached[str]) -> None:
    with transaction.atomic():
        cache.get(ACCOUNT, "key", fact.read)
        cache.get(ACCOUNT, "key", fact.read)
    assert fact.reads == 2
    cache.get(ACCOUNT, "key", fact.read)
    assert fact.reads == 3


class ChangedMindError(Exception):
    pass


def test_what_a_rolled_back_transaction_saw_is_not_kept(fact: Fact, cache: Cached[str]) -> None:
    cache.get(ACCOUNT, "key", fact.read)
    before = epochs.current(ACCOUNT)
    with pytest.raises(ChangedMindError), transaction.atomic():
        raise_epoch(ACCOUNT)
        fact.value = "never committed"
        assert cache.get(ACCOUNT, "key", fact.read) == "never committed"
        raise ChangedMindError
    fact.value = "first"
    assert epochs.current(ACCOUNT) == before
    assert cache.get(ACCOUNT, "key", fact.read) == "first"


def test_a_change_during_the_read_makes_the_entry_old_and_not_wrong(fact: Fact, cache: Cached[str]) -> None:
    def read_while_another_changes() -> str:
        seen = fact.read()
        fact.value = "second"
        raise_epoch(ACCOUNT)
        return seen

    assert cache.get(ACCOUNT, "key", read_while_another_changes) == "first"
    assert cache.get(ACCOUNT, "key", fact.read) == "second"


def test_a_change_is_seen_by_the_caches_of_all_workers(fact: Fact) -> None:
    workers: list[Cached[str]] = [Cached(), Cached()]
    assert [worker.get(ACCOUNT, "key", fact.read) for worker in workers] == ["first"] * 2
    fact.value = "second"
    raise_epoch(ACCOUNT)
    assert [worker.get(ACCOUNT, "key", fact.read) for worker in workers] == ["second"] * 2


def test_the_epoch_the_caller_has_just_read_is_believed(fact: Fact, cache: Cached[str]) -> None:
    number = epochs.current(ACCOUNT)
    cache.get(ACCOUNT, "key", fact.read, epoch=number)
    cache.get(ACCOUNT, "key", fact.read, epoch=number)
    assert fact.reads == 1
    cache.get(ACCOUNT, "key", fact.read, epoch=number + 1)
    assert fact.reads == 2


def test_an_account_nobody_has_changed_has_an_epoch_too(transactional_db: None) -> None:
    assert epochs.current(ACCOUNT) == 0
    raise_epoch(ACCOUNT)
    raise_epoch(ACCOUNT)
    assert (epochs.current(ACCOUNT), epochs.current(OTHER)) == (2, 0)


def test_no_raise_is_lost_among_many_at_once(transactional_db: None) -> None:
    threads, each = 4, 25

    def run() -> None:
        try:
            for _ in range(each):
                with transaction.atomic():
                    raise_epoch(ACCOUNT)
        finally:
            connection.close()

    running = [threading.Thread(target=run) for _ in range(threads)]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join()
    print(f"{threads * each} raises by {threads} threads at once, epoch {epochs.current(ACCOUNT)}")
    assert epochs.current(ACCOUNT) == threads * each
    assert Epoch.objects.count() == 1


def test_a_full_cache_forgets_instead_of_growing(fact: Fact) -> None:
    cache: Cached[str] = Cached(limit=10)
    for number in range(25):
        cache.get(ACCOUNT, number, fact.read)
        assert len(cache._facts) <= 10


def test_forget_all_empties_every_cache(fact: Fact, cache: Cached[str]) -> None:
    cache.get(ACCOUNT, "key", fact.read)
    epochs.forget_all()
    cache.get(ACCOUNT, "key", fact.read)
    assert fact.reads == 2


def test_one_request_reads_the_epoch_once(
    fact: Fact, cache: Cached[str], statements: list[str], transactional_db: None
) -> None:
    raise_epoch(ACCOUNT)
    statements.clear()
    with epochs.one_reading():
        assert [cache.get(ACCOUNT, name, fact.read) for name in ("user", "alias", "key")] == ["first"] * 3
    assert len(statements) == 1, statements
    for _ in range(2):
        with epochs.one_reading():
            cache.get(ACCOUNT, "key", fact.read)
    assert len(statements) == 3, statements


@pytest.fixture
def statements(transactional_db: None) -> Iterator[list[str]]:
    """What SQLite is asked on this thread's connection, whoever asks."""
    connection.ensure_connection()
    seen: list[str] = []
    connection.connection.set_trace_callback(seen.append)
    yield seen
    connection.connection.set_trace_callback(None)


def test_the_next_request_sees_what_another_thread_has_changed(fact: Fact, cache: Cached[str]) -> None:
    with epochs.one_reading():
        assert cache.get(ACCOUNT, "key", fact.read) == "first"
        fact.value = "second"
        other = threading.Thread(target=_raise_elsewhere)
        other.start()
        other.join()
        assert cache.get(ACCOUNT, "key", fact.read) == "first"  # judged by what held when it came
    with epochs.one_reading():
        assert cache.get(ACCOUNT, "key", fact.read) == "second"


def _raise_elsewhere() -> None:
    try:
        raise_epoch(ACCOUNT)
    finally:
        connection.close()


def test_a_request_sees_what_it_has_changed_itself(fact: Fact, cache: Cached[str]) -> None:
    with epochs.one_reading():
        assert cache.get(ACCOUNT, "key", fact.read) == "first"
        with transaction.atomic():
            raise_epoch(ACCOUNT)
            fact.value = "second"
        assert cache.get(ACCOUNT, "key", fact.read) == "second"
