"""Clusters: their rows, which are all that the supervisor needs to start HSMs, and what makes one ACTIVE.

Who is in charge of a cluster in AWS, its customer, is played here: a customer CA signs it, and what a customer has in
the hand, the CA's certificate and the password of kmsuser, is put into files under <data>/demo.
"""

from __future__ import annotations

import secrets
import string
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from django.conf import settings
from django.db import transaction

from hsmapp import certificates, clock, credentials, epochs, hsms
from hsmapp.models import Cluster, ClusterCredential, Hsm
from hsmapp.states import ClusterState, HsmState
from kmsapp import ids
from kmsapp.operations.key_store_changes import KMSUSER
from kmsapp.seed_file import key_entries
from kmsapp.seeding.drawing import Drawn, value
from kmsapp.seeding.errors import WAIT_SECONDS, SeedingError, wait

SECONDS_PER_HSM = 10  # each makes key pairs for itself, and they share the machine
TRUST_ANCHOR = "customerCA.crt"


@dataclass(frozen=True)
class NewHsm:
    """Where an HSM is to be."""

    hsm_id: str
    availability_zone: str
    subnet_id: str
    eni_id: str
    eni_ip: str


def row_of(entry: key_entries.Cluster, drawn: Drawn) -> Cluster:
    """The row of the cluster, made if it is not there."""
    cluster_id = value(entry, "id", drawn)
    found = Cluster.objects.filter(cluster_id=cluster_id).first()
    return found or new_cluster(
        cluster_id,
        _members(entry),
        account=entry.account,
        region=entry.region,
        hsm_type=str(entry.hsm_type),
        vpc_id=str(entry.vpc_id or _network_id("vpc")),
        security_group=str(entry.security_group or _network_id("sg")),
        kmsuser_password=str(entry.kmsuser_password or ""),
    )


def _members(entry: key_entries.Cluster) -> list[NewHsm]:
    found: list[NewHsm] = []
    written = entry.all_hsms()
    subnets = {entry.zone_of(n): str(hsm.subnet_id) for n, hsm in enumerate(written) if hsm.subnet_id}
    addresses = {str(hsm.eni_ip) for hsm in written if hsm.eni_ip}
    for position, hsm in enumerate(written):
        zone = entry.zone_of(position)
        subnet_id = subnets.setdefault(zone, _network_id("subnet"))
        found.append(
            NewHsm(
                hsm_id=str(hsm.id or ids.new_cloudhsm_id("hsm")),
                availability_zone=zone,
                subnet_id=subnet_id,
                eni_id=str(hsm.eni_id or _network_id("eni")),
                eni_ip=str(hsm.eni_ip or _free_address(zone, addresses)),
            )
        )
    return found


def _free_address(zone: str, taken: set[str]) -> str:
    """An address that no HSM of the cluster has, in a network of the zone's own."""
    network = string.ascii_lowercase.index(zone[-1]) + 1
    found = next(address for last in range(10, 250) if (address := f"10.0.{network}.{last}") not in taken)
    taken.add(found)
    return found


def _network_id(prefix: str) -> str:
    return f"{prefix}-{secrets.token_hex(4)}"


def new_cluster(
    cluster_id: str,
    members: Sequence[NewHsm],
    *,
    account: str,
    region: str,
    hsm_type: str,
    vpc_id: str,
    security_group: str,
    kmsuser_password: str = "",
) -> Cluster:
    """The rows of a cluster, its HSMs and its HSM users, admin and kmsuser. Passwords are drawn unless given."""
    with transaction.atomic():
        cluster = Cluster.objects.create(
            cluster_id=cluster_id,
            account=account,
            region=region,
            state=ClusterState.INITIALIZE_IN_PROGRESS,
            hsm_type=hsm_type,
            vpc_id=vpc_id,
            security_group=security_group,
            subnet_mapping={member.availability_zone: member.subnet_id for member in members},
            created_at=clock.now(),
        )
        for name, role, password in (("admin", "admin", ""), (KMSUSER, "crypto-user", kmsuser_password)):
            sealed = credentials.seal(cluster_id, name, password or credentials.draw_password())
            ClusterCredential.objects.create(cluster=cluster, user_name=name, role=role, password_sealed=sealed)
        for member in members:
            hsms.new_hsm(cluster, **vars(member))
    return cluster


def activate(cluster: Cluster, *, trust_anchor_name: str = "") -> None:
    """Wait for its HSMs, and make it ACTIVE if it is not.

    trust_anchor_name: of the file under <data>/demo; without one, after the cluster. Raises: SeedingError.
    """
    number = cluster.hsms.count()
    wait(
        f"the HSMs of {cluster.cluster_id} to serve",
        lambda: not Hsm.objects.filter(cluster=cluster).exclude(state=HsmState.ACTIVE).exists(),
        seconds=WAIT_SECONDS + SECONDS_PER_HSM * number,
    )
    cluster.refresh_from_db()
    if cluster.state != ClusterState.ACTIVE:
        _sign(cluster)
    path = file_of_customer(trust_anchor_name or f"{cluster.cluster_id}-{TRUST_ANCHOR}")
    if not path.exists():
        path.write_text(cluster.trust_anchor)


def _sign(cluster: Cluster) -> None:
    """Sign the cluster with a customer CA of its own, as InitializeCluster would, and make it ACTIVE."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    now = clock.now()
    authority = certificates.self_signed(f"customer CA of {cluster.cluster_id}", key, now=now)
    first = cluster.hsms.order_by("hsm_id").first()
    if first is None:
        raise SeedingError(f"{cluster.cluster_id} has no HSM.")
    identity = x509.load_pem_x509_certificate(first.certificate.encode()).public_key()
    if not isinstance(identity, rsa.RSAPublicKey):
        raise SeedingError(f"The identity key of {first.hsm_id} is not an RSA key.")
    signed = certificates.issue(identity, cluster.cluster_id, issuer=authority, issuer_key=key, now=now)
    with transaction.atomic():
        cluster.cluster_certificate, cluster.trust_anchor = certificates.pem(signed), certificates.pem(authority)
        cluster.state = ClusterState.ACTIVE
        cluster.save()
        epochs.raise_epoch(cluster.account)


def file_of_customer(name: str) -> Path:
    """A file of what a customer has in the hand, in its folder, which is made."""
    folder: Path = settings.DATA / "demo"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return folder / name


def write_password(cluster: Cluster, password: str = "") -> Path:
    """Put a password of kmsuser, by default the one that KMS knows, into a file for whoever binds the cluster."""
    path = file_of_customer(f"{cluster.cluster_id}-kmsuser-password")
    path.touch(mode=0o600)
    known = password or credentials.current_password(cluster.credentials.get(user_name=KMSUSER))
    path.write_text(known + "\n")
    return path
