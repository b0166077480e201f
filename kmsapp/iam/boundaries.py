"""Permissions boundaries: Put and Delete {User,Role} PermissionsBoundary.

https://docs.aws.amazon.com/IAM/latest/UserGuide/access_policies_boundaries.html
"""

from __future__ import annotations

from typing import Any

from kmsapp.call import Call
from kmsapp.errors import NoSuchEntityException
from kmsapp.iam import managed_policies
from kmsapp.iam.entities import ROLE, USER, Kind
from kmsapp.models import ManagedPolicy, Role, User
from kmsapp.registry import operation


def requested(boundary_arn: str | None) -> dict[str, str]:
    """Condition key of a request that names a boundary."""
    return {"iam:PermissionsBoundary": boundary_arn} if boundary_arn else {}


def find(call: Call, boundary_arn: str | None) -> ManagedPolicy | None:
    """The policy that a request wants as a boundary, if it wants one. Raises NoSuchEntityException."""
    if boundary_arn is None:
        return None
    policy = managed_policies.named(call, boundary_arn)
    if policy is None:
        raise NoSuchEntityException(f"Scope ARN: {boundary_arn} does not exist or is not attachable.")
    return policy


@operation("iam:PutUserPermissionsBoundary")
def put_user_permissions_boundary(call: Call, params: dict[str, Any]) -> dict[str, Any]:
    """https://docs.aws.amazon.com/IAM/latest/APIReference/API_PutUserPermissionsBoundary.html"""
    return _put(call, USER, params)


@operation("iam:PutRolePermissionsBoundary")
def put_role_permissions_boundary(call: Call, params: dict[str, Any]) -> dict[str, Any]:
    """https://docs.aws.amazon.com/IAM/latest/APIReference/API_PutRolePermissionsBoundary.html"""
    return _put(call, ROLE, params)


@operation("iam:DeleteUserPermissionsBoundary")
def delete_user_permissions_boundary(call: Call, params: dict[str, Any]) -> dict[str, Any]:
    """https://docs.aws.amazon.com/IAM/latest/APIReference/API_DeleteUserPermissionsBoundary.html"""
    return _delete(call, USER, params)


@operation("iam:DeleteRolePermissionsBoundary")
def delete_role_permissions_boundary(call: Call, params: dict[str, Any]) -> dict[str, Any]:
    """https://docs.aws.amazon.com/IAM/latest/APIReference/API_DeleteRolePermissionsBoundary.html"""
    return _delete(call, ROLE, params)


def _put(call: Call, kind: Kind[User] | Kind[Role], params: dict[str, Any]) -> dict[str, Any]:
    boundary_arn = params["PermissionsBoundary"]
    entity = kind.asked(call, params, requested(boundary_arn))
    with call.change():
        entity.permissions_boundary = find(call, boundary_arn)
        entity.save(update_fields=["permissions_boundary"])
    return {}


def _delete(call: Call, kind: Kind[User] | Kind[Role], params: dict[str, Any]) -> dict[str, Any]:
    entity = kind.asked(call, params)
    if entity.permissions_boundary is None:
        name = params[f"{kind.title}Name"]
        raise NoSuchEntityException(f"{kind.title} {name} does not have a permission boundary.")
    with call.change():
        entity.permissions_boundary = None
        entity.save(update_fields=["permissions_boundary"])
    return {}
