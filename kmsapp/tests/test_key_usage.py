"""When a key was last used, by the audit record: which calls count, in what order, and that it costs them nothing."""

from __future__ import annotations

import datetime
import importlib
import json
from pathlib import Path
from typing import Any

import pytest
from django.apps import apps
from django.db import connection
from django.test.utils import CaptureQueriesContext

from hsmapp import clock, epochs
from kmsapp import audit, audit_reading, demo, ids, key_usage, service_models
from kmsapp.errors import AccessDeniedException, KmsError, NotFoundException
from kmsapp.models import AuditEvent, KeyLastUsage, KmsKey
from kmsapp.tests.people import ALICE, BOB, MALLORY, call, decrypt, encrypt

KEY = demo.KEY_ID
ARN = f"arn:aws:kms:{demo.REGION}:{demo.ACCOUNT}:key/{KEY}"
OTHER_ARN = ARN.replace("1234abcd", "99999999")
NOON = datetime.datetime(2026, 11, 29, 12, tzinfo=datetime.UTC)
DAY = datetime.timedelta(days=1)


def usage(key_id: str = KEY) -> dict[str, Any]:
    return dict(call("GetKeyLastUsage", KeyId=key_id)["KeyLastUsage"])


def used_by(operation: str) -> dict[str, Any]:
    """The usage once the audit files are read in, which must be by this operation and as its record says."""
    audit_reading.read_in(clock.now())
    found, event = usage(), AuditEvent.objects.filter(event_name=operation, error_code="").latest("id")
    assert found == {
        "Operation": operation,
        "Timestamp": event.event_time,
        "CloudTrailEventId": str(event.event_id),
        "KmsRequestId": event.request_id,
    }
    return found


def test_every_cryptographic_operation_that_succeeds_counts_and_nothing_else(installation: Path) -> None:
    KeyLastUsage.objects.all().delete()
    made = KmsKey.objects.get(key_id=KEY).created_at
    for _ in range(2):
        call("DescribeKey", KeyId=KEY)
        call("ListResourceTags", KeyId=KEY)
        call("CreateAlias", AliasName=f"alias/{ids.new_uuid()}", TargetKeyId=KEY)
    audit_reading.read_in(clock.now())
    assert call("GetKeyLastUsage", KeyId=ARN) == {
        "KeyId": KEY,
        "KeyCreationDate": made,
        "TrackingStartDate": made,
        "KeyLastUsage": {},
    }
    blob = encrypt(KEY, b"x")
    used_by("Encrypt")
    decrypt(blob)
    last = used_by("Decrypt")
    refused: tuple[tuple[Any, dict[str, Any]], ...] = (
        (ALICE, {"CiphertextBlob": blob, "EncryptionContext": {"a": "b"}}),
        (ALICE, {"CiphertextBlob": blob, "DryRun": True}),
        (MALLORY, {"CiphertextBlob": blob, "KeyId": KEY}),
    )
    for caller, params in refused:
        with pytest.raises(KmsError):
            call("Decrypt", caller, **params)
    assert used_by("Decrypt") == last, "what was refused is no use"
    for operation in ("GenerateDataKey", "GenerateDataKeyWithoutPlaintext"):
        call(operation, KeyId="alias/ExampleKey", KeySpec="AES_256")
        used_by(operation)
    call("ReEncrypt", CiphertextBlob=blob, DestinationKeyId=KEY)
    used_by("ReEncrypt")
    call("GenerateRandom", NumberOfBytes=8, CustomKeyStoreId=demo.KEY_STORE_ID)
    used_by("ReEncrypt")


def test_a_use_of_a_key_writes_nothing_to_the_database(installation: Path) -> None:
    blob = encrypt(KEY, b"x")
    decrypt(blob)
    with CaptureQueriesContext(connection) as queries:
        decrypt(encrypt(KEY, b"x"))
    assert not [query["sql"] for query in queries if not query["sql"].startswith("SELECT")]


def event(arn: str = ARN, *, seconds: int = 0, name: str = "Encrypt", **more: Any) -> dict[str, Any]:
    return {
        "eventName": name,
        "eventTime": (NOON + datetime.timedelta(seconds=seconds)).isoformat(),
        "eventID": f"event {seconds}",
        "requestID": f"request {seconds}",
        "resources": [{"ARN": arn}],
        **more,
    }


