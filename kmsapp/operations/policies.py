"""GetKeyPolicy."""

from __future__ import annotations

from typing import Any

from kmsapp import access
from kmsapp.call import Call
from kmsapp.errors import NotFoundException
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
    return {"Policy": KmsKey.objects.values_list("policy", flat=True).get(pk=found.pk), "PolicyName": DEFAULT}
