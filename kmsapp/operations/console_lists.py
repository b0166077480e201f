"""What the browser's pages list: KMS's own answers, joined with what the pages show beside them.

Not reachable on the wire. Each asks access.py for the KMS actions that AWS's console would call.
"""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.db.models import Count, F, Min, Q, QuerySet

from hsmapp import cloudhsm_api, cluster
from hsmapp.models import Cluster
from hsmapp.states import ClusterState
from kmsapp import access, key_states
from kmsapp.call import Call
from kmsapp.iam import principals
from kmsapp.models import Alias, CustomKeyStore, KmsKey, Role, Tag, User
from kmsapp.models.key_stores import ConnectionState
from kmsapp.operations import key_stores, tags
from kmsapp.operations.key_deletion import held_because
from kmsapp.operations.keys import key_metadata, row_of
from kmsapp.registry import operation

PAGE_SIZE = 10
LARGEST_PAGE = 100
_SORTS = {
    "alias": "first_alias",
    "key_id": "key_id",
    "status": "key_state",
    "key_spec": "key_spec",
    "key_usage": "key_usage",
    "creation_date": "created_at",
    "origin": "origin",
    "custom_key_store_id": "custom_key_store__custom_key_store_id",
    "custom_key_store_name": "custom_key_store__name",
    "description": "description",
}


@operation("console:ListKeys", read_only=True, recorded_as="kms:ListKeys")
def list_keys(call: Call, params: dict[str, Any]) -> dict[str, Any]:
    """One page of Customer managed keys.

    Text: part of an alias, key id, status, or key store id or name. Sort: a name in _SORTS. Page: from 1.
    """
    access.account(call, "kms:ListKeys")
    rows = _matching(call, str(params.get("Text") or "").strip())
    total = rows.count()
    size = max(1, min(int(params.get("PageSize") or PAGE_SIZE), LARGEST_PAGE))
    start = (max(1, int(params.get("Page") or 1)) - 1) * size
    page = list(_sorted(rows, params)[start : start + size])
    names = _alias_names(page)
    return {"Keys": [_list_entry(key, names.get(key.pk, [])) for key in page], "Total": total}


def _matching(call: Call, text: str) -> QuerySet[KmsKey]:
    rows = KmsKey.objects.filter(account=call.caller.account, region=call.caller.region)
    if not text:
        return rows
    by_alias = Alias.objects.filter(
        account=call.caller.account, region=call.caller.region, name__icontains=text.removeprefix("alias/")
    ).values("key_id")
    found = Q(pk__in=by_alias) | Q(key_id__icontains=text) | Q(description__icontains=text)
    found |= Q(custom_key_store__custom_key_store_id__icontains=text) | Q(custom_key_store__name__icontains=text)
    return rows.filter(found | _status_matches(text))


def _status_matches(text: str) -> Q:
    """Keys whose shown state has the text in it, such as "pending deletion" or "unavail"."""
    wanted = text.replace(" ", "").lower()
    connected = Q(custom_key_store__isnull=True) | Q(custom_key_store__connection_state=ConnectionState.CONNECTED)
    found = Q(pk__in=[])
    for state in KmsKey.State.values:
        for is_connected, rows in ((True, connected), (False, ~connected)):
            if wanted in key_states.shown(state, store_connected=is_connected).lower():
                found |= Q(key_state=state) & rows
    return found


def _sorted(rows: QuerySet[KmsKey], params: dict[str, Any]) -> QuerySet[KmsKey]:
    name = str(params.get("Sort") or "creation_date")
    field = _SORTS.get(name, "created_at")
    descending = bool(params.get("Descending")) if name in _SORTS and params.get("Sort") else True
    if field == "first_alias":
        rows = rows.annotate(first_alias=Min("aliases__name"))
    order = F(field).desc(nulls_last=True) if descending else F(field).asc(nulls_last=True)
    return rows.select_related("custom_key_store__cluster").order_by(order, "key_id")


def _alias_names(page: list[KmsKey]) -> dict[int, list[str]]:
    names: dict[int, list[str]] = {}
    for key_pk, name in Alias.objects.filter(key__in=page).order_by("name").values_list("key_id", "name"):
        names.setdefault(key_pk, []).append(name.removeprefix("alias/"))
    return names


def _list_entry(key: KmsKey, aliases: list[str]) -> dict[str, Any]:
    name = key.custom_key_store.name if key.custom_key_store is not None else ""
    return {**key_metadata(key), "Aliases": aliases, "CustomKeyStoreName": name}


