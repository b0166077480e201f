"""What console pages ask KMS for, through dispatch like everything else; each answer is fetched once per request."""

from __future__ import annotations

from functools import cached_property
from typing import Any

from kmsapp import dispatch
from kmsapp.caller import Caller
from kmsapp.errors import NotFoundException


class Lookups:
    """Reads on behalf of a caller."""

    def __init__(self, caller: Caller) -> None:
        self.caller = caller

    @cached_property
    def key_stores(self) -> list[dict[str, Any]]:
        answer = dispatch.call(self.caller, "console:ListKeyStores", {})
        stores: list[dict[str, Any]] = answer["CustomKeyStores"]
        return stores

    @cached_property
    def principals(self) -> list[dict[str, Any]]:
        people: list[dict[str, Any]] = dispatch.call(self.caller, "console:ListPrincipals", {})["Principals"]
        return people

    @cached_property
    def clusters(self) -> list[dict[str, Any]]:
        clusters: list[dict[str, Any]] = dispatch.call(self.caller, "console:ListClusters", {})["Clusters"]
        return clusters

    def clusters_to_bind(self, store_id: str = "") -> list[dict[str, Any]]:
        """Clusters for a new key store, or for the one of this id, each with why it can't be chosen."""
        params = {"CustomKeyStoreId": store_id} if store_id else {}
        clusters: list[dict[str, Any]] = dispatch.call(self.caller, "console:ListClustersToBind", params)["Clusters"]
        return clusters

    def key_store(self, store_id: str) -> dict[str, Any] | None:
        return next((store for store in self.key_stores if store["CustomKeyStoreId"] == store_id), None)

    def cluster(self, cluster_id: str) -> dict[str, Any] | None:
        return next((cluster for cluster in self.clusters if cluster["ClusterId"] == cluster_id), None)

    def findings(self, cluster_id: str) -> dict[str, Any]:
        """What is wrong in a cluster: Findings, the newest of them, and Total."""
        return dispatch.call(self.caller, "console:ListFindings", {"ClusterId": cluster_id})

    def principals_of(self, arns: list[str]) -> list[dict[str, Any]]:
        return [person for person in self.principals if person["Arn"] in arns]

    def alias_is_taken(self, alias: str) -> bool:
        try:
            dispatch.call(self.caller, "kms:DescribeKey", {"KeyId": f"alias/{alias}"})
        except NotFoundException:
            return False
        return True
