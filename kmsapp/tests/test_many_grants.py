"""A key with as many grants as a key can have: who has none of them is not slower, and lists have their pages."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from hsmapp import clock, epochs
from kmsapp import demo, grants, key_facts
from kmsapp.call import Call
from kmsapp.caller import Caller
from kmsapp.errors import LimitExceededException
from kmsapp.models import Grant, KmsKey
from kmsapp.operations.grants import GRANTS_PER_KEY
from kmsapp.tests.grant_world import KEY, create, rows
from kmsapp.tests.people import BOB, MALLORY, call

__all__ = ["rows"]
HOLDER = "AIDAHOLDER"
PAGE_SECONDS = 1.0


@pytest.fixture
def crowd(rows: None) -> Iterator[None]:
    """All but one of the grants that a key can have: each fifth is one and the same user's, the rest are others'."""
    key, now = KmsKey.objects.get(key_id=KEY), clock.now()
    Grant.objects.bulk_create(
        Grant(
            grant_id=f"{number:064x}",
            key=key,
            grantee_principal=f"arn:aws:iam::{demo.ACCOUNT}:user/u{number}",
            grantee_id=f"AIDA{number}" if number % 5 else HOLDER,
            retiring_principal=BOB.principal_arn,
            retiring_id=BOB.principal_id,
            issuing_account=demo.ACCOUNT,
            operations=["Decrypt"],
            constraints={"EncryptionContextEquals": {"volume": f"vol-{number}"}},
            properties_sha256="",
            created_at=now,
        )
        for number in range(GRANTS_PER_KEY - 1)
    )
    epochs.raise_epoch(demo.ACCOUNT)
    yield


def covered(caller: Caller, volume: str) -> str:
    key = key_facts.by_id(demo.ACCOUNT, demo.REGION, KEY)
    assert key is not None
    asked = Call(caller, "kms", "Decrypt", {"EncryptionContext": {"volume": volume}}, "", read_only=True)
    return grants.covering(asked, key, "kms:Decrypt")


def holder() -> Caller:
    return Caller(demo.ACCOUNT, demo.REGION, f"arn:aws:iam::{demo.ACCOUNT}:user/holder", HOLDER, "holder")


def test_the_fifty_thousandth_grant_is_the_last(crowd: None) -> None:
    made = create(Name="last")
    with pytest.raises(LimitExceededException, match="50000 grants"):
        create()
    assert create(Name="last")["GrantId"] == made["GrantId"], "a call that is repeated makes none"
    call("RevokeGrant", KeyId=KEY, GrantId=made["GrantId"])
    create()
    assert Grant.objects.count() == GRANTS_PER_KEY


def test_who_has_no_grant_is_told_by_one_indexed_query_and_then_by_none(crowd: None) -> None:
    with CaptureQueriesContext(connection) as first:
        assert covered(MALLORY, "vol-1") == ""
    (query,) = [entry["sql"] for entry in first.captured_queries if "kmsapp_grant" in entry["sql"]]
    if connection.vendor != "sqlite":
        pytest.skip("the plan is read as SQLite writes it")
    with connection.cursor() as cursor:
        cursor.execute(f"EXPLAIN QUERY PLAN {query}")
        plan = " ".join(str(row) for row in cursor.fetchall())
    assert "key_id=? AND grantee_id=?" in plan, plan
    with CaptureQueriesContext(connection) as second:
        assert covered(MALLORY, "vol-1") == ""
    assert second.captured_queries == []


def test_who_has_thousands_is_told_rightly_and_memory_stays_bounded(crowd: None) -> None:
    for number in (0, 5, 49_995):
        assert covered(holder(), f"vol-{number}") == f"{number:064x}"
    assert covered(holder(), "vol-1") == ""
    kept = [len(fact[1]) for fact in grants._held._facts.values() if fact[1] is not None]
    assert sum(kept) <= grants.GRANTS_KEPT


def test_pages_take_no_longer_for_all_the_others(crowd: None) -> None:
    took: dict[str, float] = {}
    asked: dict[str, dict[str, Any]] = {
        "ListGrants": {"KeyId": KEY, "Limit": 100},
        "ListRetirableGrants": {"RetiringPrincipal": BOB.principal_arn, "Limit": 100},
    }
    for operation, params in asked.items():
        marker = {"Marker": call(operation, **params)["NextMarker"]}
        with CaptureQueriesContext(connection) as queries:
            started = time.perf_counter()
            call(operation, **params, **marker)
            took[operation] = time.perf_counter() - started
        assert len(queries.captured_queries) <= 12
        assert took[operation] < PAGE_SECONDS
    print(", ".join(f"a page of {name} in {value * 1000:.0f} ms" for name, value in took.items()))
