"""Put, Get, List and Delete {User,Group,Role} Polic{y,ies}: policies that belong to one user, group or role.

https://docs.aws.amazon.com/IAM/latest/UserGuide/access_policies_managed-vs-inline.html
"""

from __future__ import annotations

from typing import Any

from kmsapp.call import Call
from kmsapp.errors import LimitExceededException, NoSuchEntityException
from kmsapp.iam import documents, lists
from kmsapp.iam.entities import GROUP, ROLE, USER, Entity, Kind
from kmsapp.models import InlinePolicy
from kmsapp.registry import operation


@operation("iam:PutUserPolicy")
def put_user_policy(call: Call, params: dict[str, Any]) -> dict[str, Any]:
    """https://docs.aws.amazon.com/IAM/latest/APIReference/API_PutUserPolicy.html"""
    return _put(call, USER, params)


@operation("iam:PutGroupPolicy")
def put_group_policy(call: Call, params: dict[str, Any]) -> dict[str, Any]:
    """https://docs.aws.amazon.com/IAM/latest/APIReference/API_PutGroupPolicy.html"""
    return _put(call, GROUP, params)


@operation("iam:PutRolePolicy")
def put_role_policy(call: Call, params: dict[str, Any]) -> dict[str, Any]:
    """https://docs.aws.amazon.com/IAM/latest/APIReference/API_PutRolePolicy.html"""
    return _put(call, ROLE, params)


def _put(call: Call, kind: Kind[Entity], params: dict[str, Any]) -> dict[str, Any]:
    """A policy of the same name is replaced. The sizes of all of them together are bounded."""
    entity = kind.asked(call, params)
    name, document = params["PolicyName"], params["PolicyDocument"]
    documents.require_identity_policy(document)
    with call.change():
        entity = kind.locked(entity)
        policy = entity.inline_policies.filter(name__iexact=name).first() or InlinePolicy(name=name)
        setattr(policy, kind.noun, entity)
        policy.document = document
        policy.save()
        if sum(documents.size(found.document) for found in entity.inline_policies.all()) > kind.most_inline:
            raise LimitExceededException(
                f"Maximum policy size of {kind.most_inline} bytes exceeded for {kind.noun} {kind.name_of(entity)}"
            )
    return {}


@operation("iam:GetUserPolicy", read_only=True)
def get_user_policy(call: Call, params: dict[str, Any]) -> dict[str, Any]:
    """https://docs.aws.amazon.com/IAM/latest/APIReference/API_GetUserPolicy.html"""
    return _get(call, USER, params)


@operation("iam:GetGroupPolicy", read_only=True)
def get_group_policy(call: Call, params: dict[str, Any]) -> dict[str, Any]:
    """https://docs.aws.amazon.com/IAM/latest/APIReference/API_GetGroupPolicy.html"""
    return _get(call, GROUP, params)


@operation("iam:GetRolePolicy", read_only=True)
def get_role_policy(call: Call, params: dict[str, Any]) -> dict[str, Any]:
    """https://docs.aws.amazon.com/IAM/latest/APIReference/API_GetRolePolicy.html"""
    return _get(call, ROLE, params)


def _get(call: Call, kind: Kind[Entity], params: dict[str, Any]) -> dict[str, Any]:
    entity = kind.asked(call, params)
    policy = _of(kind, entity, params["PolicyName"])
    return {
        f"{kind.title}Name": kind.name_of(entity),
        "PolicyName": policy.name,
        "PolicyDocument": documents.encoded(policy.document),
    }


@operation("iam:ListUserPolicies", read_only=True)
def list_user_policies(call: Call, params: dict[str, Any]) -> dict[str, Any]:
    """https://docs.aws.amazon.com/IAM/latest/APIReference/API_ListUserPolicies.html"""
    return _list(call, USER, params)


@operation("iam:ListGroupPolicies", read_only=True)
def list_group_policies(call: Call, params: dict[str, Any]) -> dict[str, Any]:
    """https://docs.aws.amazon.com/IAM/latest/APIReference/API_ListGroupPolicies.html"""
    return _list(call, GROUP, params)


@operation("iam:ListRolePolicies", read_only=True)
def list_role_policies(call: Call, params: dict[str, Any]) -> dict[str, Any]:
    """https://docs.aws.amazon.com/IAM/latest/APIReference/API_ListRolePolicies.html"""
    return _list(call, ROLE, params)


def _list(call: Call, kind: Kind[Entity], params: dict[str, Any]) -> dict[str, Any]:
    entity = kind.asked(call, params)
    rows = entity.inline_policies.all()
    of = kind.unique_id(entity)
    return lists.answer(call, params, "PolicyNames", rows, lambda policy: policy.name, by="name", of=of)


@operation("iam:DeleteUserPolicy")
def delete_user_policy(call: Call, params: dict[str, Any]) -> dict[str, Any]:
    """https://docs.aws.amazon.com/IAM/latest/APIReference/API_DeleteUserPolicy.html"""
    return _delete(call, USER, params)


@operation("iam:DeleteGroupPolicy")
def delete_group_policy(call: Call, params: dict[str, Any]) -> dict[str, Any]:
    """https://docs.aws.amazon.com/IAM/latest/APIReference/API_DeleteGroupPolicy.html"""
    return _delete(call, GROUP, params)


@operation("iam:DeleteRolePolicy")
def delete_role_policy(call: Call, params: dict[str, Any]) -> dict[str, Any]:
    """https://docs.aws.amazon.com/IAM/latest/APIReference/API_DeleteRolePolicy.html"""
    return _delete(call, ROLE, params)


def _delete(call: Call, kind: Kind[Entity], params: dict[str, Any]) -> dict[str, Any]:
    entity = kind.asked(call, params)
    with call.change():
        _of(kind, entity, params["PolicyName"]).delete()
    return {}


def _of(kind: Kind[Entity], entity: Entity, name: str) -> InlinePolicy:
    policy = entity.inline_policies.filter(name__iexact=name).first()
    if policy is None:
        raise NoSuchEntityException(f"The {kind.noun} policy with name {name} cannot be found.")
    return policy
