"""STS, but for AssumeRole: who is calling, whose is a key, and a user's own temporary credentials."""

from __future__ import annotations

from typing import Any

from kmsapp import access
from kmsapp.call import Call
from kmsapp.caller import Caller
from kmsapp.errors import AccessDeniedException, UnrecognizedClientException, ValidationException
from kmsapp.iam import credentials, session_requests, sessions
from kmsapp.models import User
from kmsapp.registry import operation

USER_SECONDS = 12 * 3600  # of a session whose length isn't asked for
MOST_ROOT_SECONDS = 3600

# What credentials of GetSessionToken may call in STS; in IAM it is nothing, as they were made without MFA.
_OPEN_TO_USER_SESSIONS = frozenset({"sts:AssumeRole", "sts:GetCallerIdentity"})


def require_open_to_session(caller: Caller, name: str) -> None:
    """Refuse to a user's session what credentials of GetSessionToken can't call.

    https://docs.aws.amazon.com/STS/latest/APIReference/API_GetSessionToken.html
    """
    if not caller.is_session_of_user or name in _OPEN_TO_USER_SESSIONS:
        return
    service, _, operation_name = name.partition(":")
    if service == "iam":
        raise UnrecognizedClientException("The security token included in the request is invalid")
    if service == "sts":
        raise AccessDeniedException(f"Cannot call {operation_name} with session credentials")


@operation("sts:GetCallerIdentity", read_only=True)
def get_caller_identity(call: Call, params: dict[str, Any]) -> dict[str, Any]:
    """https://docs.aws.amazon.com/STS/latest/APIReference/API_GetCallerIdentity.html: no permission is needed."""
    access.open_to_all(call, "sts:GetCallerIdentity")
    caller = call.caller
    return {"UserId": caller.principal_id, "Account": caller.account, "Arn": caller.principal_arn}


@operation("sts:GetAccessKeyInfo", read_only=True)
def get_access_key_info(call: Call, params: dict[str, Any]) -> dict[str, Any]:
    """https://docs.aws.amazon.com/STS/latest/APIReference/API_GetAccessKeyInfo.html: of any account's key."""
    call.audit_parameters["accessKeyId"] = params["AccessKeyId"]
    access.account(call, "sts:GetAccessKeyInfo")
    account = credentials.account_of(params["AccessKeyId"])
    if account is None:
        raise ValidationException(f"{params['AccessKeyId']} is invalid")
    return {"Account": account}


@operation("sts:GetSessionToken", read_only=True)
def get_session_token(call: Call, params: dict[str, Any]) -> dict[str, Any]:
    """https://docs.aws.amazon.com/STS/latest/APIReference/API_GetSessionToken.html: no permission is needed."""
    access.open_to_all(call, "sts:GetSessionToken")
    caller = call.caller
    if caller.session:
        raise AccessDeniedException("Cannot call GetSessionToken with session credentials")
    session_requests.refuse_multi_factor(params)
    seconds = _seconds(caller, params.get("DurationSeconds"))
    call.audit_parameters["durationSeconds"] = seconds
    response: dict[str, Any] = {}
    with call.change(response):
        issued = sessions.begin(
            User.objects.get(account_id=caller.account, user_id=caller.principal_id),
            seconds=seconds,
            assumed_by=caller.principal_arn,
            minimum_token_bytes=params.get("MinimumSessionTokenSize") or 0,
        )
        response["credentials"] = issued.recorded_credentials
    return {"Credentials": issued.credentials}


def _seconds(caller: Caller, asked: int | None) -> int:
    if caller.principal_type == "Root":
        return min(asked or MOST_ROOT_SECONDS, MOST_ROOT_SECONDS)
    return asked or USER_SECONDS
