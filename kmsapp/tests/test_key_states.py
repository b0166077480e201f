"""Calls in each key state: AWS's table by real calls (A11), and how keys come from state to state."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from hsmapp import epochs
from kmsapp import demo, dispatch, key_states
from kmsapp.errors import (
    AccessDeniedException,
    DisabledException,
    KmsError,
    KMSInvalidStateException,
    NotFoundException,
)
from kmsapp.models import AuditEvent
from kmsapp.tests import key_state_table
from kmsapp.tests.key_deletions import arn, state
from kmsapp.tests.key_state_table import Cell
from kmsapp.tests.people import MALLORY, call, create_key, decrypt, encrypt

STATES = (key_states.ENABLED, key_states.DISABLED, key_states.PENDING_DELETION, key_states.UNAVAILABLE)
BOB_ARN = f"arn:aws:iam::{demo.ACCOUNT}:user/bob"
# Refused of every key of a custom key store, whatever its state: its usage or its kind is none that these could be for.
NOT_FOR_SUCH_KEYS = {
    *("GenerateDataKeyPair", "GenerateDataKeyPairWithoutPlaintext", "GenerateMac", "VerifyMac", "Sign", "Verify"),
    *("GetPublicKey", "DeriveSharedSecret", "ReplicateKey", "UpdatePrimaryRegion"),
}


@contextmanager
def disconnected() -> Iterator[None]:
    """The demo's key store is not connected inside."""
    call("DisconnectCustomKeyStore", CustomKeyStoreId=demo.KEY_STORE_ID)
    yield
    call("ConnectCustomKeyStore", CustomKeyStoreId=demo.KEY_STORE_ID)


@dataclass(frozen=True)
class Subject:
    """A key with what the calls are about, made while it was enabled."""

    key_id: str
    blob: bytes
    policy: str
    grants: tuple[str, ...]

    @classmethod
    def new(cls, number: int) -> Subject:
        key_id = create_key(Tags=[{"TagKey": "kept", "TagValue": "yes"}])
        for alias in ("deleted", "there"):
            call("CreateAlias", AliasName=f"alias/{alias}-{number}", TargetKeyId=key_id)
        # What UpdateAlias moves here belongs to a key that is always enabled.
        call("CreateAlias", AliasName=f"alias/moved-{number}", TargetKeyId=demo.KEY_ID)
        grants = tuple(
            call("CreateGrant", KeyId=key_id, GranteePrincipal=BOB_ARN, Operations=["Decrypt"])["GrantId"]
            for _ in range(2)
        )
        return cls(key_id, encrypt(key_id, b"x"), call("GetKeyPolicy", KeyId=key_id)["Policy"], grants)

    def bring_to(self, wanted: str) -> None:
        """Whatever the call before has done to it."""
        if wanted == key_states.PENDING_DELETION:
            if state(self.key_id) != wanted:
                call("ScheduleKeyDeletion", KeyId=self.key_id)
            return
        if state(self.key_id) == key_states.PENDING_DELETION:
            call("CancelKeyDeletion", KeyId=self.key_id)
        call("DisableKey" if wanted == key_states.DISABLED else "EnableKey", KeyId=self.key_id)

    def requests(self, number: int) -> dict[str, dict[str, Any]]:
        """By operation, a request that nothing but the key's state refuses."""
        key = {"KeyId": self.key_id}
        return {
            "CancelKeyDeletion": key,
            "CreateAlias": {"AliasName": f"alias/new-{number}", "TargetKeyId": self.key_id},
            "CreateGrant": {**key, "GranteePrincipal": BOB_ARN, "Operations": ["Encrypt"]},
            "Decrypt": {"CiphertextBlob": self.blob},
            "DeleteAlias": {"AliasName": f"alias/deleted-{number}"},
            "DeleteImportedKeyMaterial": key,
            "DescribeKey": key,
            "DisableKey": key,
            "DisableKeyRotation": key,
            "EnableKey": key,
            "EnableKeyRotation": key,
            "Encrypt": {**key, "Plaintext": b"x"},
            "GenerateDataKey": {**key, "KeySpec": "AES_256"},
            "GenerateDataKeyWithoutPlaintext": {**key, "KeySpec": "AES_256"},
            "GetKeyPolicy": key,
            "GetKeyRotationStatus": key,
            "GetParametersForImport": {
                **key,
                "WrappingAlgorithm": "RSAES_OAEP_SHA_256",
                "WrappingKeySpec": "RSA_2048",
            },
            "ImportKeyMaterial": {**key, "ImportToken": b"x", "EncryptedKeyMaterial": b"x"},
            "ListAliases": key,
            "ListGrants": key,
            "ListKeyPolicies": key,
            "ListKeyRotations": key,
            "ListResourceTags": key,
            "PutKeyPolicy": {**key, "Policy": self.policy},
            "ReEncrypt": {"CiphertextBlob": self.blob, "DestinationKeyId": self.key_id},
            "RetireGrant": {"KeyId": arn(self.key_id), "GrantId": self.grants[0]},
            "RevokeGrant": {**key, "GrantId": self.grants[1]},
            "RotateKeyOnDemand": key,
            "ScheduleKeyDeletion": key,
            "TagResource": {**key, "Tags": [{"TagKey": "new", "TagValue": "yes"}]},
            "UntagResource": {**key, "TagKeys": ["kept"]},
            "UpdateAlias": {"AliasName": f"alias/moved-{number}", "TargetKeyId": self.key_id},
            "UpdateKeyDescription": {**key, "Description": "new"},
        }