def test_of_several_workers_records_the_latest_counts_whichever_is_read_first(rows: Path) -> None:
    further = KmsKey.objects.get(key_id=KEY)
    further.pk, further.material, further.key_id = None, None, OTHER_ARN.rpartition("/")[2]
    further.save(force_insert=True)
    for events, at in (
        ([event(seconds=5), event(seconds=9)], 9),
        ([event(seconds=3), event(seconds=7)], 9),
        ([event(seconds=9, name="Decrypt")], 9),
        ([event(OTHER_ARN, seconds=20)], 9),
        ([event(seconds=30, errorCode="InvalidCiphertextException")], 9),
        ([event(seconds=40, name="DescribeKey")], 9),
        ([event(ARN.replace(KEY, ids.new_key_id()), seconds=50)], 9),
        ([event("arn:aws:iam::111122223333:role/x", seconds=60), event("no ARN", seconds=60)], 9),
        ([event(seconds=70, resources=None), event(seconds=70, resources=[])], 9),
        ([event(seconds=11, resources=[{"ARN": OTHER_ARN}, {"ARN": ARN}], name="ReEncrypt")], 11),
    ):
        key_usage.note(events)
        found = usage()
        assert found["Timestamp"] == NOON + datetime.timedelta(seconds=at), events
        assert (found["CloudTrailEventId"], found["KmsRequestId"]) == (f"event {at}", f"request {at}")
    assert usage(OTHER_ARN)["Timestamp"] == NOON + datetime.timedelta(seconds=20)
    assert KeyLastUsage.objects.count() == 2
    further.delete()
    assert KeyLastUsage.objects.count() == 1
    with pytest.raises(NotFoundException):
        usage(OTHER_ARN)


def test_noting_uses_costs_the_same_however_many_there_are_of_one_key(rows: Path) -> None:
    counts = []
    for number in (1, 500):
        with CaptureQueriesContext(connection) as queries:
            key_usage.note([event(seconds=second) for second in range(number)])
        counts.append(len(queries))
    assert counts == [1, 1]


def test_what_is_tracked_is_what_aws_tracks() -> None:
    assert set(service_models.service("kms").shape("KeyLastUsageTrackingOperation").enum) == key_usage.OPERATIONS


def test_only_the_own_accounts_key_is_told_of_and_by_no_alias(rows: Path) -> None:
    with pytest.raises(AccessDeniedException, match="kms:GetKeyLastUsage on resource"):
        call("GetKeyLastUsage", MALLORY, KeyId=KEY)
    with pytest.raises(NotFoundException, match="Invalid keyId 'alias/ExampleKey'"):
        call("GetKeyLastUsage", KeyId="alias/ExampleKey")


def test_a_policy_may_ask_for_how_many_days_a_key_was_not_used(rows: Path) -> None:
    """kms:TrailingDaysWithoutKeyUsage, of DisableKey and ScheduleKeyDeletion."""
    root = f"arn:aws:iam::{demo.ACCOUNT}:root"
    own = {"Effect": "Allow", "Principal": {"AWS": root}, "Action": "kms:*", "Resource": "*"}
    unused = {"NumericGreaterThanEquals": {"kms:TrailingDaysWithoutKeyUsage": "30"}}
    his = {**own, "Principal": {"AWS": BOB.principal_arn}, "Action": "kms:DisableKey", "Condition": unused}
    call("PutKeyPolicy", KeyId=KEY, Policy=json.dumps({"Version": "2012-10-17", "Statement": [own, his]}))

    def is_allowed(*, made: float, used: float | None) -> bool:
        """made, used: days ago."""
        KmsKey.objects.filter(key_id=KEY).update(created_at=clock.now() - made * DAY)
        KeyLastUsage.objects.all().delete()
        if used is not None:
            when = clock.now() - used * DAY
            key_usage.note([event() | {"eventTime": when.isoformat()}])
        epochs.raise_epoch(demo.ACCOUNT)
        try:
            call("DisableKey", BOB, KeyId=KEY)
        except AccessDeniedException:
            return False
        return True

    assert is_allowed(made=31, used=None) and is_allowed(made=100, used=30.01)
    assert not is_allowed(made=29.99, used=None) and not is_allowed(made=100, used=29.99)
    clock.move(demo.ACCOUNT, 20 * DAY)
    assert is_allowed(made=100, used=10.01), "by the account's clock, as its deletion"
    assert not is_allowed(made=100, used=-1)


def test_an_older_installation_learns_the_last_uses_from_its_audit_record(rows: Path) -> None:
    KeyLastUsage.objects.all().delete()
    record = {
        "awsRegion": demo.REGION,
        "eventSource": "kms.amazonaws.com",
        "recipientAccountId": demo.ACCOUNT,
        "userIdentity": {},
    }
    for seconds, more in ((1, {}), (5, {}), (3, {}), (8, {"errorCode": "DisabledException"}), (9, {"eventName": "x"})):
        audit.record_change({**record, **event(seconds=seconds), "eventID": ids.new_uuid(), **more})
    migration = importlib.import_module("kmsapp.migrations.0005_key_last_usage")
    for _ in range(2):  # one that was cut short runs again
        migration.look_back(apps, connection.schema_editor())
    assert KeyLastUsage.objects.count() == 1
    found = usage()
    assert (found["Operation"], found["Timestamp"]) == ("Encrypt", NOON + datetime.timedelta(seconds=5))
