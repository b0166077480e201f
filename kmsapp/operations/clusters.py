"""CloudHSM v2 on the wire: DescribeClusters."""

from __future__ import annotations

from typing import Any

from hsmapp import cloudhsm_api
from hsmapp.models import Cluster
from kmsapp import access, paging
from kmsapp.call import Call
from kmsapp.errors import CloudHsmInvalidRequestException, InvalidMarkerException
from kmsapp.registry import operation

MOST = 25


@operation("cloudhsm:DescribeClusters", read_only=True)
def describe_clusters(call: Call, params: dict[str, Any]) -> dict[str, Any]:
    """https://docs.aws.amazon.com/cloudhsm/latest/APIReference/API_DescribeClusters.html"""
    access.account(call, "cloudhsm:DescribeClusters")
    filters = params.get("Filters") or {}
    for name in filters:
        if name not in cloudhsm_api.FILTERS:
            raise CloudHsmInvalidRequestException(
                f"{name} is not a filter of DescribeClusters. Use {', '.join(cloudhsm_api.FILTERS)}."
            )
    purpose = f"DescribeClusters {call.caller.account} {call.caller.region}"
    limit = params.get("MaxResults") or MOST
    rows = [cluster for cluster in _rows(call, _after(purpose, params)) if cloudhsm_api.matches(cluster, filters)]
    page, truncated = paging.cut(rows, limit)
    answer: dict[str, Any] = {"Clusters": [cloudhsm_api.cluster_entry(cluster) for cluster in page]}
    if truncated:
        answer["NextToken"] = paging.marker(purpose, page[-1].cluster_id)
    return answer


def _rows(call: Call, after: str) -> list[Cluster]:
    """All clusters after this id: an account has a handful (AWS's quota is 4 per Region)."""
    return list(
        Cluster.objects.prefetch_related("hsms")
        .filter(
            account=call.caller.account,
            region=call.caller.region,
            state__in=cloudhsm_api.LISTED,
            cluster_id__gt=after,
        )
        .order_by("cluster_id")
    )


def _after(purpose: str, params: dict[str, Any]) -> str:
    try:
        return paging.after(purpose, params.get("NextToken"))
    except InvalidMarkerException as error:
        # (unconfirmed) Which of CloudHSM's errors a token that is none of its own draws.
        raise CloudHsmInvalidRequestException("The NextToken is not valid.") from error
