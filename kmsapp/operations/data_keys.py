"""GenerateDataKey and GenerateDataKeyWithoutPlaintext."""

from __future__ import annotations

from typing import Any

from kmsapp.call import Call
from kmsapp.errors import ValidationException
from kmsapp.operations import cryptography
from kmsapp.registry import operation

_BYTES = {"AES_256": 32, "AES_128": 16}


@operation("kms:GenerateDataKey", read_only=True)
def generate_data_key(call: Call, params: dict[str, Any]) -> dict[str, Any]:
    """https://docs.aws.amazon.com/kms/latest/APIReference/API_GenerateDataKey.html"""
    return _generate(call, params, "GenerateDataKey")


@operation("kms:GenerateDataKeyWithoutPlaintext", read_only=True)
def generate_data_key_without_plaintext(call: Call, params: dict[str, Any]) -> dict[str, Any]:
    """https://docs.aws.amazon.com/kms/latest/APIReference/API_GenerateDataKeyWithoutPlaintext.html"""
    answer = _generate(call, params, "GenerateDataKeyWithoutPlaintext")
    del answer["Plaintext"]
    return answer


def _generate(call: Call, params: dict[str, Any], name: str) -> dict[str, Any]:
    cryptography.audit_use(call, params, keyId=params["KeyId"])
    for member, shown in (("KeySpec", "keySpec"), ("NumberOfBytes", "numberOfBytes")):
        if params.get(member) is not None:
            call.audit_parameters[shown] = params[member]
    cryptography.refuse_recipient(params)
    length, context = _length(params), cryptography.context_of(params)
    key = cryptography.usable_key(call, params["KeyId"], name)
    cryptography.end_dry_run(params, key)
    # Random bytes come from the HSMs too: a data key is as good as the cluster that made it.
    data_key = cryptography.random_bytes(key, length)
    blob = cryptography.seal(key, data_key, context)
    return {"CiphertextBlob": blob, "Plaintext": data_key, "KeyId": key.arn}


def _length(params: dict[str, Any]) -> int:
    spec, number = params.get("KeySpec"), params.get("NumberOfBytes")
    if (spec is None) == (number is None):
        raise ValidationException("Please specify either number of bytes or key spec.")
    return _BYTES[spec] if spec is not None else int(number or 0)
