"""GetKeyPolicy and PutKeyPolicy."""

from __future__ import annotations

from typing import Any

from kmsapp import access, key_policies, key_states
from kmsapp.call import Call
from kmsapp.errors import NotFoundException, UnsupportedOperationException
from kmsapp.iam import principals
from kmsapp.operations.keys import locked
from kmsapp.registry import operation

DEFAULT = "default"


@operation("kms:GetKeyPolicy", read_only=True)
def get_key_policy(call: Call, params: dict[str, Any]) -> dict[str, Any]:
    """https://docs.aws.amazon.com/kms/latest/APIReference/API_GetKeyPolicy.html"""
    call.audit_parameters["keyId"] = params["KeyId"]
    found = access.key(call, params["KeyId"], "kms:GetKeyPolicy")
    name = params.get("PolicyName") or DEFAULT
    if name != DEFAULT:
        raise NotFoundException(f"No such policy exists: {name}. The only valid name is {DEFAULT}.")
    return {"Policy": principals.shown(found.policy, found.policy_principals), "PolicyName": DEFAULT}


@operation("kms:PutKeyPolicy")
def put_key_policy(call: Call, params: dict[str, Any]) -> dict[str, Any]:
    """https://docs.aws.amazon.com/kms/latest/APIReference/API_PutKeyPolicy.html"""
    name, bypass = params.get("PolicyName") or DEFAULT, bool(params.get("BypassPolicyLockoutSafetyCheck"))
    call.audit_parameters.update(
        keyId=params["KeyId"], policyName=name, policy=params["Policy"], bypassPolicyLockoutSafetyCheck=bypass
    )
    found = access.key(call, params["KeyId"], "kms:PutKeyPolicy")
    if name != DEFAULT:
        raise UnsupportedOperationException(f"The only valid policy name is {DEFAULT}, not {name}.")
    key_states.require("PutKeyPolicy", found)
    policy = key_policies.accepted(call, found, params["Policy"], bypass_lockout_check=bypass)
    with call.change({"keyId": found.arn}):
        key = locked(found, "PutKeyPolicy")
        key.policy, key.policy_principals = policy.text, dict(policy.principals)
        key.save(update_fields=["policy", "policy_principals"])
    return {}