@operation("console:DescribeKey", read_only=True, recorded_as="kms:DescribeKey")
def describe_key(call: Call, params: dict[str, Any]) -> dict[str, Any]:
    """Everything of a key's page that the caller may see.

    Denied: for each of Aliases, Tags and Policy that they may not, AWS's sentence; it is empty in the answer then.
    DeletionHeldBecause: why its deletion, which is due, waits for a confirmation; empty if it does not.
    """
    call.audit_parameters["keyId"] = params["KeyId"]
    found = access.key(call, params["KeyId"], "kms:DescribeKey")
    refusals = {
        "Aliases": access.refusal_for_account(call, "kms:ListAliases"),
        "Tags": access.refusal(call, found, "kms:ListResourceTags"),
        "Policy": access.refusal(call, found, "kms:GetKeyPolicy"),
    }
    denied = {part: refusal for part, refusal in refusals.items() if refusal}
    key = row_of(found)
    store = key.custom_key_store
    aliases = [] if "Aliases" in denied else key.aliases.order_by("name")
    tag_rows = [] if "Tags" in denied else Tag.objects.filter(key=key).order_by("tag_key")
    return {
        "KeyMetadata": key_metadata(key),
        "Aliases": [
            {"AliasName": alias.name, "AliasArn": alias.arn, "CreationDate": alias.created_at} for alias in aliases
        ],
        "Tags": [tags.entry(tag) for tag in tag_rows],
        "Policy": "" if "Policy" in denied else principals.shown(found.policy, found.policy_principals),
        "Denied": denied,
        "CustomKeyStore": key_stores.entry(store) if store is not None else None,
        "DeletionHeldBecause": held_because(key),
        "BackingKeyId": key.material.backing_key_id if key.material is not None else "",
    }


@operation("console:ListKeyStores", read_only=True, recorded_as="kms:DescribeCustomKeyStores")
def list_key_stores(call: Call, params: dict[str, Any]) -> dict[str, Any]:
    """The key stores of the account and Region, each with what its cluster has and whether a key can be made in it."""
    access.account(call, "kms:DescribeCustomKeyStores")
    access.account(call, "cloudhsm:DescribeClusters")
    rows = (
        CustomKeyStore.objects.select_related("cluster")
        .filter(account=call.caller.account, region=call.caller.region)
        .annotate(key_count=Count("keys"))
        .order_by("name")
    )
    return {"CustomKeyStores": [_store_entry(store) for store in rows]}


def _store_entry(store: CustomKeyStore) -> dict[str, Any]:
    hsms = cluster.active_hsms(store.cluster.account, store.cluster.pk)
    zones = sorted({zone for _, zone in hsms})
    return {
        **key_stores.entry(store),
        "ActiveHsms": len(hsms),
        "AvailabilityZones": zones,
        "ClusterState": store.cluster.state,
        "KeyCount": getattr(store, "key_count", 0),
        "NotUsableBecause": _not_usable_because(store, len(hsms), len(zones)),
    }


def _not_usable_because(store: CustomKeyStore, active: int, zones: int) -> str:
    """Why no key can be made in the store right now; empty when one can."""
    needed = settings.MIN_ACTIVE_HSMS
    if not store.is_connected:
        how = key_stores.HOW_TO_CONNECT[store.connection_state]
        return f"Its connection state is {store.connection_state}. {how}"
    if store.cluster.state != ClusterState.ACTIVE:
        return f"Its cluster is {store.cluster.state}, not ACTIVE."
    if active < needed:
        return f"{active} of {needed} required active HSMs. Add an HSM in another Availability Zone."
    if zones < needed:
        return f"Its active HSMs are in {zones} of {needed} required Availability Zones. Add an HSM in another one."
    return ""


@operation("console:ListClusters", read_only=True, recorded_as="cloudhsm:DescribeClusters")
def list_clusters(call: Call, params: dict[str, Any]) -> dict[str, Any]:
    """The clusters of the account and Region with their HSMs, key count and capacity."""
    access.account(call, "cloudhsm:DescribeClusters")
    rows = (
        Cluster.objects.prefetch_related("hsms", "key_stores")
        .filter(account=call.caller.account, region=call.caller.region, state__in=cloudhsm_api.LISTED)
        .annotate(key_count=Count("masked_keys"))
        .order_by("cluster_id")
    )
    return {"Clusters": [_cluster_entry(row) for row in rows]}


def _cluster_entry(row: Cluster) -> dict[str, Any]:
    stores = [store.custom_key_store_id for store in row.key_stores.all()]
    return {
        **cloudhsm_api.cluster_entry(row),
        "KeyCount": getattr(row, "key_count", 0),
        "Capacity": row.capacity,
        "CustomKeyStoreId": stores[0] if stores else "",
    }


@operation("console:ListPrincipals", read_only=True, recorded_as="iam:ListUsers")
def list_principals(call: Call, params: dict[str, Any]) -> dict[str, Any]:
    """The users and roles of the account, for the wizard's tables."""
    access.account(call, "iam:ListUsers")
    access.account(call, "iam:ListRoles")
    users = User.objects.filter(account_id=call.caller.account, is_active=True, is_root=False)
    roles = Role.objects.filter(account_id=call.caller.account)
    people = [{"Name": user.user_name, "Path": user.path, "Type": "User", "Arn": user.arn} for user in users]
    people += [{"Name": role.name, "Path": role.path, "Type": "Role", "Arn": role.arn} for role in roles]
    return {"Principals": sorted(people, key=lambda person: (person["Name"].lower(), person["Type"]))}
