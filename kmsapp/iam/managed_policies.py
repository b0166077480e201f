"""CreatePolicy, GetPolicy, ListPolicies, DeletePolicy, ListEntitiesForPolicy, and tags of policies.

AWS managed policies are every account's to attach and nobody's to change. How often a policy is attached is counted in
the caller's account.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django.db import IntegrityError, models, transaction
from django.db.models import Q

from hsmapp import clock
from kmsapp import access, ids
from kmsapp.call import Call
from kmsapp.errors import (
    AccessDeniedException,
    DeleteConflictException,
    EntityAlreadyExistsException,
    InvalidInputException,
    NoSuchEntityException,
)
from kmsapp.iam import documents, lists, recording, tag_rules
from kmsapp.iam.entities import GROUP, ROLE, USER, Context, Kind, require_room, resource_tags
from kmsapp.models import ManagedPolicy, PolicyVersion
from kmsapp.models.policies import AWS
from kmsapp.registry import operation

MOST_POLICIES = 1500
_KINDS: tuple[Kind[Any], ...] = (GROUP, ROLE, USER)


# Finding one


def named(call: Call, policy_arn: str) -> ManagedPolicy | None:
    """The policy of the caller's account, or AWS's, that has the ARN. Raises InvalidInputException for no ARN."""
    parts = policy_arn.split(":", 5)
    if len(parts) != 6 or parts[:4] != ["arn", "aws", "iam", ""] or not parts[5].startswith("policy/"):
        raise InvalidInputException(f"ARN {policy_arn} is not valid.")
    path, _, name = parts[5].removeprefix("policy").rpartition("/")
    if parts[4] not in (call.caller.account, AWS):
        return None
    return ManagedPolicy.objects.filter(account=parts[4], path=f"{path}/", name=name).first()


def find(call: Call, action: str, policy_arn: str, context: Context | None = None) -> ManagedPolicy:
    """The policy, once the caller may do the action to it.

    Raises: AccessDeniedException, NoSuchEntityException, InvalidInputException.
    """
    policy = named(call, policy_arn)
    tags = resource_tags(policy.tags) if policy else {}
    access.account(call, action, resource=policy_arn, context={**tags, **(context or {})})
    if policy is None:
        raise NoSuchEntityException(f"Policy {policy_arn} was not found.")
    return policy


def find_own(call: Call, action: str, policy_arn: str, context: Context | None = None) -> ManagedPolicy:
    """The same for an action that changes it, which nobody may with an AWS managed policy."""
    policy = find(call, action, policy_arn, context)
    if policy.account == AWS:
        raise AccessDeniedException(
            f"User: {call.caller.principal_arn} is not authorized to perform: {action} on resource: policy {policy_arn}"
        )
    return policy


def locked(policy: ManagedPolicy) -> ManagedPolicy:
    """The row as it is now, held until the end of the transaction. Raises NoSuchEntityException."""
    found = ManagedPolicy.objects.select_for_update().filter(pk=policy.pk).first()
    if found is None:
        raise NoSuchEntityException(f"Policy {policy.arn} was not found.")
    return found


# Showing one


def entry(policy: ManagedPolicy, account: str) -> dict[str, Any]:
    """https://docs.aws.amazon.com/IAM/latest/APIReference/API_Policy.html, as lists have it.

    account: whose attachments are counted.
    """
    (row,) = counted(ManagedPolicy.objects.filter(pk=policy.pk), account)
    return counted_entry(row)


def full_entry(policy: ManagedPolicy, account: str) -> dict[str, Any]:
    shown = entry(policy, account)
    return {**shown, "Description": policy.description or None, "Tags": tag_rules.entries(policy.tags)}


def counted(rows: models.QuerySet[ManagedPolicy], account: str) -> models.QuerySet[ManagedPolicy]:
    """The rows with what `counted_entry` shows of their attachments in the account and of their default version."""
    attached, bounded = _uses(account)
    default = PolicyVersion.objects.filter(policy=models.OuterRef("pk"), is_default=True)
    return rows.annotate(
        attachments=attached, boundary_uses=bounded, default_number=models.Subquery(default.values("number")[:1])
    )


def _uses(account: str) -> tuple[models.expressions.CombinedExpression, models.expressions.CombinedExpression]:
    """How many users, groups and roles of the account have a policy attached, and how many as their boundary."""

    def number(kind: Any, column: str) -> models.functions.Coalesce:
        rows = kind.model.objects.filter(**{"account_id": account, column: models.OuterRef("pk")})
        counts = rows.order_by().values(column).annotate(n=models.Count("pk"))
        return models.functions.Coalesce(models.Subquery(counts.values("n")), 0)

    attached = number(USER, "managed_policies") + number(GROUP, "managed_policies") + number(ROLE, "managed_policies")
    return attached, number(USER, "permissions_boundary") + number(ROLE, "permissions_boundary")


def counted_entry(policy: Any) -> dict[str, Any]:
    """The entry of a row of `counted`."""
    return {
        "PolicyName": policy.name,
        "PolicyId": policy.policy_id,
        "Arn": policy.arn,
        "Path": policy.path,
        "DefaultVersionId": f"v{policy.default_number}",
        "AttachmentCount": policy.attachments,
        "PermissionsBoundaryUsageCount": policy.boundary_uses,
        "IsAttachable": True,
        "CreateDate": policy.created_at,
        "UpdateDate": policy.updated_at,
    }


# Operations


@operation("iam:CreatePolicy")
def create_policy(call: Call, params: dict[str, Any], *, policy_id: str = "") -> dict[str, Any]:
    """https://docs.aws.amazon.com/IAM/latest/APIReference/API_CreatePolicy.html"""
    recording.note(call, params)
    account, name, path = call.caller.account, params["PolicyName"], params.get("Path") or "/"
    arn = f"arn:aws:iam::{account}:policy{path}{name}"
    access.account(call, "iam:CreatePolicy", resource=arn)
    documents.require_managed_policy(params["PolicyDocument"])
    tags, now = tag_rules.with_tags({}, params.get("Tags")), clock.now()
    response: dict[str, Any] = {}
    with call.change(response):
        require_room(call, ManagedPolicy.objects.filter(account=account), "Policy", MOST_POLICIES)
        policy = ManagedPolicy(
            policy_id=policy_id or ids.new_policy_id(),
            account=account,
            name=name,
            path=path,
            description=params.get("Description") or "",
            tags=tags,
            created_at=now,
            updated_at=now,
        )
        _save_unique(policy)
        PolicyVersion.objects.create(
            policy=policy, number=1, document=params["PolicyDocument"], is_default=True, created_at=now
        )
        answer = {"Policy": full_entry(policy, account)}
        response.update(recording.response(call, answer))
    return answer


