"""Deleting keys: never early, cancelled or not, everywhere, and nothing of it left (R21)."""

from __future__ import annotations

import datetime
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hsmapp import clock, jobs, tombstones
from hsmapp.models import MaskedKey, ReservedIvs, Tombstone
from hsmapp.testing import wait_until
from kmsapp import demo
from kmsapp.models import Alias, Grant, KmsKey, Tag
from kmsapp.tests.one_hsm import FIRST, SECOND, labels
from kmsapp.tests.people import call, create_key, encrypt

DAY = datetime.timedelta(days=1)
ACCOUNT = f"arn:aws:iam::{demo.ACCOUNT}"


@pytest.fixture(autouse=True)
def soon_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody reads a masked key here while it is deleted, so what was deleted is soon confirmed."""
    monkeypatch.setattr(tombstones, "LET_GO_SECONDS", 0.5)


@pytest.fixture
def key(installation: Path) -> Iterator[str]:
    yield create_key()


def arn(key_id: str) -> str:
    return f"arn:aws:kms:{demo.REGION}:{demo.ACCOUNT}:key/{key_id}"


def state(key_id: str) -> str:
    return str(call("DescribeKey", KeyId=key_id)["KeyMetadata"]["KeyState"])


def schedule(key_id: str, days: int = 7) -> dict[str, Any]:
    return call("ScheduleKeyDeletion", KeyId=key_id, PendingWindowInDays=days)


def let_pass(days: float) -> None:
    """Set the account's clock ahead, and have the jobs look."""
    clock.move(demo.ACCOUNT, clock.offset_of(demo.ACCOUNT) + days * DAY)
    jobs.run_due()


def is_gone(key_id: str) -> bool:
    return not any(arn(key_id) in labels(hsm_id) for hsm_id in (FIRST, SECOND))


def test_a_key_that_is_deleted_leaves_nothing(key: str) -> None:
    blob = encrypt(key, b"lost for good")
    call("CreateAlias", AliasName="alias/doomed", TargetKeyId=key)
    call("TagResource", KeyId=key, Tags=[{"TagKey": "team", "TagValue": "ledger"}])
    call("CreateGrant", KeyId=key, GranteePrincipal=f"{ACCOUNT}:user/bob", Operations=["Decrypt"])
    masked = MaskedKey.objects.get(label=arn(key))
    ReservedIvs.objects.create(cluster=masked.cluster, label=masked.label, reserved=1)
    schedule(key)
    let_pass(7.01)
    for rows in (
        KmsKey.objects.filter(key_id=key),
        MaskedKey.objects.filter(label=arn(key)),
        Alias.objects.filter(name="alias/doomed"),
        Tag.objects.filter(tag_value="ledger"),
        Grant.objects.all(),
        ReservedIvs.objects.all(),
    ):
        assert not rows.exists(), rows
    wait_until(lambda: is_gone(key), "the objects to be destroyed")
    wait_until(lambda: not Tombstone.objects.exists(), "the HSMs to have confirmed")
