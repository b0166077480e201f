"""What an installation has, as data: rows with their relations by name, without what is drawn, sealed or a time."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.db.models import Model

from hsmapp.models import Cluster, ClusterCredential, Hsm, MaskedKey
from kmsapp.models import Account, Alias, CustomKeyStore, Grant, Group, InlinePolicy, KmsKey, ManagedPolicy, Role, User
from kmsapp.models.policies import AWS

Rows = dict[str, list[dict[str, Any]]]

# Kind of row -> the columns to show; a dot goes to another row's.
COLUMNS = {
    Account: ("account_id", "name"),
    ManagedPolicy: ("arn", "description", "tags"),
    Group: ("arn", "group_id"),
    User: ("arn", "user_id", "is_active", "is_staff", "is_root", "tags", "permissions_boundary.arn", "has_password"),
    Role: (
        "arn",
        "role_id",
        "description",
        "trust_policy",
        "trust_principals",
        "max_session_seconds",
        "tags",
        "permissions_boundary.arn",
    ),
    InlinePolicy: ("owner.arn", "name", "document"),
    Cluster: (
        "cluster_id",
        "account",
        "region",
        "state",
        "hsm_type",
        "mode",
        "vpc_id",
        "security_group",
        "subnet_mapping",
    ),
    Hsm: ("hsm_id", "cluster.cluster_id", "availability_zone", "subnet_id", "eni_id", "eni_ip", "state"),
    ClusterCredential: ("cluster.cluster_id", "user_name", "role", "connected"),
    CustomKeyStore: ("custom_key_store_id", "account", "region", "name", "cluster.cluster_id", "connection_state"),
    MaskedKey: ("label", "owner", "cluster.cluster_id"),
    KmsKey: (
        "arn",
        "description",
        "key_state",
        "key_spec",
        "key_usage",
        "origin",
        "multi_region",
        "custom_key_store.name",
        "material.label",
        "policy",
        "policy_principals",
    ),
    Alias: ("arn", "key.key_id"),
    Grant: ("key.arn", "name", "grantee_principal", "grantee_id", "retiring_principal", "operations", "constraints"),
}
DRAWN = {"group_id"}


def rows(*, without: Iterable[str] = DRAWN) -> Rows:
    """Every row of the kinds above, sorted, by the kind's name; who has which policies, and who is in which group."""
    found: Rows = {}
    for kind, columns in COLUMNS.items():
        shown = [name for name in columns if name not in without]
        found[kind.__name__] = _sorted({name: _value(row, name) for name in shown} for row in _of(kind))
    owners: list[User | Group | Role] = [*User.objects.all(), *Group.objects.all(), *Role.objects.all()]
    found["attached"] = _sorted(
        {"to": own.arn, "policy": one.arn} for own in owners for one in own.managed_policies.all()
    )
    found["members"] = _sorted(
        {"group": one.arn, "user": who.arn} for one in Group.objects.all() for who in one.users.all()
    )
    found["access keys"] = _sorted({"of": who.arn, "number": who.access_keys.count()} for who in User.objects.all())
    return found


def _of(kind: type[Model]) -> Iterable[Any]:
    every = kind._default_manager.all()
    return every.exclude(account=AWS) if kind is ManagedPolicy else every


def _value(row: Any, name: str) -> Any:
    if name == "has_password":
        return row.has_usable_password()
    for part in name.split("."):
        row = getattr(row, part) if row is not None else None
    return row


def _sorted(found: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    return sorted(found, key=str)