def _save_unique(policy: ManagedPolicy) -> None:
    try:
        with transaction.atomic():
            policy.save()
    except IntegrityError as error:
        raise EntityAlreadyExistsException(
            f"A policy called {policy.name} already exists. Duplicate names are not allowed."
        ) from error


@operation("iam:GetPolicy", read_only=True)
def get_policy(call: Call, params: dict[str, Any]) -> dict[str, Any]:
    """https://docs.aws.amazon.com/IAM/latest/APIReference/API_GetPolicy.html"""
    recording.note(call, params)
    return {"Policy": full_entry(find(call, "iam:GetPolicy", params["PolicyArn"]), call.caller.account)}


@operation("iam:ListPolicies", read_only=True)
def list_policies(call: Call, params: dict[str, Any]) -> dict[str, Any]:
    """https://docs.aws.amazon.com/IAM/latest/APIReference/API_ListPolicies.html"""
    recording.note(call, params)
    access.account(call, "iam:ListPolicies")
    account, scope = call.caller.account, params.get("Scope") or "All"
    accounts = {"All": [account, AWS], "AWS": [AWS], "Local": [account]}[scope]
    prefix, usage = params.get("PathPrefix") or "/", params.get("PolicyUsageFilter") or ""
    rows = counted(ManagedPolicy.objects.filter(account__in=accounts, path__startswith=prefix), account)
    used = {
        "PermissionsPolicy": Q(attachments__gt=0),
        "PermissionsBoundary": Q(boundary_uses__gt=0),
        "": Q(attachments__gt=0) | Q(boundary_uses__gt=0),
    }[usage]
    if usage or params.get("OnlyAttached"):
        rows = rows.filter(used)
    of = f"{scope} {prefix} {usage} {bool(params.get('OnlyAttached'))}"
    return lists.answer(call, params, "Policies", rows, counted_entry, by="policy_id", of=of)


