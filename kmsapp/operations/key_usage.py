"""GetKeyLastUsage."""

from __future__ import annotations

from typing import Any

from kmsapp import access
from kmsapp.call import Call
from kmsapp.models import KeyLastUsage
from kmsapp.operations.keys import row_of
from kmsapp.registry import operation


@operation("kms:GetKeyLastUsage", read_only=True)
def get_key_last_usage(call: Call, params: dict[str, Any]) -> dict[str, Any]:
    """https://docs.aws.amazon.com/kms/latest/APIReference/API_GetKeyLastUsage.html"""
    call.audit_parameters["keyId"] = params["KeyId"]
    key = row_of(access.key(call, params["KeyId"], "kms:GetKeyLastUsage"))
    use = KeyLastUsage.objects.filter(key_id=key.pk).first()
    return {
        "KeyId": key.key_id,
        "KeyCreationDate": key.created_at,
        # There has been an audit record for as long as there have been keys.
        "TrackingStartDate": key.created_at,
        "KeyLastUsage": _shown(use) if use is not None else {},
    }


def _shown(use: KeyLastUsage) -> dict[str, Any]:
    """https://docs.aws.amazon.com/kms/latest/APIReference/API_KeyLastUsageData.html"""
    return {
        "Operation": use.operation,
        "Timestamp": use.used_at,
        "CloudTrailEventId": use.event_id,
        "KmsRequestId": use.request_id,
    }
