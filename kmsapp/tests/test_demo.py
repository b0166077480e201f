"""The demo is a seed file, and what it makes is what design and documentation print: ids, policies, people."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from hsmapp.models import Hsm
from hsmapp.testing import load_database
from kmsapp import demo
from kmsapp.models import AuditEvent, CustomKeyStore, KmsKey, User
from kmsapp.tests.installations import DATABASE_COPY
from kmsapp.tests.rows import rows

# The rows of the demo as they were when it was written row by row, before there were seed files.
BEFORE = Path(__file__).parent / "data" / "demo_rows.json"
ROOT, OTHER_ROOT = (f"arn:aws:iam::{account}:root" for account in (demo.ACCOUNT, demo.OTHER_ACCOUNT))
# CreateRole and CreateKey note every principal of a policy by its unique id. Written by hand, the rows lacked accounts.
NOTED_NOW = {
    "KMSAdminRole": {ROOT: demo.ACCOUNT},
    "ExampleRole": {ROOT: demo.ACCOUNT},
    "AuditorRole": {ROOT: demo.ACCOUNT, OTHER_ROOT: demo.OTHER_ACCOUNT},
}


@pytest.fixture
def demo_rows(transactional_db: None, installation_template: Path) -> None:
    """The database of the demo; no HSM runs."""
    load_database(installation_template / DATABASE_COPY)


def test_the_demo_is_what_it_was(demo_rows: None) -> None:
    expected: dict[str, Any] = json.loads(BEFORE.read_text())
    for role in expected["Role"]:
        role["trust_principals"].update(NOTED_NOW[role["arn"].rpartition("/")[2]])
    for key in expected["KmsKey"]:
        key["policy_principals"][ROOT] = demo.ACCOUNT
    found = json.loads(json.dumps(rows()))
    assert found.keys() == expected.keys()
    for kind in expected:
        assert found[kind] == expected[kind], kind
    print(f"{sum(map(len, found.values()))} rows of {len(found)} kinds as they were")


def test_the_names_in_the_code_are_those_of_the_file(demo_rows: None) -> None:
    assert set(Hsm.objects.values_list("hsm_id", flat=True)) == set(demo.HSM_IDS)
    store = CustomKeyStore.objects.select_related("cluster").get(custom_key_store_id=demo.KEY_STORE_ID)
    facts = (store.cluster.cluster_id, store.cluster.hsm_type, store.cluster.vpc_id, store.cluster.security_group)
    assert facts == (demo.CLUSTER_ID, demo.HSM_TYPE, demo.VPC_ID, demo.SECURITY_GROUP)
    assert (store.account, store.region) == (demo.ACCOUNT, demo.REGION)
    assert KmsKey.objects.get().key_id == demo.KEY_ID
    users = {user.user_name: user.user_id for user in User.objects.filter(is_root=False)}
    assert users == {name: demo.user_id(name) for name in ("alice", "bob", "mallory", "carol")}


def test_everything_in_it_was_made_by_calls_that_are_recorded(demo_rows: None) -> None:
    made = Counter(AuditEvent.objects.values_list("event_name", flat=True))
    assert made == {
        "CreateAccessKey": 6,
        "CreateGroup": 1,
        "PutGroupPolicy": 1,
        "CreateUser": 4,
        "AttachUserPolicy": 1,
        "AddUserToGroup": 1,
        "PutUserPolicy": 2,
        "CreateLoginProfile": 4,
        "CreateRole": 3,
        "PutRolePolicy": 3,
        "CreateCustomKeyStore": 1,
        "ConnectCustomKeyStore": 1,
        "CreateKey": 1,
        "CreateAlias": 1,
        "PutKeyPolicy": 1,
    }
    assert not AuditEvent.objects.exclude(error_code="").exists()
