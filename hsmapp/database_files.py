"""The database as a file: a copy of it while it is in use, another one opened beside it, one put in its place.

SQLite only: what a backup of another database is, that database's own tools say.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from django.db import connection, connections

_ALIAS = "beside"
_SIDE_FILES = ("-wal", "-shm", "-journal")


def path() -> Path:
    """Where this installation's database lies."""
    return Path(connection.settings_dict["NAME"])


def is_sqlite() -> bool:
    return connection.vendor == "sqlite"


def is_there() -> bool:
    """Whether there is a database. To look into the file would make it."""
    return not is_sqlite() or path().exists()


def copy(target: Path) -> None:
    """Write a consistent copy of the database to a file, whoever reads and writes it meanwhile."""
    connection.ensure_connection()
    with closing(sqlite3.connect(target)) as file:
        connection.connection.backup(file)  # all pages in one step, from one snapshot: writers go on
        file.execute("PRAGMA journal_mode=DELETE")


def forget_erased() -> None:
    """Take what transactions have erased out of SQLite's log as well, where it stays until it is written over."""
    if is_sqlite():
        with connection.cursor() as cursor:
            cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)")  # waits for readers, and does less if they stay


@contextmanager
def opened(file: Path) -> Iterator[str]:
    """Open a database file beside the default database; yields the alias for `using`. No side file stays."""
    default = connections.databases["default"]
    pragmas = "PRAGMA journal_mode=DELETE; PRAGMA synchronous=FULL; PRAGMA secure_delete=ON; PRAGMA foreign_keys=ON;"
    connections.databases[_ALIAS] = {
        **default,
        "NAME": file,
        "OPTIONS": {**default["OPTIONS"], "init_command": pragmas},
    }
    try:
        yield _ALIAS
    finally:
        connections[_ALIAS].close()
        del connections[_ALIAS]
        del connections.databases[_ALIAS]


def settle(database: Path) -> bool:
    """Bring what is in the side files of a database that nobody uses into the database itself.

    Return whether there is one that can be read; False leaves everything as it was.
    """
    if not database.exists():
        return False
    try:
        with closing(sqlite3.connect(database)) as file:
            file.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            file.execute("SELECT count(*) FROM sqlite_master")
    except sqlite3.DatabaseError:
        return False
    return True


def problem_in(using: str) -> str:
    """What SQLite's own check finds wrong with a database; empty: nothing."""
    with connections[using].cursor() as cursor:
        cursor.execute("PRAGMA integrity_check(1)")
        (found,) = cursor.fetchone()
    return "" if found == "ok" else str(found)


def side_files(database: Path) -> list[Path]:
    """SQLite's files beside a database that are there."""
    return [side for ending in _SIDE_FILES if (side := Path(f"{database}{ending}")).exists()]
