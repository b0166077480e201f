"""EnableKey and DisableKey."""

from __future__ import annotations

from typing import Any

from kmsapp import access, key_states
from kmsapp.call import Call
from kmsapp.models import KmsKey
from kmsapp.operations.keys import locked
from kmsapp.registry import operation


@operation("kms:EnableKey")
def enable_key(call: Call, params: dict[str, Any]) -> dict[str, Any]:
    """https://docs.aws.amazon.com/kms/latest/APIReference/API_EnableKey.html"""
    return _set(call, params, "EnableKey", KmsKey.State.ENABLED)


@operation("kms:DisableKey")
def disable_key(call: Call, params: dict[str, Any]) -> dict[str, Any]:
    """https://docs.aws.amazon.com/kms/latest/APIReference/API_DisableKey.html"""
    return _set(call, params, "DisableKey", KmsKey.State.DISABLED)


def _set(call: Call, params: dict[str, Any], name: str, state: KmsKey.State) -> dict[str, Any]:
    """Give the key the state, which it may have already; a key whose store is not connected shows it later."""
    call.audit_parameters["keyId"] = params["KeyId"]
    found = access.key(call, params["KeyId"], f"kms:{name}")
    key_states.require(name, found)
    with call.change({"keyId": found.arn}):
        key = locked(found, name)
        key.key_state = state
        key.save(update_fields=["key_state"])
    return {}
