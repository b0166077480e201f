"""Encrypt and Decrypt in one process, on real HSMs."""

from __future__ import annotations

from pathlib import Path

import pytest

from kmsapp import demo
from kmsapp.errors import ValidationException
from kmsapp.tests.people import call, decrypt, encrypt


def test_an_encryption_context_that_is_too_large_is_a_validation_error(installation: Path) -> None:
    largest = {"k": "v" * (8192 - len('{"k":""}'))}
    blob = encrypt(demo.KEY_ID, b"x", EncryptionContext=largest)
    assert decrypt(blob, EncryptionContext=largest) == b"x"
    many = {f"{number:x}": "" for number in range(850)}
    assert decrypt(encrypt(demo.KEY_ID, b"x", EncryptionContext=many), EncryptionContext=many) == b"x"
    for size in (8193, 17_000, 100_000):
        for use in (
            lambda context: encrypt(demo.KEY_ID, b"x", EncryptionContext=context),
            lambda context: decrypt(blob, EncryptionContext=context),
            lambda context: call("GenerateDataKey", KeyId=demo.KEY_ID, KeySpec="AES_256", EncryptionContext=context),
        ):
            with pytest.raises(ValidationException, match="8192 bytes at most"):
                use({"k": "v" * size})


def test_who_asks_for_the_plaintext_for_an_enclave_gets_none_in_clear(installation: Path) -> None:
    blob = encrypt(demo.KEY_ID, b"x")
    recipient = {"KeyEncryptionAlgorithm": "RSAES_OAEP_SHA_256", "AttestationDocument": b"x"}
    for use in (
        lambda: decrypt(blob, Recipient=recipient),
        lambda: call("GenerateDataKey", KeyId=demo.KEY_ID, KeySpec="AES_256", Recipient=recipient),
        lambda: call("GenerateRandom", NumberOfBytes=32, Recipient=recipient),
    ):
        with pytest.raises(ValidationException, match=r"The attestation document in Recipient can't be verified"):
            use()


def test_decrypt_without_a_ciphertext_says_what_is_missing(installation: Path) -> None:
    with pytest.raises(ValidationException, match=r"Value null at .ciphertextBlob. .* Member must not be null"):
        call("Decrypt", KeyId=demo.KEY_ID)
