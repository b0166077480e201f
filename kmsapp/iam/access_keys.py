"""CreateAccessKey, ListAccessKeys, UpdateAccessKey, DeleteAccessKey, GetAccessKeyLastUsed.

Without a user name these are about the caller's own keys, those of an account's root user included.
"""

from __future__ import annotations

from typing import Any

from kmsapp import access
from kmsapp.call import Call
from kmsapp.errors import InvalidInputException, LimitExceededException, NoSuchEntityException
from kmsapp.iam import credentials, lists, recording
from kmsapp.iam.entities import USER, authorize, user_or_caller
from kmsapp.models import AccessKey, AuditEvent, User
from kmsapp.registry import operation

MOST_KEYS_OF_A_USER = 2


def entry(key: AccessKey) -> dict[str, Any]:
    """https://docs.aws.amazon.com/IAM/latest/APIReference/API_AccessKeyMetadata.html"""
    return {
        "UserName": key.user.user_name or None,  # a root user has none
        "AccessKeyId": key.access_key_id,
        "Status": key.status,
        "CreateDate": key.created_at,
    }


@operation("iam:CreateAccessKey")
def create_access_key(
    call: Call, params: dict[str, Any], *, access_key_id: str = "", secret: str = ""
) -> dict[str, Any]:
    """The answer is the only place where the secret is ever shown.

    https://docs.aws.amazon.com/IAM/latest/APIReference/API_CreateAccessKey.html
    """
    recording.note(call, params)
    user = user_or_caller(call, "iam:CreateAccessKey", params.get("UserName"))
    response: dict[str, Any] = {}
    with call.change(response):
        USER.locked(user)
        if user.access_keys.count() >= MOST_KEYS_OF_A_USER:
            raise LimitExceededException(f"Cannot exceed quota for AccessKeysPerUser: {MOST_KEYS_OF_A_USER}")
        access_key_id, secret = credentials.create_access_key(user, access_key_id, secret)
        key = AccessKey.objects.select_related("user").get(access_key_id=access_key_id)
        answer = {"AccessKey": {**entry(key), "SecretAccessKey": secret}}
        response.update(recording.response(call, answer))
    return answer


@operation("iam:ListAccessKeys", read_only=True)
def list_access_keys(call: Call, params: dict[str, Any]) -> dict[str, Any]:
    """https://docs.aws.amazon.com/IAM/latest/APIReference/API_ListAccessKeys.html"""
    recording.note(call, params)
    user = user_or_caller(call, "iam:ListAccessKeys", params.get("UserName"))
    rows = AccessKey.objects.select_related("user").filter(user=user)
    return lists.answer(call, params, "AccessKeyMetadata", rows, entry, by="access_key_id", of=user.user_id)


@operation("iam:UpdateAccessKey")
def update_access_key(call: Call, params: dict[str, Any]) -> dict[str, Any]:
    """https://docs.aws.amazon.com/IAM/latest/APIReference/API_UpdateAccessKey.html"""
    recording.note(call, params)
    user = user_or_caller(call, "iam:UpdateAccessKey", params.get("UserName"))
    if params["Status"] not in ("Active", "Inactive"):
        raise InvalidInputException(f"An access key can't be made {params['Status']}. Choose Active or Inactive.")
    with call.change():
        key = _of(user, params["AccessKeyId"])
        key.status = params["Status"]
        key.save(update_fields=["status"])
    return {}


@operation("iam:DeleteAccessKey")
def delete_access_key(call: Call, params: dict[str, Any]) -> dict[str, Any]:
    """https://docs.aws.amazon.com/IAM/latest/APIReference/API_DeleteAccessKey.html"""
    recording.note(call, params)
    user = user_or_caller(call, "iam:DeleteAccessKey", params.get("UserName"))
    with call.change():
        _of(user, params["AccessKeyId"]).delete()
    return {}


def _of(user: User, access_key_id: str) -> AccessKey:
    key = user.access_keys.filter(access_key_id=access_key_id).first()
    if key is None:
        raise _missing(access_key_id)
    return key


def _missing(access_key_id: str) -> NoSuchEntityException:
    return NoSuchEntityException(f"The Access Key with id {access_key_id} cannot be found.")


@operation("iam:GetAccessKeyLastUsed", read_only=True)
def get_access_key_last_used(call: Call, params: dict[str, Any]) -> dict[str, Any]:
    """When, where and for which service the key last signed, as the audit record knows it.

    https://docs.aws.amazon.com/IAM/latest/APIReference/API_GetAccessKeyLastUsed.html
    """
    recording.note(call, params)
    access_key_id = params["AccessKeyId"]
    rows = AccessKey.objects.select_related("user").filter(user__account_id=call.caller.account)
    key = rows.filter(access_key_id=access_key_id).first()
    if key is None:
        access.account(call, "iam:GetAccessKeyLastUsed")
        raise _missing(access_key_id)
    authorize(call, "iam:GetAccessKeyLastUsed", key.user)
    return {"UserName": key.user.user_name or None, "AccessKeyLastUsed": _last_used(key)}


def _last_used(key: AccessKey) -> dict[str, Any]:
    events = AuditEvent.objects.filter(
        account=key.user.account_id,
        event_time__gte=key.created_at.replace(microsecond=0),
        event__userIdentity__accessKeyId=key.access_key_id,
    )
    last = events.order_by("-event_time").first()
    if last is None:
        return {"ServiceName": "N/A", "Region": "N/A"}
    return {
        "LastUsedDate": last.event_time,
        "ServiceName": last.event_source.partition(".")[0],
        "Region": last.region,
    }
