"""CreateRole, GetRole, ListRoles, UpdateRole, UpdateAssumeRolePolicy, DeleteRole, and tags of roles.

A trust policy is answered with the principals that there are: one that was deleted, or deleted and made again, shows as
the unique id that it had (principals.py).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hsmapp import clock
from kmsapp import access, ids
from kmsapp.call import Call
from kmsapp.iam import boundaries, documents, lists, principals, recording, tag_rules
from kmsapp.iam.entities import ROLE, boundary_entry
from kmsapp.models import Role
from kmsapp.registry import operation

DEFAULT_SESSION_SECONDS = 3600


def entry(role: Role, current: Mapping[str, str] | None = None) -> dict[str, Any]:
    """https://docs.aws.amazon.com/IAM/latest/APIReference/API_Role.html as lists have it: without tags and boundary.

    current: the ARNs of the principals of many roles, looked up at once.
    """
    trust = principals.shown(role.trust_policy, role.trust_principals, current=current)
    return {
        "Path": role.path,
        "RoleName": role.name,
        "RoleId": role.role_id,
        "Arn": role.arn,
        "CreateDate": role.created_at,
        "AssumeRolePolicyDocument": documents.encoded(trust),
        "Description": role.description or None,
        "MaxSessionDuration": role.max_session_seconds,
    }


def full_entry(role: Role) -> dict[str, Any]:
    return {
        **entry(role),
        "PermissionsBoundary": boundary_entry(role.permissions_boundary),
        "Tags": tag_rules.entries(role.tags),
    }


def principals_of(roles: list[Role]) -> dict[str, str]:
    """The ARNs that the principals of these roles have now, by unique id."""
    return principals.current_arns(found for role in roles for found in role.trust_principals.values())


@operation("iam:CreateRole")
def create_role(call: Call, params: dict[str, Any], *, role_id: str = "") -> dict[str, Any]:
    """https://docs.aws.amazon.com/IAM/latest/APIReference/API_CreateRole.html"""
    recording.note(call, params)
    name, path, boundary_arn = params["RoleName"], params.get("Path") or "/", params.get("PermissionsBoundary")
    context = boundaries.requested(boundary_arn)
    access.account(call, "iam:CreateRole", resource=ROLE.arn(call, path, name), context=context)
    boundary, tags = boundaries.find(call, boundary_arn), tag_rules.with_tags({}, params.get("Tags"))
    trust = params["AssumeRolePolicyDocument"]
    trusted = documents.require_trust_policy(trust)
    response: dict[str, Any] = {}
    with call.change(response), ROLE.unique(name):
        ROLE.require_room(call)
        role = Role.objects.create(
            account_id=call.caller.account,
            name=name,
            path=path,
            role_id=role_id or ids.new_role_id(),
            description=params.get("Description") or "",
            trust_policy=trust,
            trust_principals=trusted,
            max_session_seconds=params.get("MaxSessionDuration") or DEFAULT_SESSION_SECONDS,
            permissions_boundary=boundary,
            tags=tags,
            created_at=clock.now(),
        )
        answer = {"Role": full_entry(role)}
        response.update(recording.response(call, answer))
    return answer


@operation("iam:GetRole", read_only=True)
def get_role(call: Call, params: dict[str, Any]) -> dict[str, Any]:
    """https://docs.aws.amazon.com/IAM/latest/APIReference/API_GetRole.html"""
    return {"Role": {**full_entry(ROLE.asked(call, params)), "RoleLastUsed": {}}}


@operation("iam:ListRoles", read_only=True)
def list_roles(call: Call, params: dict[str, Any]) -> dict[str, Any]:
    """https://docs.aws.amazon.com/IAM/latest/APIReference/API_ListRoles.html"""
    recording.note(call, params)
    prefix = params.get("PathPrefix") or "/"
    access.account(call, "iam:ListRoles", resource=ROLE.arn(call, prefix, ""))
    rows = Role.objects.filter(account_id=call.caller.account, path__startswith=prefix)
    page = lists.answer(call, params, "Roles", rows, lambda role: role, by="name", of=prefix)
    current = principals_of(page["Roles"])
    return {**page, "Roles": [entry(role, current) for role in page["Roles"]]}


@operation("iam:UpdateRole")
def update_role(call: Call, params: dict[str, Any]) -> dict[str, Any]:
    """Description and longest session: what is not given goes back to its default, as in AWS.

    https://docs.aws.amazon.com/IAM/latest/APIReference/API_UpdateRole.html
    """
    role = ROLE.asked(call, params)
    with call.change():
        if params.get("Description") is not None:
            role.description = params["Description"]
        role.max_session_seconds = params.get("MaxSessionDuration") or DEFAULT_SESSION_SECONDS
        role.save(update_fields=["description", "max_session_seconds"])
    return {}


@operation("iam:UpdateRoleDescription")
def update_role_description(call: Call, params: dict[str, Any]) -> dict[str, Any]:
    """https://docs.aws.amazon.com/IAM/latest/APIReference/API_UpdateRoleDescription.html"""
    role = ROLE.asked(call, params)
    with call.change():
        role.description = params["Description"]
        role.save(update_fields=["description"])
    return {"Role": full_entry(role)}


@operation("iam:UpdateAssumeRolePolicy")
def update_assume_role_policy(call: Call, params: dict[str, Any]) -> dict[str, Any]:
    """https://docs.aws.amazon.com/IAM/latest/APIReference/API_UpdateAssumeRolePolicy.html"""
    role = ROLE.asked(call, params)
    trusted = documents.require_trust_policy(params["PolicyDocument"])
    with call.change():
        role.trust_policy, role.trust_principals = params["PolicyDocument"], trusted
        role.save(update_fields=["trust_policy", "trust_principals"])
    return {}


@operation("iam:DeleteRole")
def delete_role(call: Call, params: dict[str, Any]) -> dict[str, Any]:
    """Its policies must be taken away before; its sessions end with it.

    https://docs.aws.amazon.com/IAM/latest/APIReference/API_DeleteRole.html
    """
    role = ROLE.asked(call, params)
    with call.change():
        role = ROLE.locked(role)
        ROLE.require_bare(role)
        role.delete()
    return {}


@operation("iam:ListInstanceProfilesForRole", read_only=True)
def list_instance_profiles_for_role(call: Call, params: dict[str, Any]) -> dict[str, Any]:
    """There are none here; tools ask before they delete a role.

    https://docs.aws.amazon.com/IAM/latest/APIReference/API_ListInstanceProfilesForRole.html
    """
    ROLE.asked(call, params)
    return {"InstanceProfiles": [], "IsTruncated": False}
