"""The demo: the scope document's own account, cluster, key store and key, four people, and two root users.

Everything is made the way everybody else's is: the cluster by the supervisor, the connection by ConnectCustomKeyStore,
the key by CreateKey's own code. Only the ids are given. Safe to run again after it was cut short; each run gives the
people new passwords and access keys, because what was given before is stored nowhere that could be read.
"""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from django.conf import settings
from django.db import transaction

from hsmapp import certificates, clock, credentials, epochs, hsms
from hsmapp.models import Cluster, ClusterCredential, Hsm
from hsmapp.states import ClusterState, HsmState
from kmsapp import demo_policies, dispatch, ids, key_store_jobs
from kmsapp.call import Call
from kmsapp.caller import Caller
from kmsapp.iam import credentials as access_keys
from kmsapp.models import Account, CustomKeyStore, Group, KmsKey, Role, User
from kmsapp.models.key_stores import ConnectionState
from kmsapp.operations import key_creation, key_store_changes
from kmsapp.operations.key_store_changes import KMSUSER
from kmsapp.policy import defaults

ACCOUNT = "111122223333"
OTHER_ACCOUNT = "444455556666"
REGION = "us-west-2"
CLUSTER_ID = "cluster-1a23b4cdefg"
KEY_STORE_ID = "cks-1234567890abcdef0"
KEY_STORE_NAME = "ExampleKeyStore"
KEY_ID = "1234abcd-12ab-34cd-56ef-1234567890ab"
# The scope document prints one network interface for both HSMs; an interface has one address, so the second differs.
HSMS = (
    {
        "hsm_id": "hsm-abcdefghijk",
        "availability_zone": "us-west-2a",
        "eni_ip": "10.0.1.11",
        "subnet_id": "subnet-a6b10bd1",
        "eni_id": "eni-ea8647e1",
    },
    {
        "hsm_id": "hsm-zyxwvutsrqp",
        "availability_zone": "us-west-2b",
        "eni_ip": "10.0.0.2",
        "subnet_id": "subnet-b6b10bd2",
        "eni_id": "eni-ea8647e1",
    },
)
PEOPLE = (
    ("alice", ACCOUNT, True),
    ("bob", ACCOUNT, False),
    ("mallory", ACCOUNT, False),
    ("carol", OTHER_ACCOUNT, False),
)
# Role -> the accounts whose people it trusts, as far as their own policies let them assume it.
ROLES = {"KMSAdminRole": (ACCOUNT,), "ExampleRole": (ACCOUNT,), "AuditorRole": (ACCOUNT, OTHER_ACCOUNT)}
# In credentials.json, where every object has a user name, which a root user has not.
ROOT = "<root>"
HSM_TYPE = "hsm1.medium"
SECONDS = 60


class DemoError(Exception):
    """The demo could not be made; the message says what was waited for."""


@dataclass(frozen=True)
class Person:
    """A demo user with what lets them in."""

    account: str
    user_name: str
    password: str = field(repr=False)
    access_key_id: str
    secret_access_key: str = field(repr=False)


def user_id(user_name: str) -> str:
    """The unique id of a demo user: known beforehand, so that examples can print it."""
    return f"AIDA{user_name.upper():7<17}"


def role_id(name: str) -> str:
    return f"AROA{name.upper():7<17}"


def is_seeded() -> bool:
    return User.objects.filter(account_id=ACCOUNT, user_name="alice").exists()


def seed() -> list[dict[str, str]]:
    """Make the demo and return its people: for each a dict with the fields of Person.

    Needs a running supervisor. Raises: DemoError.
    """
    cluster = add_cluster(CLUSTER_ID, HSMS)
    store = _key_store(cluster)
    _connect(store)
    _example_key(store)
    return [asdict(person) for person in _people()]


def add_further_cluster(hsm_type: str = HSM_TYPE) -> Cluster:
    """One more ACTIVE cluster, whose kmsuser password and customer CA certificate are files in <data>/demo."""
    cluster_id = ids.new_cloudhsm_id("cluster")
    number = Hsm.objects.count()
    zones = (("us-west-2a", "subnet-a6b10bd1", "10.0.1."), ("us-west-2b", "subnet-b6b10bd2", "10.0.0."))
    members = tuple(
        {
            "hsm_id": ids.new_cloudhsm_id("hsm"),
            "availability_zone": zone,
            "eni_ip": f"{network}{20 + number}",
            "subnet_id": subnet,
            "eni_id": f"eni-{secrets.token_hex(4)}",
        }
        for zone, subnet, network in zones
    )
    cluster = add_cluster(cluster_id, members, hsm_type)
    _write_password(cluster_id, credentials.current_password(cluster.credentials.get(user_name=KMSUSER)))
    return cluster


