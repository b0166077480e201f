"""What the browser's pages ask before a key store is made or changed. Not reachable on the wire."""

from __future__ import annotations

from typing import Any

from hsmapp import cloudhsm_api, cluster
from hsmapp.models import Cluster
from kmsapp import access
from kmsapp.call import Call
from kmsapp.models import CustomKeyStore
from kmsapp.operations import cluster_requirements, key_stores
from kmsapp.registry import operation


@operation("console:ListClustersToBind", read_only=True, recorded_as="cloudhsm:DescribeClusters")
def list_clusters_to_bind(call: Call, params: dict[str, Any]) -> dict[str, Any]:
    """The clusters of the account and Region, each with why it can't be chosen.

    CustomKeyStoreId: for this store, whose own cluster can always be chosen; left out: for a new store.
    """
    access.account(call, "cloudhsm:DescribeClusters")
    access.account(call, "kms:DescribeCustomKeyStores")
    store = key_stores.find(call, params["CustomKeyStoreId"]) if params.get("CustomKeyStoreId") else None
    rows = (
        Cluster.objects.prefetch_related("hsms")
        .filter(account=call.caller.account, region=call.caller.region, state__in=cloudhsm_api.LISTED)
        .order_by("cluster_id")
    )
    return {"Clusters": [_entry(row, store) for row in rows]}


def _entry(row: Cluster, store: CustomKeyStore | None) -> dict[str, Any]:
    hsms = cluster.active_hsms(row.account, row.pk)
    is_own = store is not None and row == store.cluster
    return {
        **cloudhsm_api.cluster_entry(row),
        "ActiveHsms": len(hsms),
        "AvailabilityZones": sorted({zone for _, zone in hsms}),
        "UnfitBecause": "" if is_own else cluster_requirements.why_unfit(row, store),
    }
