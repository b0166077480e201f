"""The demo: what kmsapp/data/demo.yaml says, and further clusters for it.

The names here are those by which examples and tests know what the file has.
"""

from __future__ import annotations

import secrets
from functools import cache
from pathlib import Path

from hsmapp import credentials
from hsmapp.models import Cluster, Hsm
from hsmapp.states import HsmState
from kmsapp import ids
from kmsapp.models import User
from kmsapp.models.key_stores import ConnectionState
from kmsapp.operations.key_store_changes import KMSUSER
from kmsapp.seed_file import seed as seed_files
from kmsapp.seed_file.file_entries import SeedFile
from kmsapp.seeding import clusters, drawing, making
from kmsapp.seeding.errors import SeedingError

FILE = Path(__file__).resolve().parent / "data" / "demo.yaml"
ACCOUNT = "111122223333"
OTHER_ACCOUNT = "444455556666"
REGION = "us-west-2"
CLUSTER_ID = "cluster-1a23b4cdefg"
HSM_IDS = ("hsm-abcdefghijk", "hsm-zyxwvutsrqp")
KEY_STORE_ID = "cks-1234567890abcdef0"
KEY_ID = "1234abcd-12ab-34cd-56ef-1234567890ab"
HSM_TYPE = "hsm1.medium"
VPC_ID, SECURITY_GROUP = "vpc-1a2b3c4d", "sg-865af2fb"


def user_id(user_name: str) -> str:
    """The unique id of a demo user: known beforehand, so that examples can print it."""
    return f"AIDA{user_name.upper():7<17}"


def role_id(name: str) -> str:
    return f"AROA{name.upper():7<17}"


def is_seeded() -> bool:
    return User.objects.filter(account_id=ACCOUNT, user_name="alice").exists()


@cache
def seed_file() -> SeedFile:
    return seed_files.read(FILE.read_bytes())


def seed() -> list[dict[str, str]]:
    """Make the demo and return its people, as credentials.json has them.

    Needs a running supervisor. Raises: SeedingError.
    """
    return making.make(seed_file(), drawing.draw(seed_file()))


def add_further_cluster(hsm_type: str = HSM_TYPE) -> Cluster:
    """One more ACTIVE cluster, whose kmsuser password and customer CA certificate are files in <data>/demo."""
    number = Hsm.objects.count()
    zones = (("us-west-2a", "subnet-a6b10bd1", "10.0.1."), ("us-west-2b", "subnet-b6b10bd2", "10.0.0."))
    members = [
        clusters.NewHsm(
            hsm_id=ids.new_cloudhsm_id("hsm"),
            availability_zone=zone,
            subnet_id=subnet,
            eni_id=f"eni-{secrets.token_hex(4)}",
            eni_ip=f"{network}{20 + number}",
        )
        for zone, subnet, network in zones
    ]
    cluster = clusters.new_cluster(
        ids.new_cloudhsm_id("cluster"),
        members,
        account=ACCOUNT,
        region=REGION,
        hsm_type=hsm_type,
        vpc_id=VPC_ID,
        security_group=SECURITY_GROUP,
    )
    clusters.activate(cluster)
    clusters.write_password(cluster)
    return cluster


def new_kmsuser_password(cluster_id: str) -> Path:
    """Let the cluster's admin give kmsuser a new password, as a crypto officer would; return the file that holds it.

    KMS is not told: that is what KeyStorePassword is for. Raises: SeedingError, HsmError.
    """
    cluster = Cluster.objects.filter(cluster_id=cluster_id).first()
    if cluster is None:
        raise SeedingError(f"There is no cluster {cluster_id}.")
    if cluster.key_stores.exclude(connection_state__in=[ConnectionState.DISCONNECTED, ConnectionState.FAILED]).exists():
        raise SeedingError(f"kmsuser of {cluster_id} is in use: disconnect its key store first.")
    members = cluster.hsms.exclude(state=HsmState.DELETED)
    if members.exclude(state=HsmState.ACTIVE).exists():
        raise SeedingError(
            f"Not all HSMs of {cluster_id} are ACTIVE, and kmsuser must have one password on all of them."
        )
    password = credentials.draw_password()
    # Written down first: whatever is cut short, the password that some HSMs have by then is known.
    path = clusters.write_password(cluster, password)
    credentials.change_as_admin(cluster, KMSUSER, password)
    return path