def new_kmsuser_password(cluster_id: str) -> Path:
    """Let the cluster's admin give kmsuser a new password, as a crypto officer would; return the file that holds it.

    KMS is not told: that is what KeyStorePassword is for. Raises: DemoError, HsmError.
    """
    cluster = Cluster.objects.filter(cluster_id=cluster_id).first()
    if cluster is None:
        raise DemoError(f"There is no cluster {cluster_id}.")
    if cluster.key_stores.exclude(connection_state__in=[ConnectionState.DISCONNECTED, ConnectionState.FAILED]).exists():
        raise DemoError(f"kmsuser of {cluster_id} is in use: disconnect its key store first.")
    members = cluster.hsms.exclude(state=HsmState.DELETED)
    if members.exclude(state=HsmState.ACTIVE).exists():
        raise DemoError(f"Not all HSMs of {cluster_id} are ACTIVE, and kmsuser must have one password on all of them.")
    password = credentials.draw_password()
    # Written down first: whatever is cut short, the password that some HSMs have by then is known.
    path = _write_password(cluster_id, password)
    credentials.change_as_admin(cluster, KMSUSER, password)
    return path


def _write_password(cluster_id: str, password: str) -> Path:
    path: Path = settings.DATA / "demo" / f"{cluster_id}-kmsuser-password"
    path.touch(mode=0o600)
    path.write_text(password + "\n")
    return path


def add_cluster(cluster_id: str, members: tuple[dict[str, str], ...], hsm_type: str = HSM_TYPE) -> Cluster:
    """An ACTIVE cluster with these HSMs, a customer CA, an admin and a kmsuser."""
    cluster = Cluster.objects.filter(cluster_id=cluster_id).first() or _new_cluster(cluster_id, members, hsm_type)
    _wait(f"the HSMs of {cluster_id} to serve", lambda: _all_active(cluster))
    cluster.refresh_from_db()
    if cluster.state != ClusterState.ACTIVE:
        _activate(cluster)
    return cluster


def _new_cluster(cluster_id: str, members: tuple[dict[str, str], ...], hsm_type: str) -> Cluster:
    with transaction.atomic():
        cluster = Cluster.objects.create(
            cluster_id=cluster_id,
            account=ACCOUNT,
            region=REGION,
            state=ClusterState.INITIALIZE_IN_PROGRESS,
            hsm_type=hsm_type,
            vpc_id="vpc-1a2b3c4d",
            security_group="sg-865af2fb",
            subnet_mapping={member["availability_zone"]: member["subnet_id"] for member in members},
            created_at=clock.now(),
        )
        for name, role in (("admin", "admin"), (KMSUSER, "crypto-user")):
            sealed = credentials.seal(cluster_id, name, credentials.draw_password())
            ClusterCredential.objects.create(cluster=cluster, user_name=name, role=role, password_sealed=sealed)
        for member in members:
            hsms.new_hsm(cluster, **member)
    return cluster


def _all_active(cluster: Cluster) -> bool:
    return not Hsm.objects.filter(cluster=cluster).exclude(state=HsmState.ACTIVE).exists()


