"""Tag, Untag and List…Tags of users and roles.

https://docs.aws.amazon.com/IAM/latest/UserGuide/id_tags.html
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from kmsapp.call import Call
from kmsapp.iam import lists, tag_rules
from kmsapp.iam.entities import ROLE, USER, Kind
from kmsapp.models import Role, User
from kmsapp.registry import operation

Tagged = TypeVar("Tagged", User, Role)
Tags = dict[str, str]


@operation("iam:TagUser")
def tag_user(call: Call, params: dict[str, Any]) -> dict[str, Any]:
    """https://docs.aws.amazon.com/IAM/latest/APIReference/API_TagUser.html"""
    return _tag(call, USER, params)


@operation("iam:TagRole")
def tag_role(call: Call, params: dict[str, Any]) -> dict[str, Any]:
    """https://docs.aws.amazon.com/IAM/latest/APIReference/API_TagRole.html"""
    return _tag(call, ROLE, params)


def _tag(call: Call, kind: Kind[Tagged], params: dict[str, Any]) -> dict[str, Any]:
    return _change(call, kind, params, lambda tags: tag_rules.with_tags(tags, params["Tags"]))


@operation("iam:UntagUser")
def untag_user(call: Call, params: dict[str, Any]) -> dict[str, Any]:
    """https://docs.aws.amazon.com/IAM/latest/APIReference/API_UntagUser.html"""
    return _untag(call, USER, params)


@operation("iam:UntagRole")
def untag_role(call: Call, params: dict[str, Any]) -> dict[str, Any]:
    """https://docs.aws.amazon.com/IAM/latest/APIReference/API_UntagRole.html"""
    return _untag(call, ROLE, params)


def _untag(call: Call, kind: Kind[Tagged], params: dict[str, Any]) -> dict[str, Any]:
    return _change(call, kind, params, lambda tags: tag_rules.without_tags(tags, params["TagKeys"]))


def _change(call: Call, kind: Kind[Tagged], params: dict[str, Any], changed: Callable[[Tags], Tags]) -> dict[str, Any]:
    entity = kind.asked(call, params)
    with call.change():
        entity = kind.locked(entity)
        entity.tags = changed(entity.tags)
        entity.save(update_fields=["tags"])
    return {}


@operation("iam:ListUserTags", read_only=True)
def list_user_tags(call: Call, params: dict[str, Any]) -> dict[str, Any]:
    """https://docs.aws.amazon.com/IAM/latest/APIReference/API_ListUserTags.html"""
    return _list(call, USER, params)


@operation("iam:ListRoleTags", read_only=True)
def list_role_tags(call: Call, params: dict[str, Any]) -> dict[str, Any]:
    """https://docs.aws.amazon.com/IAM/latest/APIReference/API_ListRoleTags.html"""
    return _list(call, ROLE, params)


def _list(call: Call, kind: Kind[Tagged], params: dict[str, Any]) -> dict[str, Any]:
    entity = kind.asked(call, params)
    return lists.tags(call, params, entity.tags, of=kind.unique_id(entity))
