"""The policies that a user, a group or a role has: inline and attached ones, for a user also those of the groups."""

from __future__ import annotations

from dataclasses import dataclass

from django.db.models import Q

from kmsapp.models import Group, InlinePolicy, ManagedPolicy, PolicyVersion, Role, User
from kmsapp.models.policies import AWS

_OWNERS = ("user", "group", "role")


@dataclass(frozen=True)
class Source:
    """A policy in force, and what it is."""

    name: str
    kind: str  # user, group, role: inline there; aws-managed, user-managed (IAM's PolicySourceType)
    document: str
    owner: str = ""  # name of whom an inline policy belongs to


def identity_sources(entity: User | Group | Role) -> list[Source]:
    """What decides what the entity may do, its boundary aside. A query or three."""
    inline, attached = _whose(entity)
    found = [_of_inline(policy) for policy in InlinePolicy.objects.filter(inline).select_related(*_OWNERS)]
    versions = PolicyVersion.objects.filter(
        is_default=True, policy__in=ManagedPolicy.objects.filter(attached).values("pk")
    )
    return found + [_of_version(version) for version in versions.select_related("policy")]


def boundary_source(entity: User | Group | Role) -> Source | None:
    """Its permissions boundary."""
    if isinstance(entity, Group) or entity.permissions_boundary_id is None:
        return None
    versions = PolicyVersion.objects.select_related("policy")
    return _of_version(versions.get(policy_id=entity.permissions_boundary_id, is_default=True))


def _whose(entity: User | Group | Role) -> tuple[Q, Q]:
    """Conditions of the inline and of the managed policies."""
    if isinstance(entity, User):
        groups = list(entity.groups.values_list("pk", flat=True))
        return Q(user=entity) | Q(group__in=groups), Q(users=entity) | Q(groups__in=groups)
    if isinstance(entity, Group):
        return Q(group=entity), Q(groups=entity)
    return Q(role=entity), Q(roles=entity)


def _of_inline(policy: InlinePolicy) -> Source:
    owner = policy.owner
    kind = next(kind for kind in _OWNERS if getattr(policy, kind) is not None)
    return Source(policy.name, kind, policy.document, owner.user_name if isinstance(owner, User) else owner.name)


def _of_version(version: PolicyVersion) -> Source:
    policy = version.policy
    return Source(policy.name, "aws-managed" if policy.account == AWS else "user-managed", version.document)
