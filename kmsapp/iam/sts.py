"""STS: GetCallerIdentity."""

from __future__ import annotations

from typing import Any

from kmsapp import access
from kmsapp.call import Call
from kmsapp.registry import operation


@operation("sts:GetCallerIdentity", read_only=True)
def get_caller_identity(call: Call, params: dict[str, Any]) -> dict[str, Any]:
    """https://docs.aws.amazon.com/STS/latest/APIReference/API_GetCallerIdentity.html: no permission is needed."""
    access.open_to_all(call, "sts:GetCallerIdentity")
    caller = call.caller
    return {"UserId": caller.principal_id, "Account": caller.account, "Arn": caller.principal_arn}
