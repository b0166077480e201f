"""What a key in a custom key store refuses because it is for other keys: by real calls, from a table of answers."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hsmapp import clock, epochs
from kmsapp import audit_reading, demo, dispatch, service_models
from kmsapp.caller import Caller
from kmsapp.errors import AccessDeniedException, KmsError, NotFoundException, ValidationException
from kmsapp.models import AuditEvent, KmsKey
from kmsapp.operations.other_key_types import REFUSALS
from kmsapp.tests.people import ALICE, BOB, CAROL, MALLORY, call

TABLE: dict[str, Any] = json.loads((Path(__file__).parent / "data" / "key_store_refusals.json").read_text())
OPERATIONS: dict[str, dict[str, Any]] = TABLE["operations"]
KEY = demo.KEY_ID
ARN = f"arn:aws:kms:{demo.REGION}:{demo.ACCOUNT}:key/{KEY}"
ABSENT = ARN.replace("1234abcd", "00000000")
ALIAS = "alias/ExampleKey"


def params_of(name: str) -> dict[str, Any]:
    """The parameters of the table, blobs as the bytes that they stand for."""
    parts = service_models.service("kms").operation(name).input.parts
    given = OPERATIONS[name]["params"].items()
    return {member: base64.b64decode(value) if parts[member].kind == "blob" else value for member, value in given}


def refusal(name: str, caller: Caller = ALICE, key_id: str = KEY, **params: Any) -> KmsError:
    try:
        dispatch.call(caller, f"kms:{name}", {"KeyId": key_id, **params_of(name), **params})
    except KmsError as error:
        return error
    raise AssertionError(f"{name} was not refused")


def test_the_table_has_what_is_refused_and_what_is_refused_is_not_made_by_other_modules() -> None:
    assert OPERATIONS.keys() == REFUSALS.keys()
    model = service_models.service("kms")
    for name, row in OPERATIONS.items():
        declared = model.operation(name).errors
        assert row["exception"] in declared, f"{name} declares {declared}"
        assert params_of(name).keys() | {"KeyId"} >= set(model.operation(name).input.required), name


def test_a_key_of_a_key_store_refuses_in_awss_words_and_only_whoever_may_learns_it(rows: Path) -> None:
    """A stranger is denied, whatever the key is; another account can't tell the key from one that is not there."""
    calls = 0
    for name, row in OPERATIONS.items():
        identifiers = [KEY, ARN, *([ALIAS] if row.get("alias") else [])]
        for identifier in identifiers:
            answer = refusal(name, key_id=identifier)
            assert (answer.code, answer.message) == (row["exception"], row["message"].format(arn=ARN)), name
        assert isinstance(refusal(name, MALLORY), AccessDeniedException), name
        assert f"perform: kms:{name} on resource: {ARN} " in refusal(name, MALLORY).message
        assert isinstance(refusal(name, key_id=ABSENT), NotFoundException), name
        if not row.get("alias"):
            assert refusal(name, key_id=ALIAS).message == f"Invalid keyId '{ALIAS}'", name
        theirs, absent = (refusal(name, CAROL, key_id=arn) for arn in (ARN, ABSENT))
        assert isinstance(theirs, AccessDeniedException) and isinstance(absent, AccessDeniedException), name
        assert theirs.message == absent.message.replace(ABSENT, ARN), name
        calls += len(identifiers) + 6
    print(f"{calls} calls of {len(OPERATIONS)} operations that are for other keys")


def test_what_is_malformed_is_refused_before_anything_else(rows: Path) -> None:
    for name, row in OPERATIONS.items():
        for member in (member for member in ("KeyId", *row["params"]) if member in _required(name)):
            absent: dict[str, Any] = {member: None}
            error = refusal(name, MALLORY, **absent)
            assert isinstance(error, ValidationException), name
            assert "Member must not be null" in error.message


def _required(name: str) -> tuple[str, ...]:
    return service_models.service("kms").operation(name).input.required


def test_a_grant_lets_its_grantee_get_as_far_as_the_refusal_and_no_further(rows: Path) -> None:
    """Of the operations that a grant can name, a key store's key supports none of these."""
    grantable = set(service_models.service("kms").shape("GrantOperation").enum) & OPERATIONS.keys()
    for name in sorted(grantable):
        with pytest.raises(ValidationException):
            call("CreateGrant", KeyId=KEY, GranteePrincipal=BOB.principal_arn, Operations=[name])
    assert len(grantable) >= 8
    print(f"{len(grantable)} grants refused")


@pytest.fixture
def unusable_key(rows: Path) -> Iterator[str]:
    KmsKey.objects.filter(key_id=KEY).update(key_state="Disabled")
    epochs.raise_epoch(demo.ACCOUNT)
    yield KEY


def test_a_disabled_key_says_so_first_unless_it_can_not_be_meant_at_all(unusable_key: str) -> None:
    for name, row in OPERATIONS.items():
        answer = refusal(name)
        if row["message"].startswith("{arn} origin") and "DataKeyPair" not in name:
            assert answer.message == row["message"].format(arn=ARN), name
        else:
            assert (answer.code, answer.message) == ("DisabledException", f"{ARN} is disabled."), name


def test_the_record_of_a_refusal_says_what_was_asked_and_holds_no_blob(rows: Path) -> None:
    for name in OPERATIONS:
        secret: dict[str, Any] = {"Message": b"confidential"} if "Message" in OPERATIONS[name]["params"] else {}
        refusal(name, **secret)
    audit_reading.read_in(clock.now())
    events = {row.event_name: row.event for row in AuditEvent.objects.filter(event_name__in=OPERATIONS)}
    assert events.keys() == OPERATIONS.keys()
    for name, event in events.items():
        assert event["errorCode"] == OPERATIONS[name]["exception"]
        assert event["resources"][0]["ARN"] == ARN
        assert event["requestParameters"]["keyId"] == KEY
        assert "confidential" not in str(event) and b"confidential".hex() not in str(event)
    assert events["Sign"]["requestParameters"] == {"keyId": KEY, "signingAlgorithm": "ECDSA_SHA_256"}
    assert events["GetPublicKey"]["readOnly"] and not events["EnableKeyRotation"]["readOnly"]


def test_create_key_makes_no_other_key_in_a_key_store(rows: Path) -> None:
    before = KmsKey.objects.count()
    for name, row in TABLE["create_key"].items():
        params = {"Origin": "AWS_CLOUDHSM", "CustomKeyStoreId": demo.KEY_STORE_ID, **row["params"]}
        for caller in (ALICE, MALLORY):
            with pytest.raises(KmsError) as refused:
                dispatch.call(caller, "kms:CreateKey", params)
            assert refused.value.code == row["exception"], name
            assert row.get("message", refused.value.message) == refused.value.message, name
            assert refused.value.message, name
    assert KmsKey.objects.count() == before
    print(f"{len(TABLE['create_key'])} kinds of keys that CreateKey refuses for a key store")
