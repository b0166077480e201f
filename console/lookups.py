"""What console pages ask KMS for, through dispatch like everything else; each answer is fetched once per request."""

from __future__ import annotations

from functools import cached_property
from typing import Any

from kmsapp import dispatch
from kmsapp.caller import Caller
from kmsapp.errors import AccessDeniedException, NotFoundException


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
    def _principals(self) -> tuple[list[dict[str, Any]], str]:
        try:
            return dispatch.call(self.caller, "console:ListPrincipals", {})["Principals"], ""
        except AccessDeniedException as error:
            return [], error.message

    @property
    def principals(self) -> list[dict[str, Any]]:
        """Users and roles of the account; none where the person may not list them."""
        return self._principals[0]

    @property
    def principals_denied(self) -> str:
        """AWS's sentence, where the person may not list users and roles."""
        return self._principals[1]

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
        """Those of the ARNs; where the person may not list users and roles, what their ARNs tell."""
        if self.principals_denied:
            return [_of_arn(arn) for arn in arns]
        return [person for person in self.principals if person["Arn"] in arns]

    def alias_is_taken(self, alias: str) -> bool:
        try:
            dispatch.call(self.caller, "kms:DescribeKey", {"KeyId": f"alias/{alias}"})
        except NotFoundException:
            return False
        return True


def _of_arn(arn: str) -> dict[str, Any]:
    kind, _, path_and_name = arn.rpartition(":")[2].partition("/")
    path, _, name = path_and_name.rpartition("/")
    return {"Name": name, "Path": f"/{path}/" if path else "/", "Type": kind.capitalize(), "Arn": arn}
