"""CreateGroup, GetGroup, ListGroups, UpdateGroup, DeleteGroup, and who is in a group."""

from __future__ import annotations

from typing import Any

from hsmapp import clock
from kmsapp import access, ids
from kmsapp.call import Call
from kmsapp.errors import DeleteConflictException, LimitExceededException, NoSuchEntityException
from kmsapp.iam import lists, recording, users
from kmsapp.iam.entities import GROUP, USER
from kmsapp.models import Group, User
from kmsapp.registry import operation

MOST_GROUPS_OF_A_USER = 10


def entry(group: Group) -> dict[str, Any]:
    """https://docs.aws.amazon.com/IAM/latest/APIReference/API_Group.html"""
    return {
        "Path": group.path,
        "GroupName": group.name,
        "GroupId": group.group_id,
        "Arn": group.arn,
        "CreateDate": group.created_at,
    }


@operation("iam:CreateGroup")
def create_group(call: Call, params: dict[str, Any], *, group_id: str = "") -> dict[str, Any]:
    """https://docs.aws.amazon.com/IAM/latest/APIReference/API_CreateGroup.html"""
    recording.note(call, params)
    name, path = params["GroupName"], params.get("Path") or "/"
    access.account(call, "iam:CreateGroup", resource=GROUP.arn(call, path, name))
    response: dict[str, Any] = {}
    with call.change(response), GROUP.unique(name):
        GROUP.require_room(call)
        group = Group.objects.create(
            account_id=call.caller.account,
            name=name,
            path=path,
            group_id=group_id or ids.new_group_id(),
            created_at=clock.now(),
        )
        answer = {"Group": entry(group)}
        response.update(recording.response(call, answer))
    return answer


@operation("iam:GetGroup", read_only=True)
def get_group(call: Call, params: dict[str, Any]) -> dict[str, Any]:
    """The group, and a page of its users. https://docs.aws.amazon.com/IAM/latest/APIReference/API_GetGroup.html"""
    group = GROUP.asked(call, params)
    rows = group.users.filter(is_root=False)
    page = lists.answer(call, params, "Users", rows, users.entry, by="user_name", of=group.group_id)
    return {"Group": entry(group), **page}


@operation("iam:ListGroups", read_only=True)
def list_groups(call: Call, params: dict[str, Any]) -> dict[str, Any]:
    """https://docs.aws.amazon.com/IAM/latest/APIReference/API_ListGroups.html"""
    recording.note(call, params)
    prefix = params.get("PathPrefix") or "/"
    access.account(call, "iam:ListGroups", resource=GROUP.arn(call, prefix, ""))
    rows = Group.objects.filter(account_id=call.caller.account, path__startswith=prefix)
    return lists.answer(call, params, "Groups", rows, entry, by="name", of=prefix)


@operation("iam:UpdateGroup")
def update_group(call: Call, params: dict[str, Any]) -> dict[str, Any]:
    """A new name, a new path. https://docs.aws.amazon.com/IAM/latest/APIReference/API_UpdateGroup.html"""
    group = GROUP.asked(call, params)
    name, path = params.get("NewGroupName") or group.name, params.get("NewPath") or group.path
    if (name, path) != (group.name, group.path):
        access.account(call, "iam:UpdateGroup", resource=GROUP.arn(call, path, name))
    with call.change(), GROUP.unique(name):
        group = GROUP.locked(group)
        group.name, group.path = name, path
        group.save(update_fields=["name", "path"])
    return {}


@operation("iam:DeleteGroup")
def delete_group(call: Call, params: dict[str, Any]) -> dict[str, Any]:
    """Its users and policies must be taken away before.

    https://docs.aws.amazon.com/IAM/latest/APIReference/API_DeleteGroup.html
    """
    group = GROUP.asked(call, params)
    with call.change():
        group = GROUP.locked(group)
        if group.users.exists():
            raise DeleteConflictException("Cannot delete entity, must remove users from group first.")
        GROUP.require_bare(group)
        group.delete()
    return {}


@operation("iam:AddUserToGroup")
def add_user_to_group(call: Call, params: dict[str, Any]) -> dict[str, Any]:
    """Once more changes nothing. https://docs.aws.amazon.com/IAM/latest/APIReference/API_AddUserToGroup.html"""
    group = GROUP.asked(call, params)
    user = _named(call, params["UserName"])
    with call.change():
        USER.locked(user)
        group = GROUP.locked(group)
        group.users.add(user)
        if user.groups.count() > MOST_GROUPS_OF_A_USER:
            raise LimitExceededException(f"Cannot exceed quota for GroupsPerUser: {MOST_GROUPS_OF_A_USER}")
    return {}


@operation("iam:RemoveUserFromGroup")
def remove_user_from_group(call: Call, params: dict[str, Any]) -> dict[str, Any]:
    """https://docs.aws.amazon.com/IAM/latest/APIReference/API_RemoveUserFromGroup.html"""
    group = GROUP.asked(call, params)
    user = _named(call, params["UserName"])
    if not group.users.filter(pk=user.pk).exists():
        raise NoSuchEntityException(f"User {user.user_name} is not in group {group.name}.")
    with call.change():
        group.users.remove(user)
    return {}


def _named(call: Call, user_name: str) -> User:
    """A user whom the group's permission is about, so that none on the user is asked."""
    user = USER.named(call.caller.account, user_name)
    if user is None:
        raise USER.missing(user_name)
    return user


@operation("iam:ListGroupsForUser", read_only=True)
def list_groups_for_user(call: Call, params: dict[str, Any]) -> dict[str, Any]:
    """https://docs.aws.amazon.com/IAM/latest/APIReference/API_ListGroupsForUser.html"""
    user = USER.asked(call, params)
    rows = Group.objects.filter(users=user)
    return lists.answer(call, params, "Groups", rows, entry, by="name", of=user.user_id)
