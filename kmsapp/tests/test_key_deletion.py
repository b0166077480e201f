"""Deleted keys are gone: from every row and every HSM, whatever was away, under way or cut short meanwhile (R21)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from hsmapp import clock, database_files, hsms, tombstones
from hsmapp.device import protocol
from hsmapp.device.protocol import HsmAnswerError
from hsmapp.models import Finding, Hsm, MaskedKey, ReservedIvs, Tombstone
from hsmapp.replication import Device
from hsmapp.testing import state_of, wait_until
from kmsapp import demo
from kmsapp.access import CIPHERTEXT_DENIED
from kmsapp.errors import (
    AccessDeniedException,
    CustomKeyStoreHasCMKsException,
    NotFoundException,
)
from kmsapp.models import Alias, AuditEvent, CustomKeyStore, Grant, KmsKey, Tag
from kmsapp.models.key_stores import ConnectionState
from kmsapp.tests.key_deletions import DAY, arn, let_pass, schedule
from kmsapp.tests.one_hsm import FIRST, SECOND, labels, logged_in, runs
from kmsapp.tests.people import call, create_key, decrypt, encrypt
from kmsapp.tests.test_reconcile import changes, compare

BOTH = (FIRST, SECOND)


@pytest.fixture(autouse=True)
def soon_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody reads a masked key here unless a test says so; what was deleted is soon confirmed."""
    monkeypatch.setattr(tombstones, "LET_GO_SECONDS", 0.5)


def holders(key_id: str, *hsm_ids: str) -> list[str]:
    """The HSMs whose tokens hold the key."""
    return [hsm_id for hsm_id in hsm_ids or BOTH if arn(key_id) in labels(hsm_id)]


def wait_until_buried(key_id: str) -> None:
    wait_until(lambda: not Tombstone.objects.filter(label=arn(key_id)).exists(), "every HSM to have confirmed")
    assert holders(key_id) == []


def test_a_deleted_key_leaves_nothing(installation: Path) -> None:
    doomed, other = create_key(), create_key()
    blob = encrypt(doomed, b"lost for good")
    call("CreateAlias", AliasName="alias/doomed", TargetKeyId=doomed)
    call("TagResource", KeyId=doomed, Tags=[{"TagKey": "team", "TagValue": "ledger"}])
    bob = f"arn:aws:iam::{demo.ACCOUNT}:user/bob"
    call("CreateGrant", KeyId=doomed, GranteePrincipal=bob, Operations=["Decrypt"])
    masked = MaskedKey.objects.get(label=arn(doomed))
    material, backing_key_id = bytes(masked.masked), masked.backing_key_id
    ReservedIvs.objects.create(cluster=masked.cluster, label=masked.label, reserved=1)
    (keys,) = [row["KeyCount"] for row in call("console:ListClusters")["Clusters"]]
    files = [database_files.path(), *database_files.side_files(database_files.path())]
    assert any(material in file.read_bytes() for file in files), "it can be seen"

    schedule(doomed)
    let_pass(7)

    for rows in (
        *(KmsKey.objects.filter(key_id=doomed), MaskedKey.objects.filter(label=arn(doomed)), ReservedIvs.objects.all()),
        *(Alias.objects.filter(name="alias/doomed"), Tag.objects.filter(tag_value="ledger"), Grant.objects.all()),
    ):
        assert not rows.exists(), rows.query
    assert not any(material in file.read_bytes() for file in files if file.exists()), "erased, not only deleted"
    for operation in ("DescribeKey", "EnableKey", "ScheduleKeyDeletion", "CancelKeyDeletion", "ListGrants"):
        with pytest.raises(NotFoundException, match=f"^Key '{arn(doomed)}' does not exist$"):
            call(operation, KeyId=doomed)
    with pytest.raises(NotFoundException, match="alias/doomed is not found"):
        call("DescribeKey", KeyId="alias/doomed")
    with pytest.raises(AccessDeniedException) as refused:
        decrypt(blob)
    assert refused.value.message == CIPHERTEXT_DENIED, "as for a key that never was"
    assert doomed not in {row["KeyId"] for row in call("ListKeys")["Keys"]}
    assert [row["KeyCount"] for row in call("console:ListClusters")["Clusters"]] == [keys - 1]
    wait_until_buried(doomed)
    assert_event(doomed, backing_key_id, "SUCCESS")
    assert [changes(row) for row in compare()] == [0, 0] and not Finding.objects.exists()
    assert decrypt(encrypt(other, b"kept")) == b"kept"


def assert_event(key_id: str, backing_key_id: str, status: str) -> None:
    """https://docs.aws.amazon.com/kms/latest/developerguide/ct-delete-key.html"""
    event = AuditEvent.objects.get(event_name="DeleteKey", resource=arn(key_id)).event
    more = event["additionalEventData"]
    assert event["userIdentity"] == {"accountId": demo.ACCOUNT, "invokedBy": "AWS Internal"}
    assert (event["eventType"], event["readOnly"], event["requestParameters"]) == ("AwsServiceEvent", False, None)
    assert event["responseElements"] == {"keyId": arn(key_id)} and "requestID" not in event
    assert (more["customKeyStoreId"], more["clusterId"]) == (demo.KEY_STORE_ID, demo.CLUSTER_ID)
    assert json.loads(more["backingKeys"]) == [{"backingKeyId": backing_key_id}]
    (deletion,) = json.loads(more["backingKeysDeletionStatus"])
    assert deletion == {"backingKeyId": backing_key_id, "deletionStatus": status}


