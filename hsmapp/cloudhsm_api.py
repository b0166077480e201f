"""CloudHSM v2 shapes of clusters and HSMs.

https://docs.aws.amazon.com/cloudhsm/latest/APIReference/API_Cluster.html
"""

from __future__ import annotations

from typing import Any

from hsmapp.models import Cluster, Hsm
from hsmapp.states import ClusterState, HsmState

BACKUP_RETENTION_DAYS = 90


def cluster_entry(cluster: Cluster) -> dict[str, Any]:
    """A Cluster as DescribeClusters answers it."""
    shown: dict[str, Any] = {
        "BackupPolicy": "DEFAULT",
        "BackupRetentionPolicy": {"Type": "DAYS", "Value": str(BACKUP_RETENTION_DAYS)},
        "ClusterId": cluster.cluster_id,
        "CreateTimestamp": cluster.created_at,
        "Hsms": [hsm_entry(hsm, cluster) for hsm in cluster.hsms.all() if hsm.state != HsmState.DELETED],
        "HsmType": cluster.hsm_type,
        "SecurityGroup": cluster.security_group,
        "State": cluster.state,
        "SubnetMapping": cluster.subnet_mapping,
        "VpcId": cluster.vpc_id,
        "NetworkType": "IPV4",
        "Certificates": _certificates(cluster),
        "TagList": [],
        "Mode": cluster.mode,
    }
    if cluster.state_message:
        shown["StateMessage"] = cluster.state_message
    return shown


def _certificates(cluster: Cluster) -> dict[str, str]:
    return {"ClusterCertificate": cluster.cluster_certificate} if cluster.cluster_certificate else {}


def hsm_entry(hsm: Hsm, cluster: Cluster) -> dict[str, Any]:
    """An Hsm as DescribeClusters answers it."""
    return {
        "AvailabilityZone": hsm.availability_zone,
        "ClusterId": cluster.cluster_id,
        "SubnetId": hsm.subnet_id,
        "EniId": hsm.eni_id,
        "EniIp": hsm.eni_ip,
        "HsmId": hsm.hsm_id,
        "HsmType": cluster.hsm_type,
        "State": hsm.state,
        "StateMessage": hsm.state_message,
    }


def matches(cluster: Cluster, filters: dict[str, list[str]]) -> bool:
    """Whether DescribeClusters with these filters lists the cluster. Several values of one filter are alternatives."""
    facts = {"clusterIds": cluster.cluster_id, "vpcIds": cluster.vpc_id, "states": cluster.state}
    return all(facts[name] in values for name, values in filters.items())


FILTERS = ("clusterIds", "vpcIds", "states")
LISTED = [state for state in ClusterState if state != ClusterState.DELETED]
