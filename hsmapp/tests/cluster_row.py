"""A cluster as a row, for tests that need no HSM process."""

from __future__ import annotations

from hsmapp import clock
from hsmapp.models import Cluster
from hsmapp.states import ClusterState

ACCOUNT = "111122223333"


def new_cluster() -> Cluster:
    """An ACTIVE cluster of ACCOUNT without HSMs."""
    return Cluster.objects.create(
        cluster_id="cluster-1",
        account=ACCOUNT,
        region="us-west-2",
        state=ClusterState.ACTIVE,
        hsm_type="hsm1.medium",
        vpc_id="vpc-1",
        security_group="sg-1",
        created_at=clock.now(),
    )