def test_a_store_can_be_deleted_when_its_keys_are(installation: Path) -> None:
    for key in KmsKey.objects.values_list("key_id", flat=True):
        schedule(key)
    call("DisconnectCustomKeyStore", CustomKeyStoreId=demo.KEY_STORE_ID)
    with pytest.raises(CustomKeyStoreHasCMKsException, match="those that are pending deletion included"):
        call("DeleteCustomKeyStore", CustomKeyStoreId=demo.KEY_STORE_ID)
    call("ConnectCustomKeyStore", CustomKeyStoreId=demo.KEY_STORE_ID)
    let_pass(7)
    call("DisconnectCustomKeyStore", CustomKeyStoreId=demo.KEY_STORE_ID)
    assert call("DeleteCustomKeyStore", CustomKeyStoreId=demo.KEY_STORE_ID) == {}
    wait_until(lambda: not Tombstone.objects.exists(), "every HSM to have confirmed, without the store")


def test_an_hsm_that_was_away_has_nothing_of_it_when_it_serves_again(installation: Path) -> None:
    key = create_key()
    schedule(key)
    hsms.stop(Hsm.objects.select_related("cluster").get(hsm_id=SECOND))
    wait_until(lambda: not runs(SECOND, installation), "the process to end")
    let_pass(7)
    wait_until(lambda: Tombstone.objects.get().hsms == [SECOND], "the HSM that serves to have confirmed")
    assert holders(key, FIRST) == []
    hsms.start(Hsm.objects.select_related("cluster").get(hsm_id=SECOND))
    wait_until(lambda: state_of(SECOND) == "ACTIVE", "it to serve again")
    assert holders(key) == [], "before it serves, not after"
    wait_until_buried(key)


def test_without_its_store_a_key_is_deleted_and_its_material_stays_in_the_cluster(installation: Path) -> None:
    key, other = create_key(), create_key()
    backing_key_id = MaskedKey.objects.get(label=arn(key)).backing_key_id
    schedule(key)
    call("DisconnectCustomKeyStore", CustomKeyStoreId=demo.KEY_STORE_ID)
    CustomKeyStore.objects.update(connection_state=ConnectionState.CONNECTING, transition_due_at=clock.now() + DAY)
    let_pass(7)
    assert KmsKey.objects.filter(key_id=key).exists(), "in a moment it is known whether the store is connected"
    CustomKeyStore.objects.update(connection_state=ConnectionState.DISCONNECTED, transition_due_at=None)
    let_pass(0)
    with pytest.raises(NotFoundException):
        call("DescribeKey", KeyId=key)
    assert not MaskedKey.objects.filter(label=arn(key)).exists()
    assert_event(key, backing_key_id, "FAILURE")
    wait_until(lambda: Finding.objects.filter(resolved_at=None).count() == 2, "the orphans to be listed")
    listed = call("console:ListFindings", ClusterId=demo.CLUSTER_ID)["Findings"]
    assert {(row["Title"], row["HsmId"], row["Label"]) for row in listed} == {
        ("Orphaned key material", hsm_id, arn(key)) for hsm_id in BOTH
    }
    objects = [len(list((installation / "hsm" / hsm_id / "tokens").rglob("*.object"))) for hsm_id in BOTH]
    call("ConnectCustomKeyStore", CustomKeyStoreId=demo.KEY_STORE_ID)
    for _ in range(2):
        assert [changes(row) for row in compare()] == [0, 0]
    assert [len(list((installation / "hsm" / hsm_id / "tokens").rglob("*.object"))) for hsm_id in BOTH] == objects
    assert Finding.objects.filter(resolved_at=None, kind="orphaned").count() == 2
    assert holders(key) == [], "it is there, and used by nobody"
    assert decrypt(encrypt(other, b"kept")) == b"kept"


def test_what_was_made_again_by_somebody_who_had_read_the_masked_key_goes_too(installation: Path) -> None:
    key = create_key()
    row = MaskedKey.objects.get(label=arn(key))
    read = {
        "label": row.label,
        "id": row.backing_key_id,
        "masked": bytes(row.masked),
        "check": bytes(row.check_ciphertext),
    }
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tombstones, "LET_GO_SECONDS", 3)
        schedule(key)
        let_pass(7)
        wait_until(lambda: holders(key) == [], "the objects to be destroyed")
        with logged_in(SECOND) as hsm:
            assert hsm.call("restore_key", read, deadline_seconds=5)["made"]
        assert holders(key) == [SECOND] and Tombstone.objects.get().hsms == [FIRST, SECOND]
        wait_until_buried(key)


def test_an_hsm_that_refuses_is_asked_again(installation: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    key = create_key()
    ask_within, refused = Device.ask_within, list[str]()

    def refuses_once(device: Device, seconds: float, op: str, **args: Any) -> dict[str, Any]:
        if op == "destroy_key" and device.hsm.hsm_id == FIRST and not refused:
            refused.append(op)
            raise HsmAnswerError(protocol.TOKEN_FAILED, "the token cannot destroy a key")
        return ask_within(device, seconds, op, **args)

    monkeypatch.setattr(tombstones, "AGAIN_SECONDS", 0.1)
    monkeypatch.setattr(Device, "ask_within", refuses_once)
    schedule(key)
    let_pass(7)
    wait_until_buried(key)
    assert refused
