"""What Encrypt, Decrypt and the data keys share: one key of a cluster seals and opens bytes under a context."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from hsmapp import cluster
from hsmapp.cluster import Material
from hsmapp.errors import InvalidCiphertextError, IvsUsedUpError, KeyMaterialError, NoHsmAnswersError
from kmsapp import access, ciphertext, key_states
from kmsapp.call import Call
from kmsapp.errors import (
    DryRunOperationException,
    InvalidCiphertextException,
    InvalidKeyUsageException,
    KMSInvalidStateException,
    UnsupportedOperationException,
    ValidationException,
)
from kmsapp.key_facts import KeyFacts

SYMMETRIC_DEFAULT = "SYMMETRIC_DEFAULT"
# About 8 KB in AWS (unconfirmed): what a context may have when written as JSON.
CONTEXT_BYTES = 8_192
_NO_HSM = (
    "KMS cannot communicate with your CloudHSM cluster. Check that the cluster has at least one active HSM, "
    "and try again."
)


def context_of(params: Mapping[str, Any]) -> dict[str, str]:
    """The encryption context of a request. Raises ValidationException if it is larger than the key store can bind."""
    context: dict[str, str] = params.get("EncryptionContext") or {}
    size = len(json.dumps(context, ensure_ascii=False, separators=(",", ":")).encode()) if context else 0
    if size > CONTEXT_BYTES:
        raise ValidationException(
            f"The encryption context has {size} bytes as JSON. It can have {CONTEXT_BYTES} bytes at most."
        )
    return context


def audit_use(call: Call, params: Mapping[str, Any], **shown: Any) -> None:
    """What the record of a cryptographic operation shows: never plaintext or ciphertext."""
    call.audit_parameters.update(shown)
    if params.get("EncryptionContext"):
        call.audit_parameters["encryptionContext"] = params["EncryptionContext"]


def usable_key(call: Call, identifier: str, operation: str) -> KeyFacts:
    """The key of an identifier, allowed for the operation and in a state that allows it."""
    return require_usable(call, access.key(call, identifier, f"kms:{operation}", aliases=True), operation)


def require_usable(call: Call, key: KeyFacts, operation: str) -> KeyFacts:
    """Refuse a key whose state or usage does not allow the operation."""
    key_states.require(operation, key)
    if key.key_usage != "ENCRYPT_DECRYPT":
        raise InvalidKeyUsageException(f"{key.arn} key usage is {key.key_usage} which is not valid for {operation}.")
    if key.custom_key_store_id and key.material is not None:
        call.additional_event_data.update(
            customKeyStoreId=key.custom_key_store_id, backingKeyId=key.material.backing_key_id
        )
    return key


def require_algorithm(params: Mapping[str, Any]) -> None:
    algorithm = params.get("EncryptionAlgorithm") or SYMMETRIC_DEFAULT
    if algorithm != SYMMETRIC_DEFAULT:
        raise InvalidKeyUsageException(f"Algorithm {algorithm} is incompatible with key spec {SYMMETRIC_DEFAULT}.")


def refuse_unbuilt(params: Mapping[str, Any]) -> None:
    """Refuse members that change what the answer holds and that are not built: to ignore one would be a wrong answer.

    Recipient asks for the plaintext encrypted for a Nitro enclave, and for none in clear.
    """
    for member in ("Recipient", "DryRunModifiers"):
        if params.get(member):
            raise UnsupportedOperationException(f"{member} is not built in this version of Casemate.")


def end_dry_run(params: Mapping[str, Any]) -> None:
    if params.get("DryRun"):
        raise DryRunOperationException("The request would have succeeded, but the DryRun option is set.")


def seal(key: KeyFacts, plaintext: bytes, context: Mapping[str, str]) -> bytes:
    """Return the CiphertextBlob."""
    material, header = _material(key), key.ciphertext_header
    aad = ciphertext.associated_data(header.encode(), key_store_id=key.custom_key_store_id, context=context)
    try:
        iv, sealed = cluster.encrypt(material, plaintext, aad=aad)
    except (NoHsmAnswersError, KeyMaterialError, IvsUsedUpError) as error:
        raise _unusable(key, error) from error
    return ciphertext.join(header, iv, sealed)


def open_sealed(key: KeyFacts, parts: ciphertext.Parts, context: Mapping[str, str]) -> bytes:
    """Return the plaintext. Raises InvalidCiphertextException, which never says why."""
    material = _material(key)
    if parts.header.material_id.hex() != material.backing_key_id:
        raise InvalidCiphertextException()
    aad = ciphertext.associated_data(parts.header_bytes, key_store_id=key.custom_key_store_id, context=context)
    try:
        return cluster.decrypt(material, parts.iv, parts.sealed, aad=aad)
    except InvalidCiphertextError as error:
        raise InvalidCiphertextException() from error
    except (NoHsmAnswersError, KeyMaterialError) as error:
        raise _unusable(key, error) from error


def random_bytes(key: KeyFacts, length: int) -> bytes:
    """Random bytes from the HSMs of the key's cluster."""
    material = _material(key)
    try:
        return cluster.random(material.cluster_pk, material.owner, length)
    except NoHsmAnswersError as error:
        raise _unusable(key, error) from error


def _material(key: KeyFacts) -> Material:
    if key.material is None:
        raise KMSInvalidStateException(f"{key.arn} has no key material.")
    return key.material


def _unusable(key: KeyFacts, error: Exception) -> KMSInvalidStateException:
    # AWS answers 400 here too: stock clients repeat a 500 five times.
    if isinstance(error, NoHsmAnswersError):
        return KMSInvalidStateException(_NO_HSM)
    if isinstance(error, IvsUsedUpError):
        return KMSInvalidStateException(
            f"{key.arn} has encrypted as often as the HSMs of its cluster allow for one key. It still decrypts; use "
            "a new key to encrypt."
        )
    return KMSInvalidStateException(
        f"The key material of {key.arn} can't be used in its CloudHSM cluster. See the cluster's page."
    )
