"""STS AssumeRole, which switching role in the console calls too.

Its order is AWS's: the request by itself, who calls, the role and its trust (trust.py), how long, then the session.
A role that isn't there and a role that doesn't trust the caller have one answer.
"""

from __future__ import annotations

from typing import Any

from kmsapp import arns
from kmsapp.call import Call
from kmsapp.caller import Caller
from kmsapp.errors import AccessDeniedException, ValidationException
from kmsapp.iam import recording, session_requests, sessions, trust
from kmsapp.iam.session_requests import SessionRequest
from kmsapp.models import Role
from kmsapp.registry import operation

STANDARD_SECONDS = 3600
MOST_CHAINED_SECONDS = 3600  # of a role that is assumed by a role


@operation("sts:AssumeRole", read_only=True)
def assume_role(call: Call, params: dict[str, Any]) -> dict[str, Any]:
    """https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRole.html"""
    recording.note(call, {name: value for name, value in params.items() if name != "TokenCode"})
    arn = arns.parse_role(params["RoleArn"])
    if arn is None:
        raise ValidationException(f"{params['RoleArn']} is invalid")
    request = session_requests.of(call.caller, params, role_account=arn.account)
    if call.caller.principal_type == "Root":
        raise AccessDeniedException("Roles may not be assumed by root accounts.")
    role = trust.require(call, params["RoleArn"], request)
    seconds = _seconds(call.caller, role, params.get("DurationSeconds"))
    return _begin(call, role, request, seconds=seconds, token_bytes=params.get("MinimumSessionTokenSize") or 0)


def _seconds(caller: Caller, role: Role, asked: int | None) -> int:
    is_chained = caller.principal_type == "AssumedRole"
    if asked is None:
        return min(STANDARD_SECONDS, role.max_session_seconds)
    if asked > role.max_session_seconds:
        raise ValidationException("The requested DurationSeconds exceeds the MaxSessionDuration set for this role.")
    if is_chained and asked > MOST_CHAINED_SECONDS:
        raise ValidationException(
            "The requested DurationSeconds exceeds the 1 hour session limit for roles assumed by role chaining."
        )
    return asked


def _begin(call: Call, role: Role, request: SessionRequest, *, seconds: int, token_bytes: int) -> dict[str, Any]:
    call.resources.append(role.arn)
    response: dict[str, Any] = {}
    with call.change(response):
        issued = sessions.begin(
            role,
            seconds=seconds,
            assumed_by=call.caller.principal_arn,
            minimum_token_bytes=token_bytes,
            session_name=request.name,
            source_identity=request.source_identity,
            session_policies=list(request.policies),
            tags=dict(request.tags),
            transitive_tag_keys=list(request.transitive_tag_keys),
        )
        answer = _answer(role, request, issued)
        response["credentials"] = issued.recorded_credentials
        response["assumedRoleUser"] = {
            "assumedRoleId": answer["AssumedRoleUser"]["AssumedRoleId"],
            "arn": answer["AssumedRoleUser"]["Arn"],
        }
        if request.source_identity:
            response["sourceIdentity"] = request.source_identity
    return answer


def _answer(role: Role, request: SessionRequest, issued: sessions.Issued) -> dict[str, Any]:
    answer = {
        "Credentials": issued.credentials,
        "AssumedRoleUser": {
            "AssumedRoleId": f"{role.role_id}:{request.name}",
            "Arn": arns.assumed_role_arn(role.account_id, role.name, request.name),
        },
        "PackedPolicySize": request.packed_percent,
        "SourceIdentity": request.source_identity or None,
    }
    return {name: value for name, value in answer.items() if value is not None}
