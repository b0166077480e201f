"""What the pages of a cluster and of its key store list as wrong. Not reachable on the wire."""

from __future__ import annotations

from typing import Any

from hsmapp import findings, reconcile
from hsmapp.models import Cluster, Finding, Reconciliation
from kmsapp import access
from kmsapp.call import Call
from kmsapp.models import KmsKey
from kmsapp.registry import operation

MOST = 50
MOST_REPAIRED = 20


@operation("console:ListFindings", read_only=True, recorded_as="cloudhsm:DescribeClusters")
def list_findings(call: Call, params: dict[str, Any]) -> dict[str, Any]:
    """What is wrong in a cluster, and when its HSMs were last compared with the database.

    ClusterId: of the account and Region; another one has none. Findings: open ones, newest first, MOST of them at most;
    Total: how many there are. Repaired: what is right again, newest first. Reconciliations: the last of each HSM.
    """
    access.account(call, "cloudhsm:DescribeClusters")
    cluster = Cluster.objects.filter(
        cluster_id=params["ClusterId"], account=call.caller.account, region=call.caller.region
    ).first()
    if cluster is None:
        return {"Findings": [], "Total": 0, "Repaired": [], "Reconciliations": []}
    rows = findings.open_of(cluster)
    shown, repaired = list(rows[:MOST]), list(findings.repaired_lately(cluster)[:MOST_REPAIRED])
    labels = {row.label for row in (*shown, *repaired)}
    keys = dict(KmsKey.objects.filter(material__label__in=labels).values_list("material__label", "key_id"))
    return {
        "Findings": [_entry(row, keys.get(row.label, "")) for row in shown],
        "Total": rows.count(),
        "Repaired": [_entry(row, keys.get(row.label, "")) for row in repaired],
        "Reconciliations": [_reconciliation(row) for row in reconcile.last_of(cluster)],
    }


def _entry(row: Finding, key_id: str) -> dict[str, Any]:
    return {
        "Kind": row.kind,
        "Title": row.get_kind_display(),
        "HsmId": row.hsm.hsm_id if row.hsm is not None else "",
        "Label": row.label,
        "KeyId": key_id,
        "Detail": row.detail,
        "FoundAt": row.found_at,
        "ResolvedAt": row.resolved_at,
    }


def _reconciliation(row: Reconciliation) -> dict[str, Any]:
    return {
        "HsmId": row.hsm.hsm_id,
        "Reason": row.get_reason_display(),
        "FinishedAt": row.finished_at,
        "Keys": row.keys,
        "Missing": row.restored,
        "Damaged": row.repaired,
        "Destroyed": row.destroyed,
        "Orphans": row.quarantined,
        "Debris": row.cleared,
        "Failed": row.failed,
    }
