"""What tests of grants share: the demo's database without its HSMs, which no grant asks, and grants to bob."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings

from hsmapp import clock, epochs, sealing
from hsmapp.testing import load_database
from kmsapp import audit, audit_reading, demo, grants, ids, key_facts
from kmsapp.call import Call
from kmsapp.caller import Caller
from kmsapp.models import AuditEvent, InlinePolicy, User
from kmsapp.tests.installations import DATABASE_COPY
from kmsapp.tests.people import ALICE, BOB, call

KEY = demo.KEY_ID
ARN = f"arn:aws:kms:{demo.REGION}:{demo.ACCOUNT}:key/{KEY}"
ACCOUNT = f"arn:aws:iam::{demo.ACCOUNT}"
ROLE = f"{ACCOUNT}:role/ExampleRole"
SESSION = f"arn:aws:sts::{demo.ACCOUNT}:assumed-role/ExampleRole/one"
TOPIC = f"arn:aws:sns:{demo.REGION}:{demo.ACCOUNT}:topic"
SERVICE: dict[str, Any] = {
    "GranteePrincipal": None,
    "GranteeServicePrincipal": "sns.amazonaws.com",
    "Constraints": {"SourceArn": TOPIC},
    "RetiringServicePrincipal": "sns.amazonaws.com",
}
CAROLS_ACCOUNT = f"arn:aws:iam::{demo.OTHER_ACCOUNT}:root"


@pytest.fixture
def rows(
    transactional_db: None, installation_template: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[None]:
    """The demo's database without its HSMs, which no grant asks."""
    load_database(installation_template / DATABASE_COPY)
    monkeypatch.setattr(settings, "DATA", tmp_path)
    monkeypatch.setattr(settings, "MASTER_KEY_FILE", tmp_path / "master.key")
    sealing.make_master_key(settings.MASTER_KEY_FILE)
    sealing.keyring.cache_clear()
    epochs.forget_all()
    audit.close_file()
    yield
    audit.close_file()
    sealing.keyring.cache_clear()


def create(caller: Caller = ALICE, **changed: Any) -> dict[str, Any]:
    """CreateGrant for bob; a parameter that is None is left out."""
    asked = {"KeyId": KEY, "GranteePrincipal": BOB.principal_arn, "Operations": ["Decrypt"], **changed}
    return call("CreateGrant", caller, **{name: value for name, value in asked.items() if value is not None})


def listed(**asked: Any) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = call("ListGrants", **{"KeyId": KEY, **asked})["Grants"]
    return found


def covered(caller: Caller, action: str, *, iam_allows: bool = False, **params: Any) -> str:
    """The grant that covers such a call."""
    key = key_facts.by_id(demo.ACCOUNT, demo.REGION, KEY)
    assert key is not None
    asked = Call(caller, "kms", action, params, "", read_only=True)
    return grants.covering(asked, key, f"kms:{action}", iam_allows=iam_allows)


def last_event(name: str) -> dict[str, Any]:
    audit_reading.read_in(clock.now())
    event: dict[str, Any] = AuditEvent.objects.filter(event_name=name).latest("pk").event
    return event


def recreate_bob() -> Caller:
    """Delete bob and make another user of his name."""
    bob = User.objects.get(user_name="bob")
    account = bob.account
    bob.delete()
    User.objects.create(account=account, user_name="bob", user_id=ids.new_user_id(), created_at=clock.now())
    new = User.objects.get(user_name="bob")
    return Caller(demo.ACCOUNT, demo.REGION, new.arn, new.user_id, "bob")


def give_policy(caller: Caller, effect: str, *actions: str) -> None:
    """Give a user an IAM policy of one statement on all keys."""
    document = {"Version": "2012-10-17", "Statement": [{"Effect": effect, "Action": actions, "Resource": "*"}]}
    user = User.objects.get(user_id=caller.principal_id)
    InlinePolicy.objects.create(user=user, name="given", document=json.dumps(document))


def take_policies(caller: Caller) -> None:
    """Leave a user without any policy."""
    user = User.objects.get(user_id=caller.principal_id)
    user.managed_policies.clear()
    user.inline_policies.all().delete()
    user.groups.clear()
    epochs.raise_epoch(caller.account)
