"""Clusters as the database has them, for tests of what is decided before any HSM is asked; no HSM process runs."""

from __future__ import annotations

from cryptography.hazmat.primitives.asymmetric import rsa

from hsmapp import certificates, clock, epochs
from hsmapp.models import Cluster, Hsm
from hsmapp.states import ClusterState, HsmState
from kmsapp import demo, ids

ZONES = ("us-west-2a", "us-west-2b")
_KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)


def certificate(name: str) -> str:
    """A self-signed certificate, PEM."""
    return certificates.pem(certificates.self_signed(name, _KEY, now=clock.now()))


def cluster(
    *,
    account: str = demo.ACCOUNT,
    region: str = demo.REGION,
    state: str = ClusterState.ACTIVE,
    zones: tuple[str, ...] = ZONES,
    subnets: tuple[str, ...] = ZONES,
    history: str = "",
) -> Cluster:
    """A cluster with an active HSM in each of `zones`. history: those of one have the same cluster certificate."""
    cluster_id = ids.new_cloudhsm_id("cluster")
    row = Cluster.objects.create(
        cluster_id=cluster_id,
        account=account,
        region=region,
        state=state,
        hsm_type="hsm1.medium",
        vpc_id="vpc-1a2b3c4d",
        security_group="sg-865af2fb",
        subnet_mapping={zone: f"subnet-{zone}" for zone in subnets},
        trust_anchor=certificate(cluster_id),
        cluster_certificate=f"cluster certificate of {history or cluster_id}",
        created_at=clock.now(),
    )
    for number, zone in enumerate(zones):
        Hsm.objects.create(
            hsm_id=ids.new_cloudhsm_id("hsm"),
            cluster=row,
            availability_zone=zone,
            subnet_id=f"subnet-{zone}",
            eni_id="eni-ea8647e1",
            eni_ip=f"10.0.0.{number + 1}",
            state=HsmState.ACTIVE,
            wanted=False,
            pin_sealed=b"",
            so_pin_sealed=b"",
            created_at=clock.now(),
        )
    epochs.raise_epoch(account)
    return row
