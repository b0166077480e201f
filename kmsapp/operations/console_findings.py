"""What the pages of a cluster and of its key store list as wrong. Not reachable on the wire."""

from __future__ import annotations

from typing import Any

from hsmapp import findings
from hsmapp.models import Cluster, Finding
from kmsapp import access
from kmsapp.call import Call
from kmsapp.models import KmsKey
from kmsapp.registry import operation

MOST = 50


@operation("console:ListFindings", read_only=True, recorded_as="cloudhsm:DescribeClusters")
def list_findings(call: Call, params: dict[str, Any]) -> dict[str, Any]:
    """The open findings of a cluster, newest first, MOST of them at most; Total: how many there are.

    ClusterId: of the account and Region; another one has none.
    """
    access.account(call, "cloudhsm:DescribeClusters")
    cluster = Cluster.objects.filter(
        cluster_id=params["ClusterId"], account=call.caller.account, region=call.caller.region
    ).first()
    if cluster is None:
        return {"Findings": [], "Total": 0}
    rows = findings.open_of(cluster)
    shown = list(rows[:MOST])
    keys = dict(
        KmsKey.objects.filter(material__label__in={row.label for row in shown}).values_list("material__label", "key_id")
    )
    return {"Findings": [_entry(row, keys.get(row.label, "")) for row in shown], "Total": rows.count()}


def _entry(row: Finding, key_id: str) -> dict[str, Any]:
    return {
        "Kind": row.kind,
        "Title": row.get_kind_display(),
        "HsmId": row.hsm.hsm_id if row.hsm is not None else "",
        "Label": row.label,
        "KeyId": key_id,
        "Detail": row.detail,
        "FoundAt": row.found_at,
    }
