"""Deleting a user, a role, a group or a policy as AWS's console does: with what it still has.

IAM refuses to delete what has something left. The console takes that away before, each by a call of its own.
https://docs.aws.amazon.com/IAM/latest/UserGuide/id_users_remove.html
https://docs.aws.amazon.com/IAM/latest/UserGuide/id_groups_manage_delete.html
https://docs.aws.amazon.com/IAM/latest/UserGuide/id_roles_manage_delete.html
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from console.identities import GROUP, KINDS, ROLE, USER, Identities, Kind
from kmsapp.errors import DeleteConflictException


@dataclass(frozen=True)
class Belonging:
    """What goes before the thing itself can go."""

    words: str
    operation: str  # that takes it away
    params: dict[str, Any]


def delete(
    iam: Identities,
    operation: str,
    params: dict[str, Any],
    belongings: Callable[[Identities], list[Belonging]],
    gone: list[str],
) -> None:
    """Delete something, and what it still has before. Raises: KmsError; what is in `gone` by then stays away.

    The deletion is tried first: who may not delete the thing takes nothing away from it.
    """
    try:
        iam.ask(operation, **params)
    except DeleteConflictException:
        for belonging in belongings(iam):
            iam.ask(belonging.operation, **belonging.params)
            gone.append(belonging.words)
        iam.ask(operation, **params)


def of_identity(iam: Identities, kind: Kind, name: str) -> list[Belonging]:
    """Raises: KmsError, where the person may not see all of it."""
    own = {USER: _of_user, ROLE: lambda *_: [], GROUP: _of_group}[kind](iam, name)
    return [*own, *_policies(iam, kind, name)]


def _of_user(iam: Identities, name: str) -> list[Belonging]:
    user = {"UserName": name}
    keys = [row["AccessKeyId"] for row in iam.all("ListAccessKeys", "AccessKeyMetadata", **user)]
    groups = [row["GroupName"] for row in iam.all("ListGroupsForUser", "Groups", **user)]
    password = [Belonging("The console password", "DeleteLoginProfile", user)] if iam.login_profile(name) else []
    return [
        *(Belonging(f"Access key {key}", "DeleteAccessKey", user | {"AccessKeyId": key}) for key in keys),
        *password,
        *(
            Belonging(f"Membership of group {group}", "RemoveUserFromGroup", user | {"GroupName": group})
            for group in groups
        ),
    ]


def _of_group(iam: Identities, name: str) -> list[Belonging]:
    users = [row["UserName"] for row in iam.all("GetGroup", "Users", GroupName=name)]
    return [
        Belonging(f"Membership of user {user}", "RemoveUserFromGroup", {"GroupName": name, "UserName": user})
        for user in users
    ]


def _policies(iam: Identities, kind: Kind, name: str) -> list[Belonging]:
    named = {kind.name: name}
    inline = iam.all(f"List{kind.title}Policies", "PolicyNames", **named)
    attached = iam.all(f"ListAttached{kind.title}Policies", "AttachedPolicies", **named)
    return [
        *(
            Belonging(f"Inline policy {policy}", f"Delete{kind.title}Policy", named | {"PolicyName": policy})
            for policy in inline
        ),
        *(
            Belonging(
                f"Attachment of policy {policy['PolicyName']}",
                f"Detach{kind.title}Policy",
                named | {"PolicyArn": policy["PolicyArn"]},
            )
            for policy in attached
        ),
    ]


def of_policy(iam: Identities, arn: str) -> list[Belonging]:
    """Its attachments and older versions.

    Raises: KmsError; DeleteConflictException where it is a permissions boundary, without which more would be allowed
    than before.
    """
    if bounded := _using(iam, arn, "PermissionsBoundary"):
        whose = ", ".join(f"{kind.noun} {name}" for kind, name in bounded)
        raise DeleteConflictException(
            f"The policy is the permissions boundary of {whose}. Remove or change it there first."
        )
    versions = iam.all("ListPolicyVersions", "Versions", PolicyArn=arn)
    attachments = [
        Belonging(f"Attachment to {kind.noun} {name}", f"Detach{kind.title}Policy", {kind.name: name, "PolicyArn": arn})
        for kind, name in _using(iam, arn, "PermissionsPolicy")
    ]
    older = [version["VersionId"] for version in versions if not version["IsDefaultVersion"]]
    return [
        *attachments,
        *(Belonging(f"Version {one}", "DeletePolicyVersion", {"PolicyArn": arn, "VersionId": one}) for one in older),
    ]


def _using(iam: Identities, arn: str, usage: str) -> list[tuple[Kind, str]]:
    """Who has the policy: attached (PermissionsPolicy) or as a PermissionsBoundary."""
    return [
        (kind, row[kind.name])
        for kind in KINDS.values()
        for row in iam.all(
            "ListEntitiesForPolicy",
            f"Policy{kind.plural}",
            PolicyArn=arn,
            PolicyUsageFilter=usage,
            EntityFilter=kind.title,
        )
    ]
