"""Data keys: how long they are, that they decrypt to the same bytes, and that they are shown only when asked for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from hsmapp import clock
from kmsapp import audit_reading, demo
from kmsapp.caller import Caller
from kmsapp.errors import (
    DryRunOperationException,
    InvalidCiphertextException,
    InvalidGrantTokenException,
    NotFoundException,
    ValidationException,
)
from kmsapp.models import AuditEvent
from kmsapp.testing import Casemate
from kmsapp.tests.people import ALICE, call, decrypt

KEY = demo.KEY_ID
WITH, WITHOUT = "GenerateDataKey", "GenerateDataKeyWithoutPlaintext"
BOTH = pytest.mark.parametrize("operation", [WITH, WITHOUT])
TAG_AND_HEADER_BYTES = 57 + 12 + 16

LENGTHS: dict[str, tuple[dict[str, Any], int]] = {
    "AES_256": ({"KeySpec": "AES_256"}, 32),
    "AES_128": ({"KeySpec": "AES_128"}, 16),
    "one byte": ({"NumberOfBytes": 1}, 1),
    "64 bytes": ({"NumberOfBytes": 64}, 64),
    "1,023 bytes": ({"NumberOfBytes": 1023}, 1023),
    "1,024 bytes": ({"NumberOfBytes": 1024}, 1024),
}


def test_a_data_key_has_the_length_asked_for_and_decrypts_to_the_same_bytes(installation: Path) -> None:
    for asked, length in LENGTHS.values():
        made = call(WITH, KeyId=KEY, **asked)
        assert len(made["Plaintext"]) == length
        assert len(made["CiphertextBlob"]) == length + TAG_AND_HEADER_BYTES
        assert decrypt(made["CiphertextBlob"]) == made["Plaintext"]
        hidden = call(WITHOUT, KeyId=KEY, **asked)
        assert hidden.keys() == {"CiphertextBlob", "KeyId"}
        assert hidden["KeyId"] == made["KeyId"] == f"arn:aws:kms:{demo.REGION}:{demo.ACCOUNT}:key/{KEY}"
        assert len(decrypt(hidden["CiphertextBlob"])) == length


def test_a_thousand_data_keys_are_all_different(installation: Path) -> None:
    keys = {call(WITH, KeyId=KEY, KeySpec="AES_128")["Plaintext"] for _ in range(1000)}
    print(f"{len(keys)} different data keys of 1,000")
    assert len(keys) == 1000


def test_a_data_key_is_bound_to_its_encryption_context(installation: Path) -> None:
    context = {"table": "invoices", "row": "17"}
    made = call(WITH, KeyId="alias/ExampleKey", KeySpec="AES_256", EncryptionContext=context)
    blob = made["CiphertextBlob"]
    assert decrypt(blob, EncryptionContext=dict(reversed(context.items()))) == made["Plaintext"]
    for wrong in ({}, {"table": "invoices"}, {**context, "row": "18"}, {**context, "more": ""}):
        with pytest.raises(InvalidCiphertextException):
            decrypt(blob, EncryptionContext=wrong)


REFUSED: dict[str, tuple[dict[str, Any], type[Exception]]] = {
    "neither spec nor length": ({}, ValidationException),
    "both spec and length": ({"KeySpec": "AES_256", "NumberOfBytes": 32}, ValidationException),
    "an unknown spec": ({"KeySpec": "AES_192"}, ValidationException),
    "no bytes": ({"NumberOfBytes": 0}, ValidationException),
    "fewer than none": ({"NumberOfBytes": -1}, ValidationException),
    "1,025 bytes": ({"NumberOfBytes": 1025}, ValidationException),
    "an unknown grant token": ({"KeySpec": "AES_256", "GrantTokens": ["token"]}, InvalidGrantTokenException),
    "a dry run": ({"KeySpec": "AES_256", "DryRun": True}, DryRunOperationException),
    "a dry run of what would be refused": ({"DryRun": True}, ValidationException),
    "no such key": ({"KeySpec": "AES_256", "KeyId": "alias/none"}, NotFoundException),
}


@BOTH
def test_what_can_not_be_done_is_refused_by_name(installation: Path, operation: str) -> None:
    assert "CiphertextBlob" in call(operation, KeyId=KEY, KeySpec="AES_256", DryRun=False)
    for sentence, (asked, error) in REFUSED.items():
        with pytest.raises(error):
            call(operation, **{"KeyId": KEY, **asked})
            pytest.fail(sentence)
    print(f"{len(REFUSED)} refusals of {operation}")


def test_no_record_shows_a_data_key(installation: Path) -> None:
    made = call(WITH, KeyId=KEY, KeySpec="AES_256", EncryptionContext={"a": "b"})
    call(WITHOUT, KeyId=KEY, NumberOfBytes=64)
    audit_reading.read_in(clock.now())
    rows = {row.event_name: row.event for row in AuditEvent.objects.filter(event_name__startswith=WITH)}
    assert rows[WITH]["requestParameters"] == {"keyId": KEY, "keySpec": "AES_256", "encryptionContext": {"a": "b"}}
    assert rows[WITHOUT]["requestParameters"] == {"keyId": KEY, "numberOfBytes": 64}
    assert {row["responseElements"] for row in rows.values()} == {None}
    assert made["Plaintext"].hex() not in str(rows)


def test_only_an_account_that_has_the_key_makes_data_keys_under_it(installation: Path) -> None:
    other = Caller(demo.OTHER_ACCOUNT, demo.REGION, ALICE.principal_arn, "AIDAOTHER", "other")
    with pytest.raises(NotFoundException):
        call(WITH, other, KeyId=KEY, KeySpec="AES_256")


@BOTH
def test_a_data_key_over_the_wire(casemate: Casemate, operation: str) -> None:
    kms = casemate.boto3("kms")
    generate = getattr(kms, "generate_data_key" + ("_without_plaintext" if operation == WITHOUT else ""))
    made = generate(KeyId="alias/ExampleKey", KeySpec="AES_256", EncryptionContext={"a": "b"})
    opened = kms.decrypt(CiphertextBlob=made["CiphertextBlob"], EncryptionContext={"a": "b"})["Plaintext"]
    assert len(opened) == 32
    assert made.get("Plaintext", opened if operation == WITHOUT else None) == opened
    with pytest.raises(kms.exceptions.DryRunOperationException):
        generate(KeyId="alias/ExampleKey", KeySpec="AES_256", DryRun=True)
