"""What console tests share: people, clients that are signed in, and a key store to look at."""

from __future__ import annotations

import datetime
import json
import secrets
import uuid
from collections.abc import Sequence
from typing import Any

from django.contrib.auth.hashers import Argon2PasswordHasher
from django.test import Client

from hsmapp import clock
from hsmapp.models import ClusterCredential
from kmsapp import ids
from kmsapp.models import Account, Alias, CustomKeyStore, InlinePolicy, KmsKey, User
from kmsapp.policy.defaults import default_policy
from kmsapp.tests.clusters import cluster

REGION = "us-west-2"
ACCOUNT = "111122223333"
PASSWORD = "correct horse battery"


class QuickArgon2(Argon2PasswordHasher):
    """argon2id at the least cost it has, for tests in this process: they try hundreds of passwords, none in earnest.

    Servers that tests start hash as the settings say, and so does a test that takes the time of it.
    """

    time_cost, memory_cost, parallelism = 1, 8, 1


def person(
    user_name: str, *, account: str = ACCOUNT, password: str | None = None, actions: Sequence[str] = ("*",)
) -> User:
    """A user, who may do everything in the account, or the actions given.

    Without a password there is nothing to hash, which most tests don't need to wait for.
    """
    row, _ = Account.objects.get_or_create(account_id=account, defaults={"created_at": clock.now()})
    user = User.objects.create_user(
        account=row,
        user_name=user_name,
        password=password,
        user_id=f"AIDA{user_name.upper()}{account}"[:32],
        created_at=clock.now(),
    )
    if actions:
        let(user, *actions)
    return user


def let(user: User, *actions: str) -> None:
    """Give the user an inline policy that allows the actions on everything."""
    InlinePolicy.objects.create(
        user=user, name=f"Given{user.inline_policies.count()}", document=policy_allowing(*actions)
    )


def policy_allowing(*actions: str) -> str:
    """An identity-based policy that allows the actions on everything."""
    statement = {"Effect": "Allow", "Action": actions[0] if len(actions) == 1 else list(actions), "Resource": "*"}
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]}, indent=2)


def signed_in_client(user: User) -> Client:
    client = Client()
    client.force_login(user)
    return client


def new_account() -> str:
    """An account number of the test's own: caches are keyed by account and outlive a test's rolled-back database."""
    return f"{secrets.randbelow(10**12):012}"


def key_store(
    account: str,
    *,
    name: str = "ExampleKeyStore",
    state: str = "CONNECTED",
    zones: tuple[str, ...] = ("us-west-2a", "us-west-2b"),
    error_code: str = "",
) -> CustomKeyStore:
    """A key store as the database has it, with an active HSM in each zone; no HSM process runs."""
    row = cluster(account=account, zones=zones, subnets=zones)
    return CustomKeyStore.objects.create(
        custom_key_store_id=ids.new_key_store_id(),
        account=account,
        region=REGION,
        name=name,
        cluster=row,
        credential=ClusterCredential.objects.create(cluster=row, user_name="kmsuser", password_sealed=b""),
        trust_anchor_certificate=row.trust_anchor,
        connection_state=state,
        connection_error_code=error_code,
        created_at=clock.now(),
    )


def kms_key(store: CustomKeyStore, *, alias: str = "", **fields: Any) -> KmsKey:
    """A key as the database has it, without key material."""
    key = KmsKey.objects.create(
        account=store.account,
        region=store.region,
        key_id=str(uuid.uuid4()),
        origin="AWS_CLOUDHSM",
        custom_key_store=store,
        policy=default_policy(store.account),
        created_at=clock.now(),
        **fields,
    )
    if alias:
        Alias.objects.create(
            account=key.account,
            region=key.region,
            name=f"alias/{alias}",
            key=key,
            created_at=clock.now(),
            updated_at=clock.now(),
        )
    return key


class MovedClock:
    """Wall time that stands still until a test moves it: `hsmapp.clock.now` answers what it says."""

    def __init__(self) -> None:
        self._now = datetime.datetime.now(datetime.UTC)

    def forward(self, **how_far: float) -> None:
        """timedelta's own arguments, such as minutes=5."""
        self._now += datetime.timedelta(**how_far)

    def now(self) -> datetime.datetime:
        return self._now
