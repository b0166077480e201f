"""GetKeyPolicy and PutKeyPolicy."""

from __future__ import annotations

from typing import Any

from kmsapp import access, key_policies, key_states
from kmsapp.call import Call
from kmsapp.errors import NotFoundException, UnsupportedOperationException
from kmsapp.iam import principals
from kmsapp.models import KmsKey
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
    # (unconfirmed) AWS may lay the text out anew. Here it is the text that was put.
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
    key_states.require("PutKeyPolicy", found.key_state, found.arn)
    policy = key_policies.accepted(call, found, params["Policy"], bypass_lockout_check=bypass)
    with call.change({"keyId": found.arn}):
        KmsKey.objects.filter(pk=found.pk).update(policy=policy.text, policy_principals=policy.principals)
    return {}
