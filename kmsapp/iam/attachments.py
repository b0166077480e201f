"""Attach, Detach and ListAttached {User,Group,Role} Polic{y,ies}.

https://docs.aws.amazon.com/IAM/latest/UserGuide/access_policies_manage-attach-detach.html
"""

from __future__ import annotations

from typing import Any

from kmsapp.call import Call
from kmsapp.errors import LimitExceededException, NoSuchEntityException
from kmsapp.iam import lists, managed_policies
from kmsapp.iam.entities import GROUP, ROLE, USER, Entity, Kind
from kmsapp.models import ManagedPolicy
from kmsapp.registry import operation

MOST_ATTACHED = 10


def entry(policy: ManagedPolicy) -> dict[str, Any]:
    """https://docs.aws.amazon.com/IAM/latest/APIReference/API_AttachedPolicy.html"""
    return {"PolicyName": policy.name, "PolicyArn": policy.arn}


@operation("iam:AttachUserPolicy")
def attach_user_policy(call: Call, params: dict[str, Any]) -> dict[str, Any]:
    """https://docs.aws.amazon.com/IAM/latest/APIReference/API_AttachUserPolicy.html"""
    return _attach(call, USER, params)


@operation("iam:AttachGroupPolicy")
def attach_group_policy(call: Call, params: dict[str, Any]) -> dict[str, Any]:
    """https://docs.aws.amazon.com/IAM/latest/APIReference/API_AttachGroupPolicy.html"""
    return _attach(call, GROUP, params)


@operation("iam:AttachRolePolicy")
def attach_role_policy(call: Call, params: dict[str, Any]) -> dict[str, Any]:
    """https://docs.aws.amazon.com/IAM/latest/APIReference/API_AttachRolePolicy.html"""
    return _attach(call, ROLE, params)


def _attach(call: Call, kind: Kind[Entity], params: dict[str, Any]) -> dict[str, Any]:
    """Attaching once more changes nothing."""
    arn = params["PolicyArn"]
    entity = kind.asked(call, params, {"iam:PolicyARN": arn})
    policy = managed_policies.named(call, arn)
    if policy is None:
        raise NoSuchEntityException(f"Policy {arn} does not exist or is not attachable.")
    with call.change():
        managed_policies.locked(policy)
        kind.locked(entity).managed_policies.add(policy)
        if entity.managed_policies.count() > MOST_ATTACHED:
            raise LimitExceededException(f"Cannot exceed quota for PoliciesPer{kind.title}: {MOST_ATTACHED}")
    return {}


@operation("iam:DetachUserPolicy")
def detach_user_policy(call: Call, params: dict[str, Any]) -> dict[str, Any]:
    """https://docs.aws.amazon.com/IAM/latest/APIReference/API_DetachUserPolicy.html"""
    return _detach(call, USER, params)


@operation("iam:DetachGroupPolicy")
def detach_group_policy(call: Call, params: dict[str, Any]) -> dict[str, Any]:
    """https://docs.aws.amazon.com/IAM/latest/APIReference/API_DetachGroupPolicy.html"""
    return _detach(call, GROUP, params)


@operation("iam:DetachRolePolicy")
def detach_role_policy(call: Call, params: dict[str, Any]) -> dict[str, Any]:
    """https://docs.aws.amazon.com/IAM/latest/APIReference/API_DetachRolePolicy.html"""
    return _detach(call, ROLE, params)


def _detach(call: Call, kind: Kind[Entity], params: dict[str, Any]) -> dict[str, Any]:
    arn = params["PolicyArn"]
    entity = kind.asked(call, params, {"iam:PolicyARN": arn})
    policy = managed_policies.named(call, arn)
    if policy is None or not entity.managed_policies.filter(pk=policy.pk).exists():
        raise NoSuchEntityException(f"Policy {arn} was not found.")
    with call.change():
        entity.managed_policies.remove(policy)
    return {}


@operation("iam:ListAttachedUserPolicies", read_only=True)
def list_attached_user_policies(call: Call, params: dict[str, Any]) -> dict[str, Any]:
    """https://docs.aws.amazon.com/IAM/latest/APIReference/API_ListAttachedUserPolicies.html"""
    return _list(call, USER, params)


@operation("iam:ListAttachedGroupPolicies", read_only=True)
def list_attached_group_policies(call: Call, params: dict[str, Any]) -> dict[str, Any]:
    """https://docs.aws.amazon.com/IAM/latest/APIReference/API_ListAttachedGroupPolicies.html"""
    return _list(call, GROUP, params)


@operation("iam:ListAttachedRolePolicies", read_only=True)
def list_attached_role_policies(call: Call, params: dict[str, Any]) -> dict[str, Any]:
    """https://docs.aws.amazon.com/IAM/latest/APIReference/API_ListAttachedRolePolicies.html"""
    return _list(call, ROLE, params)


def _list(call: Call, kind: Kind[Entity], params: dict[str, Any]) -> dict[str, Any]:
    entity = kind.asked(call, params)
    prefix = params.get("PathPrefix") or "/"
    rows = entity.managed_policies.filter(path__startswith=prefix)
    of = f"{kind.unique_id(entity)} {prefix}"
    return lists.answer(call, params, "AttachedPolicies", rows, entry, by="policy_id", of=of)
