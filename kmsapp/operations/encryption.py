"""Encrypt and Decrypt."""

from __future__ import annotations

from typing import Any

from kmsapp import access, ciphertext, shapes
from kmsapp.call import Call
from kmsapp.errors import IncorrectKeyException, InvalidCiphertextException
from kmsapp.operations import cryptography
from kmsapp.operations.cryptography import SYMMETRIC_DEFAULT
from kmsapp.registry import operation

_INCORRECT_KEY = "The key ID in the request does not identify a CMK that can perform this operation."


@operation("kms:Encrypt", read_only=True)
def encrypt(call: Call, params: dict[str, Any]) -> dict[str, Any]:
    """https://docs.aws.amazon.com/kms/latest/APIReference/API_Encrypt.html"""
    cryptography.audit_use(call, params, keyId=params["KeyId"], encryptionAlgorithm=SYMMETRIC_DEFAULT)
    context = cryptography.context_of(params)
    key = cryptography.usable_key(call, params["KeyId"], "Encrypt")
    cryptography.require_algorithm(params)
    cryptography.end_dry_run(params)
    blob = cryptography.seal(key, params["Plaintext"], context)
    return {"CiphertextBlob": blob, "KeyId": key.arn, "EncryptionAlgorithm": SYMMETRIC_DEFAULT}


@operation("kms:Decrypt", read_only=True)
def decrypt(call: Call, params: dict[str, Any]) -> dict[str, Any]:
    """https://docs.aws.amazon.com/kms/latest/APIReference/API_Decrypt.html"""
    cryptography.audit_use(call, params, encryptionAlgorithm=SYMMETRIC_DEFAULT)
    if params.get("KeyId"):
        call.audit_parameters["keyId"] = params["KeyId"]
    cryptography.refuse_unbuilt(params)
    # The model has it optional for a dry run that ignores the ciphertext (DryRunModifiers), which is not built.
    shapes.require(params, "CiphertextBlob")
    context = cryptography.context_of(params)
    parts = _split(params["CiphertextBlob"])
    header = parts.header
    if params.get("KeyId"):
        key = access.key(call, params["KeyId"], "kms:Decrypt", aliases=True)
        if (key.account, key.key_id) != (header.account, header.key_id):
            raise IncorrectKeyException(_INCORRECT_KEY)
    else:
        key = access.key_of_ciphertext(call, header.account, header.key_id, "kms:Decrypt")
    cryptography.require_usable(call, key, "Decrypt")
    cryptography.require_algorithm(params)
    plaintext = cryptography.open_sealed(key, parts, context)
    cryptography.end_dry_run(params)
    # (unconfirmed) That a key in a custom key store, which has no rotations, has no KeyMaterialId in any answer.
    return {"KeyId": key.arn, "Plaintext": plaintext, "EncryptionAlgorithm": SYMMETRIC_DEFAULT}


def _split(blob: bytes) -> ciphertext.Parts:
    try:
        return ciphertext.split(blob)
    except ciphertext.MalformedError as error:
        raise InvalidCiphertextException() from error