def _activate(cluster: Cluster) -> None:
    """Sign the cluster with a customer CA of its own, as InitializeCluster would, and make it ACTIVE."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    now = clock.now()
    authority = certificates.self_signed(f"customer CA of {cluster.cluster_id}", key, now=now)
    first = cluster.hsms.order_by("hsm_id").first()
    if first is None:
        raise DemoError(f"{cluster.cluster_id} has no HSM.")
    identity = x509.load_pem_x509_certificate(first.certificate.encode()).public_key()
    if not isinstance(identity, rsa.RSAPublicKey):
        raise DemoError(f"The identity key of {first.hsm_id} is not an RSA key.")
    signed = certificates.issue(identity, cluster.cluster_id, issuer=authority, issuer_key=key, now=now)
    with transaction.atomic():
        cluster.cluster_certificate, cluster.trust_anchor = certificates.pem(signed), certificates.pem(authority)
        cluster.state = ClusterState.ACTIVE
        cluster.save()
        epochs.raise_epoch(cluster.account)
    folder = settings.DATA / "demo"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    name = "customerCA.crt" if cluster.cluster_id == CLUSTER_ID else f"{cluster.cluster_id}-customerCA.crt"
    (folder / name).write_text(cluster.trust_anchor)


def _key_store(cluster: Cluster) -> CustomKeyStore:
    made = CustomKeyStore.objects.filter(custom_key_store_id=KEY_STORE_ID).first()
    if made is not None:
        return made
    call = Call(_seeder(), "kms", "CreateCustomKeyStore", {}, ids.new_request_id(), read_only=False)
    password = credentials.current_password(cluster.credentials.get(user_name=KMSUSER))
    new = key_store_changes.NewStore(KEY_STORE_NAME, CLUSTER_ID, cluster.trust_anchor, password)
    return key_store_changes.make_store(call, new, custom_key_store_id=KEY_STORE_ID)


def _seeder() -> Caller:
    return Caller(ACCOUNT, REGION, f"arn:aws:iam::{ACCOUNT}:root", ACCOUNT, via="service", principal_type="Root")


def _connect(store: CustomKeyStore) -> None:
    params = {"CustomKeyStoreId": store.custom_key_store_id}
    store.refresh_from_db()
    if store.connection_state == ConnectionState.FAILED:
        dispatch.call(_seeder(), "kms:DisconnectCustomKeyStore", params)
    dispatch.call(_seeder(), "kms:ConnectCustomKeyStore", params)

    def connected() -> bool:
        key_store_jobs.carry_out(clock.now())
        store.refresh_from_db()
        return store.connection_state == ConnectionState.CONNECTED

    _wait(f"{store.custom_key_store_id} to be CONNECTED", connected)


def _example_key(store: CustomKeyStore) -> None:
    if KmsKey.objects.filter(account=ACCOUNT, region=REGION, key_id=KEY_ID).exists():
        return
    call = Call(_seeder(), "kms", "CreateKey", {}, ids.new_request_id(), read_only=False)
    key = KmsKey(
        account=ACCOUNT,
        region=REGION,
        key_id=KEY_ID,
        description="Example key",
        origin="AWS_CLOUDHSM",
        custom_key_store=store,
        policy=_key_policy(),
        policy_principals={
            **{_user_arn(name): user_id(name) for name in ("alice", "bob")},
            **{_role_arn(name): role_id(name) for name in ("KMSAdminRole", "ExampleRole")},
        },
    )
    key_creation.make_key(call, key, alias_name="alias/ExampleKey")


def _key_policy() -> str:
    """As the wizard writes it. The other account is not in it: to let carol in is an exercise."""
    return defaults.console_policy(
        ACCOUNT,
        administrators=[_user_arn("alice"), _role_arn("KMSAdminRole")],
        administrators_may_delete=True,
        users=[_user_arn("bob"), _role_arn("ExampleRole")],
        other_accounts=[],
    )


def _user_arn(name: str) -> str:
    return f"arn:aws:iam::{ACCOUNT}:user/{name}"


def _role_arn(name: str) -> str:
    return f"arn:aws:iam::{ACCOUNT}:role/{name}"


def _people() -> list[Person]:
    with transaction.atomic():
        now = clock.now()
        for account_id, name in ((ACCOUNT, "Example Corp."), (OTHER_ACCOUNT, "Another company")):
            Account.objects.get_or_create(account_id=account_id, defaults={"name": name, "created_at": now})
        for name, trusted in ROLES.items():
            Role.objects.get_or_create(
                account_id=ACCOUNT,
                name=name,
                defaults={
                    "role_id": role_id(name),
                    "trust_policy": _trust_policy(trusted),
                    "created_at": now,
                },
            )
        Group.objects.get_or_create(
            account_id=ACCOUNT, name="KeyUsers", defaults={"group_id": ids.new_group_id(), "created_at": now}
        )
        people = [_person(name, account_id, is_staff=is_staff) for name, account_id, is_staff in PEOPLE]
        Group.objects.get(account_id=ACCOUNT, name="KeyUsers").users.set(User.objects.filter(user_name="bob"))
        demo_policies.give(ACCOUNT, OTHER_ACCOUNT)
        return people + [_root(account_id) for account_id in (ACCOUNT, OTHER_ACCOUNT)]


def _person(name: str, account_id: str, *, is_staff: bool) -> Person:
    user = User.objects.filter(account_id=account_id, user_name=name).first()
    if user is None:
        user = User(user_id=user_id(name), account_id=account_id, user_name=name, created_at=clock.now())
    user.is_staff = is_staff
    return _let_in(user, name)


def _root(account_id: str) -> Person:
    user = User.objects.filter(account_id=account_id, is_root=True).first()
    return _let_in(user or User.root_of(account_id, created_at=clock.now()), ROOT)


def _let_in(user: User, name: str) -> Person:
    """Save the user with a new password and a new access key."""
    password = secrets.token_urlsafe(12)
    user.set_password(password)
    user.save()
    user.access_keys.all().delete()
    access_key_id, secret = access_keys.create_access_key(user)
    return Person(user.account_id, name, password, access_key_id, secret)


def _trust_policy(accounts: tuple[str, ...]) -> str:
    roots = [f"arn:aws:iam::{account}:root" for account in accounts]
    principal = {"AWS": roots[0] if len(roots) == 1 else roots}
    statement: dict[str, Any] = {"Effect": "Allow", "Principal": principal, "Action": "sts:AssumeRole"}
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]}, indent=2)


def _wait(what: str, done: Callable[[], bool]) -> None:
    deadline = time.monotonic() + SECONDS
    while not done():
        if time.monotonic() > deadline:
            raise DemoError(f"Waited {SECONDS} seconds for {what}.")
        time.sleep(0.05)
