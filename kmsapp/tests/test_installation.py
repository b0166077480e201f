"""The core end to end in one process: dispatch, cluster, real HSMs."""

from __future__ import annotations

from pathlib import Path

from hsmapp.models import KeyIntent, MaskedKey
from kmsapp import demo, dispatch
from kmsapp.caller import Caller

ALICE = Caller(demo.ACCOUNT, demo.REGION, f"arn:aws:iam::{demo.ACCOUNT}:user/alice", "AIDAALICE", "alice")


def test_a_key_made_in_the_key_store_encrypts_and_decrypts(installation: Path) -> None:
    made = dispatch.call(ALICE, "kms:CreateKey", {"Origin": "AWS_CLOUDHSM", "CustomKeyStoreId": demo.KEY_STORE_ID})[
        "KeyMetadata"
    ]
    blob = dispatch.call(
        ALICE, "kms:Encrypt", {"KeyId": made["KeyId"], "Plaintext": b"hello", "EncryptionContext": {"a": "b"}}
    )["CiphertextBlob"]
    opened = dispatch.call(ALICE, "kms:Decrypt", {"CiphertextBlob": blob, "EncryptionContext": {"a": "b"}})
    assert opened["Plaintext"] == b"hello"
    assert opened["KeyId"] == made["Arn"]
    assert MaskedKey.objects.filter(label=made["Arn"]).count() == 1
    assert set(KeyIntent.objects.values_list("state", flat=True)) == {"done"}
