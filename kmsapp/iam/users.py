"""CreateUser, GetUser, ListUsers, UpdateUser, DeleteUser."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hsmapp import clock
from kmsapp import access, ids
from kmsapp.call import Call
from kmsapp.errors import DeleteConflictException
from kmsapp.iam import boundaries, lists, recording, tag_rules
from kmsapp.iam.entities import USER, boundary_entry, user_or_caller
from kmsapp.models import Account, User
from kmsapp.registry import operation


def entry(user: User) -> dict[str, Any]:
    """https://docs.aws.amazon.com/IAM/latest/APIReference/API_User.html as lists have it: without tags and boundary."""
    return {
        "Path": user.path,
        "UserName": user.user_name or None,  # a root user has none
        "UserId": user.user_id,
        "Arn": user.arn,
        "CreateDate": user.created_at,
        "PasswordLastUsed": user.last_login,
    }


def full_entry(user: User) -> dict[str, Any]:
    return {
        **entry(user),
        "PermissionsBoundary": boundary_entry(user.permissions_boundary),
        "Tags": tag_rules.entries(user.tags),
    }


@operation("iam:CreateUser")
def create_user(call: Call, params: dict[str, Any], *, user_id: str = "") -> dict[str, Any]:
    """https://docs.aws.amazon.com/IAM/latest/APIReference/API_CreateUser.html"""
    recording.note(call, params)
    name, path, boundary_arn = params["UserName"], params.get("Path") or "/", params.get("PermissionsBoundary")
    context = boundaries.requested(boundary_arn)
    access.account(call, "iam:CreateUser", resource=USER.arn(call, path, name), context=context)
    boundary, tags = boundaries.find(call, boundary_arn), tag_rules.with_tags({}, params.get("Tags"))
    response: dict[str, Any] = {}
    with call.change(response), USER.unique(name):
        USER.require_room(call)
        user = User.objects.create_user(
            account=Account.objects.get(pk=call.caller.account),
            user_name=name,
            user_id=user_id or ids.new_user_id(),
            path=path,
            tags=tags,
            permissions_boundary=boundary,
            created_at=clock.now(),
        )
        answer = {"User": full_entry(user)}
        response.update(recording.response(call, answer))
    return answer


@operation("iam:GetUser", read_only=True)
def get_user(call: Call, params: dict[str, Any]) -> dict[str, Any]:
    """https://docs.aws.amazon.com/IAM/latest/APIReference/API_GetUser.html"""
    recording.note(call, params)
    return {"User": full_entry(user_or_caller(call, "iam:GetUser", params.get("UserName")))}


@operation("iam:ListUsers", read_only=True)
def list_users(call: Call, params: dict[str, Any]) -> dict[str, Any]:
    """https://docs.aws.amazon.com/IAM/latest/APIReference/API_ListUsers.html"""
    return listed(call, params, entry)


def listed(call: Call, params: dict[str, Any], entry: Callable[[User], dict[str, Any]]) -> dict[str, Any]:
    """A page of the account's users, each as `entry` has it."""
    recording.note(call, params)
    prefix = params.get("PathPrefix") or "/"
    access.account(call, "iam:ListUsers", resource=USER.arn(call, prefix, ""))
    rows = User.objects.filter(account_id=call.caller.account, is_root=False, path__startswith=prefix)
    return lists.answer(call, params, "Users", rows, entry, by="user_name", of=prefix)


@operation("iam:UpdateUser")
def update_user(call: Call, params: dict[str, Any]) -> dict[str, Any]:
    """A new name, a new path. The unique id stays, and with it what policies say of the user.

    https://docs.aws.amazon.com/IAM/latest/APIReference/API_UpdateUser.html
    """
    user = USER.asked(call, params)
    name, path = params.get("NewUserName") or user.user_name, params.get("NewPath") or user.path
    if (name, path) != (user.user_name, user.path):
        # AWS asks for the permission on what the user is and on what it becomes.
        access.account(call, "iam:UpdateUser", resource=USER.arn(call, path, name))
    with call.change(), USER.unique(name):
        user = USER.locked(user)
        user.user_name, user.path = name, path
        user.save(update_fields=["user_name", "path"])
    return {}


@operation("iam:DeleteUser")
def delete_user(call: Call, params: dict[str, Any]) -> dict[str, Any]:
    """Everything that the user has must be gone before; sessions end with the user.

    https://docs.aws.amazon.com/IAM/latest/APIReference/API_DeleteUser.html
    """
    user = USER.asked(call, params)
    with call.change():
        user = USER.locked(user)
        USER.require_bare(user)
        _require_nothing_of(user)
        user.delete()
    return {}


def _require_nothing_of(user: User) -> None:
    if user.access_keys.exists():
        raise DeleteConflictException("Cannot delete entity, must delete access keys first.")
    if user.has_usable_password():
        raise DeleteConflictException("Cannot delete entity, must delete login profile first.")
    if user.groups.exists():
        raise DeleteConflictException("Cannot delete entity, must remove users from group first.")