def answer_of(operation: str, params: dict[str, Any]) -> tuple[str, str] | None:
    """Name and sentence of a refusal; None for an answer."""
    try:
        call(operation, **params)
    except KmsError as error:
        return error.code, error.message
    return None


def differences(wanted: str, subject: Subject, cells: list[Cell]) -> dict[str, Any]:
    """What calls with a key in this state answer, where that is not what AWS's table says."""
    requests = subject.requests(STATES.index(wanted))
    found: dict[str, Any] = {}
    for cell in cells:
        subject.bring_to(wanted)
        assert state(subject.key_id) == wanted
        expected = cell.refusal and (cell.refusal.exception, cell.refusal.message.format(arn=arn(subject.key_id)))
        if (answer := answer_of(cell.operation, requests[cell.operation])) != expected:
            found[f"{cell.operation} in {wanted}"] = answer
    return found


def test_each_operation_in_each_state_answers_as_in_awss_table(installation: Path) -> None:
    built = {name for name in key_state_table.OPERATIONS if dispatch.is_built(f"kms:{name}")} - NOT_FOR_SUCH_KEYS
    cells = [cell for cell in key_state_table.cells("AWS_CLOUDHSM") if cell.operation in built and cell.state in STATES]
    subjects = {wanted: Subject.new(number) for number, wanted in enumerate(STATES)}
    by_state = {wanted: [cell for cell in cells if cell.state == wanted] for wanted in STATES}
    wrong: dict[str, Any] = {}
    for wanted in STATES:
        with disconnected() if wanted == key_states.UNAVAILABLE else nullcontext():
            wrong |= differences(wanted, subjects[wanted], by_state[wanted])
    assert not wrong
    refused = sum(cell.refusal is not None for cell in cells)
    print(f"A11: {len(cells)} calls of {len(built)} operations in {len(STATES)} states, {refused} refused")
    # AWS's table has DeleteImportedKeyMaterial of an Unavailable key as what does not apply.
    assert len(cells) == len(built) * len(STATES) - 1 and len(built) >= 33


def test_a_key_is_switched_off_and_on_again_as_often_as_one_likes(installation: Path) -> None:
    key = create_key()
    blob = encrypt(key, b"kept")
    for operation, wanted in (("DisableKey", "Disabled"), ("EnableKey", "Enabled")):
        for name in (key, arn(key)):
            before = epochs.current(demo.ACCOUNT)
            assert call(operation, KeyId=name) == {}
            assert epochs.current(demo.ACCOUNT) > before, "every worker forgets what it knew of the key"
            metadata = call("DescribeKey", KeyId=key)["KeyMetadata"]
            assert (metadata["KeyState"], metadata["Enabled"]) == (wanted, wanted == "Enabled")
            record = AuditEvent.objects.latest("pk").event
            assert (record["eventName"], record["requestParameters"]) == (operation, {"keyId": name})
            assert (record["responseElements"], record["readOnly"]) == ({"keyId": arn(key)}, False)
        if wanted == "Disabled":
            with pytest.raises(DisabledException, match=f"^{arn(key)} is disabled.$"):
                decrypt(blob)
    assert decrypt(blob) == b"kept"
    for operation in ("EnableKey", "DisableKey"):
        with pytest.raises(NotFoundException):
            call(operation, KeyId="alias/ExampleKey")
        with pytest.raises(AccessDeniedException):
            call(operation, MALLORY, KeyId=key)


def test_what_is_changed_while_a_store_is_disconnected_shows_when_it_is_connected(installation: Path) -> None:
    enabled, disabled, scheduled, cancelled = (create_key() for _ in range(4))
    call("DisableKey", KeyId=enabled)
    call("ScheduleKeyDeletion", KeyId=cancelled)
    with disconnected():
        call("EnableKey", KeyId=enabled)
        call("DisableKey", KeyId=disabled)
        assert state(enabled) == state(disabled) == "Unavailable"
        call("ScheduleKeyDeletion", KeyId=scheduled)
        assert state(scheduled) == "PendingDeletion", "which hides that it is unavailable"
        assert call("CancelKeyDeletion", KeyId=cancelled) == {"KeyId": arn(cancelled)}
        assert state(cancelled) == "Unavailable"
        for key in (enabled, disabled, cancelled):
            with pytest.raises(KMSInvalidStateException, match=f"^{arn(key)} is unavailable.$"):
                encrypt(key, b"x")
    found = {key: state(key) for key in (enabled, disabled, scheduled, cancelled)}
    assert list(found.values()) == ["Enabled", "Disabled", "PendingDeletion", "Disabled"]
