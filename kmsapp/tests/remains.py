"""What a refused call could leave behind in a running server: a key, an alias, a row, an object in a token."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any, NamedTuple

from kmsapp.testing import Casemate
from kmsapp.tests.token_copies import HSMS, key_object_count

_TABLES = ("kmsapp_kmskey", "kmsapp_alias", "kmsapp_tag", "hsmapp_maskedkey")


class Remains(NamedTuple):
    keys: frozenset[str]
    aliases: frozenset[str]
    rows: tuple[int, ...]
    open_intents: int
    token_objects: tuple[int, ...]


def query(casemate: Casemate, statement: str, *parameters: object) -> list[Any]:
    """Rows of the server's database, read beside it."""
    with closing(sqlite3.connect(f"file:{casemate.data / 'casemate.sqlite3'}?mode=ro", uri=True)) as database:
        return database.execute(statement, parameters).fetchall()


def remains(casemate: Casemate) -> Remains:
    """All of it as it is now."""
    kms = casemate.boto3("kms")
    return Remains(
        keys=frozenset(kms.get_paginator("list_keys").paginate().search("Keys[].KeyId")),
        aliases=frozenset(kms.get_paginator("list_aliases").paginate().search("Aliases[].AliasName")),
        rows=tuple(query(casemate, f"SELECT count(*) FROM {table}")[0][0] for table in _TABLES),  # noqa: S608
        open_intents=query(casemate, "SELECT count(*) FROM hsmapp_keyintent WHERE state = 'open'")[0][0],
        token_objects=tuple(key_object_count(casemate, hsm_id) for hsm_id in HSMS),
    )


@contextmanager
def nothing_remains(casemate: Casemate) -> Iterator[None]:
    """Whatever happens inside must leave no trace of a key."""
    before = remains(casemate)
    assert before.open_intents == 0
    yield
    assert remains(casemate) == before


def digests(casemate: Casemate) -> dict[str, int]:
    """For each table of kmsapp's, a digest of its rows. Refusals are recorded, but nowhere else.

    The last uses of keys are copied from the record, those of what was done before some time later.
    """
    tables = [name for (name,) in query(casemate, "SELECT name FROM sqlite_master WHERE type = 'table'")]
    return {
        table: hash(tuple(query(casemate, f'SELECT * FROM "{table}"')))  # noqa: S608
        for table in tables
        if table.startswith("kmsapp_") and "audit" not in table and table != "kmsapp_keylastusage"
    }
