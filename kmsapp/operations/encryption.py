"""Encrypt, Decrypt and ReEncrypt."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kmsapp import access, arns, ciphertext, shapes
from kmsapp.call import Call
from kmsapp.errors import IncorrectKeyException, InvalidCiphertextException
from kmsapp.key_facts import KeyFacts
from kmsapp.operations import cryptography
from kmsapp.operations.cryptography import SYMMETRIC_DEFAULT
from kmsapp.registry import operation

_INCORRECT_KEY = "The key ID in the request does not identify a CMK that can perform this operation."
# Members of ReEncrypt that its audit record shows.
_RE_ENCRYPT_AUDITED = ("SourceKeyId", "SourceEncryptionContext", "DestinationKeyId", "DestinationEncryptionContext")


@operation("kms:Encrypt", read_only=True)
def encrypt(call: Call, params: dict[str, Any]) -> dict[str, Any]:
    """https://docs.aws.amazon.com/kms/latest/APIReference/API_Encrypt.html"""
    cryptography.audit_use(call, params, keyId=params["KeyId"], encryptionAlgorithm=SYMMETRIC_DEFAULT)
    context = cryptography.context_of(params)
    key = cryptography.usable_key(call, params["KeyId"], "Encrypt")
    cryptography.require_algorithm(params)
    cryptography.end_dry_run(params, key)
    blob = cryptography.seal(key, params["Plaintext"], context)
    return {"CiphertextBlob": blob, "KeyId": key.arn, "EncryptionAlgorithm": SYMMETRIC_DEFAULT}


@operation("kms:Decrypt", read_only=True)
def decrypt(call: Call, params: dict[str, Any]) -> dict[str, Any]:
    """https://docs.aws.amazon.com/kms/latest/APIReference/API_Decrypt.html"""
    cryptography.audit_use(call, params, encryptionAlgorithm=SYMMETRIC_DEFAULT)
    if params.get("KeyId"):
        call.audit_parameters["keyId"] = params["KeyId"]
    cryptography.refuse_recipient(params)
    parts = _ciphertext_of(params, "KeyId")
    context = cryptography.context_of(params)
    key = _key_of(call, parts, params.get("KeyId"), "kms:Decrypt")
    cryptography.require_usable("Decrypt", key)
    cryptography.tell_material(call, key)
    cryptography.require_algorithm(params)
    plaintext = cryptography.open_sealed(key, parts, context) if parts is not None else b""
    cryptography.end_dry_run(params, key)
    # (unconfirmed) That a key in a custom key store, which has no rotations, has no KeyMaterialId in any answer.
    return {"KeyId": key.arn, "Plaintext": plaintext, "EncryptionAlgorithm": SYMMETRIC_DEFAULT}


@operation("kms:ReEncrypt", read_only=True)
def re_encrypt(call: Call, params: dict[str, Any]) -> dict[str, Any]:
    """https://docs.aws.amazon.com/kms/latest/APIReference/API_ReEncrypt.html"""
    call.audit_parameters.update(
        {shapes.lower_camel(name): params[name] for name in _RE_ENCRYPT_AUDITED if params.get(name)},
        sourceEncryptionAlgorithm=SYMMETRIC_DEFAULT,
        destinationEncryptionAlgorithm=SYMMETRIC_DEFAULT,
    )
    parts = _ciphertext_of(params, "SourceKeyId")
    from_context = cryptography.context_of(params, "SourceEncryptionContext")
    to_context = cryptography.context_of(params, "DestinationEncryptionContext")
    source, destination = _keys_of_re_encryption(call, parts, params)
    cryptography.require_usable("ReEncrypt", source, destination)
    cryptography.require_algorithm(params, "SourceEncryptionAlgorithm")
    cryptography.require_algorithm(params, "DestinationEncryptionAlgorithm")
    plaintext = cryptography.open_sealed(source, parts, from_context) if parts is not None else b""
    cryptography.end_dry_run(params, source, destination)
    return {
        "CiphertextBlob": cryptography.seal(destination, plaintext, to_context),
        "SourceKeyId": source.arn,
        "KeyId": destination.arn,
        "SourceEncryptionAlgorithm": SYMMETRIC_DEFAULT,
        "DestinationEncryptionAlgorithm": SYMMETRIC_DEFAULT,
    }


def _keys_of_re_encryption(
    call: Call, parts: ciphertext.Parts | None, params: Mapping[str, Any]
) -> tuple[KeyFacts, KeyFacts]:
    """Find source and destination, each with an action of its own. Policies of both may ask whether they are one."""
    given, destination = params.get("SourceKeyId"), params["DestinationKeyId"]
    source = given or _arn_in(call, parts)
    is_same = access.same_key(call, source, destination)
    call.conditions["kms:reencryptonsamekey"] = "true" if is_same else "false"
    return (
        _key_of(call, parts, given, "kms:ReEncryptFrom"),
        access.key(call, destination, "kms:ReEncryptTo", aliases=True),
    )


# Ciphertexts


def _ciphertext_of(params: Mapping[str, Any], key_member: str) -> ciphertext.Parts | None:
    """The ciphertext of a request; None for a dry run that ignores it (DryRunModifiers), which must name the key then.

    Without DryRun its modifiers mean nothing.
    """
    if params.get("DryRun") and "IGNORE_CIPHERTEXT" in (params.get("DryRunModifiers") or ()):
        shapes.require(params, key_member)
        return None
    shapes.require(params, "CiphertextBlob")
    try:
        return ciphertext.split(params["CiphertextBlob"])
    except ciphertext.MalformedError as error:
        raise InvalidCiphertextException() from error


def _key_of(call: Call, parts: ciphertext.Parts | None, identifier: str | None, action: str) -> KeyFacts:
    """The key to open a ciphertext with, allowed for the action: the one that the request names, if it names one."""
    if identifier:
        key = access.key(call, identifier, action, aliases=True)
        if parts is not None and (key.account, key.key_id) != (parts.header.account, parts.header.key_id):
            raise IncorrectKeyException(_INCORRECT_KEY)
        return key
    header = _header(parts)
    return access.key_of_ciphertext(call, header.account, header.key_id, action)


def _arn_in(call: Call, parts: ciphertext.Parts | None) -> str:
    header = _header(parts)
    return arns.key_arn(call.caller.region, header.account, header.key_id)


def _header(parts: ciphertext.Parts | None) -> ciphertext.Header:
    if parts is None:
        raise ValueError("a request without a ciphertext names its key")
    return parts.header