@operation("iam:DeletePolicy")
def delete_policy(call: Call, params: dict[str, Any]) -> dict[str, Any]:
    """With its default version; attachments and other versions must be gone before.

    https://docs.aws.amazon.com/IAM/latest/APIReference/API_DeletePolicy.html
    """
    recording.note(call, params)
    policy = find_own(call, "iam:DeletePolicy", params["PolicyArn"])
    with call.change():
        policy = locked(policy)
        if any(True for kind in _KINDS for _ in kind.model.objects.filter(_used_by(policy, kind.noun))[:1]):
            raise DeleteConflictException("Cannot delete a policy attached to entities.")
        if policy.versions.count() > 1:
            raise DeleteConflictException(
                "This policy has more than one version. Before you delete a policy, you must delete the policy's "
                "versions. The default version is deleted with the policy."
            )
        policy.delete()
    return {}


def _used_by(policy: ManagedPolicy, noun: str, usage: str = "") -> Q:
    """Condition of the users, groups or roles that have the policy attached, or as their boundary.

    usage: PermissionsPolicy, PermissionsBoundary, or empty for both.
    """
    attached, bounded = Q(managed_policies=policy), Q(pk__in=[])
    if noun != "group":
        bounded = Q(permissions_boundary=policy)
    return {"PermissionsPolicy": attached, "PermissionsBoundary": bounded}.get(usage, attached | bounded)


@operation("iam:ListEntitiesForPolicy", read_only=True)
def list_entities_for_policy(call: Call, params: dict[str, Any]) -> dict[str, Any]:
    """https://docs.aws.amazon.com/IAM/latest/APIReference/API_ListEntitiesForPolicy.html"""
    recording.note(call, params)
    policy = find(call, "iam:ListEntitiesForPolicy", params["PolicyArn"])
    wanted, prefix, usage = (params.get(name) or "" for name in ("EntityFilter", "PathPrefix", "PolicyUsageFilter"))
    of = f"{policy.policy_id} {wanted} {prefix} {usage}"
    found = _entities(call, policy, wanted, prefix or "/", usage)
    page, ending = lists.page_of(call, params, found, of=of)
    shown = {f"Policy{kind.title}s": [item for title, item in page if title == kind.title] for kind in _KINDS}
    return {**shown, **ending}


def _entities(
    call: Call, policy: ManagedPolicy, wanted: str, prefix: str, usage: str
) -> Iterator[tuple[str, tuple[str, dict[str, str]]]]:
    """What `lists.page_of` takes: kind and name, then the kind and the entry."""
    for kind in _KINDS:
        if wanted not in ("", kind.title):
            continue
        rows = kind.model.objects.filter(account_id=call.caller.account, path__startswith=prefix)
        for entity in rows.filter(_used_by(policy, kind.noun, usage)).distinct():
            shown = {f"{kind.title}Name": kind.name_of(entity), f"{kind.title}Id": kind.unique_id(entity)}
            yield f"{kind.title} {kind.name_of(entity)}", (kind.title, shown)


@operation("iam:TagPolicy")
def tag_policy(call: Call, params: dict[str, Any]) -> dict[str, Any]:
    """https://docs.aws.amazon.com/IAM/latest/APIReference/API_TagPolicy.html"""
    recording.note(call, params)
    policy = find_own(call, "iam:TagPolicy", params["PolicyArn"])
    with call.change():
        policy = locked(policy)
        policy.tags = tag_rules.with_tags(policy.tags, params["Tags"])
        policy.save(update_fields=["tags"])
    return {}


@operation("iam:UntagPolicy")
def untag_policy(call: Call, params: dict[str, Any]) -> dict[str, Any]:
    """https://docs.aws.amazon.com/IAM/latest/APIReference/API_UntagPolicy.html"""
    recording.note(call, params)
    policy = find_own(call, "iam:UntagPolicy", params["PolicyArn"])
    with call.change():
        policy = locked(policy)
        policy.tags = tag_rules.without_tags(policy.tags, params["TagKeys"])
        policy.save(update_fields=["tags"])
    return {}


@operation("iam:ListPolicyTags", read_only=True)
def list_policy_tags(call: Call, params: dict[str, Any]) -> dict[str, Any]:
    """https://docs.aws.amazon.com/IAM/latest/APIReference/API_ListPolicyTags.html"""
    recording.note(call, params)
    policy = find(call, "iam:ListPolicyTags", params["PolicyArn"])
    return lists.tags(call, params, policy.tags, of=policy.policy_id)
