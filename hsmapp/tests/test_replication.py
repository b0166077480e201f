"""What one HSM gets from another, and what becomes of the one that gives when the other dies on the way."""

from __future__ import annotations

from pathlib import Path

import pytest

from hsmapp import clock, replication
from hsmapp.device.protocol import HsmUnreachableError
from hsmapp.models import Cluster, ClusterCredential, Hsm, HsmOnPreviousPassword
from hsmapp.replication import Device
from hsmapp.tests.cluster_row import new_cluster
from hsmapp.tests.device_process import PASSWORD, DeviceProcess, activated, ask, new_key


def device_of(running: DeviceProcess, cluster: Cluster) -> Device:
    """The process as its keeper would know it, certified already."""
    hsm = Hsm.objects.create(
        hsm_id=running.hsm_id,
        cluster=cluster,
        availability_zone="us-west-2a",
        subnet_id="subnet-1",
        eni_id="eni-1",
        eni_ip="10.0.0.1",
        certificate="known",
        pin_sealed=b"",
        so_pin_sealed=b"",
        created_at=clock.now(),
    )
    return Device(hsm, running.control())


@pytest.mark.django_db
def test_a_peer_serves_again_when_the_hsm_that_joins_dies(tmp_path: Path) -> None:
    cluster = new_cluster()
    peer, newcomer = activated(tmp_path), DeviceProcess(tmp_path, "hsm-zyxwvutsrqp").start()
    try:
        to_peer, to_newcomer = device_of(peer, cluster), device_of(newcomer, cluster)
        newcomer.kill()
        with pytest.raises(HsmUnreachableError):
            replication.join(to_newcomer, to_peer)
        assert to_peer.ask("health")["serving"]
        with peer.login("kmsuser", PASSWORD) as kmsuser:
            key = new_key(kmsuser)
            assert ask(kmsuser, "encrypt", label=key.label, check=key.check, plaintext=b"x", aad=b"")["sealed"]
    finally:
        newcomer.stop()
        peer.stop()


@pytest.mark.django_db
def test_who_gets_the_users_of_an_hsm_that_has_a_password_to_take_is_late_too(tmp_path: Path) -> None:
    cluster = new_cluster()
    credential = ClusterCredential.objects.create(cluster=cluster, user_name="kmsuser", password_sealed=b"")
    peer, newcomer = activated(tmp_path), DeviceProcess(tmp_path, "hsm-zyxwvutsrqp").start()
    try:
        giver, taker = device_of(peer, cluster), device_of(newcomer, cluster)
        replication.copy_users(giver, taker)
        assert not HsmOnPreviousPassword.objects.exists()
        HsmOnPreviousPassword.objects.create(hsm=giver.hsm, credential=credential)
        for _ in range(2):
            replication.copy_users(giver, taker)
        assert HsmOnPreviousPassword.objects.filter(hsm=taker.hsm, credential=credential).count() == 1
        assert ("kmsuser", "crypto-user") in {(name, role) for name, role, _ in taker.ask("list_users")["users"]}
    finally:
        newcomer.stop()
        peer.stop()
