"""Rows for the tests of Django admin: one of each model for an account, with secrets that are like nothing else.

Every name of an account's rows contains `word`, so that a page that shows another account's row gives itself away.
"""

from __future__ import annotations

import datetime
import hashlib
import uuid
from typing import Any

from django.apps import apps
from django.contrib.admin import AdminSite
from django.db import models
from django.test import Client
from django.urls import resolve, reverse

from hsmapp import clock
from hsmapp.account_admin import AccountAdmin
from hsmapp.models import (
    Cluster,
    ClusterCredential,
    Finding,
    Hsm,
    InstallationRoot,
    KeyIntent,
    MaskedKey,
    Reconciliation,
    Tombstone,
)
from kmsapp.models import (
    AccessKey,
    Account,
    Alias,
    AuditEvent,
    CustomKeyStore,
    Grant,
    Group,
    InlinePolicy,
    KmsKey,
    ManagedPolicy,
    Role,
    Tag,
    TemporaryCredential,
    User,
)

MINE, THEIRS = "111122223333", "444455556666"
REGION = "us-west-2"
PASSWORD_HASH = "argon2$argon2id$v=19$m=102400,t=2,p=8$c2FsdHNhbHRzYWx0$aGFzaGhhc2hoYXNoaGFzaA"


def secret(name: str) -> bytes:
    """The secret that rows hold in the column `name`: 32 bytes that occur nowhere else."""
    return hashlib.sha256(f"secret of {name}".encode()).digest()


def site() -> AdminSite:
    """The site that is mounted at /admin/."""
    found = resolve(reverse("admin:index")).func.admin_site  # type: ignore[attr-defined]
    assert isinstance(found, AdminSite)
    return found


def pages() -> dict[type[models.Model], AccountAdmin]:
    """Every page of the site."""
    shown = dict(site()._registry)
    assert all(isinstance(page, AccountAdmin) for page in shown.values())
    return shown  # type: ignore[return-value]


def address(model: type[models.Model], page: str, *args: Any) -> str:
    return reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_{page}", args=args)


def client_of(user: User) -> Client:
    client = Client()
    client.force_login(user)
    return client


def person(account_id: str, user_name: str, *, is_staff: bool) -> User:
    account, _ = Account.objects.get_or_create(account_id=account_id, defaults={"created_at": clock.now()})
    return User.objects.create(
        account=account,
        user_name=user_name,
        user_id=f"AIDA{user_name.upper()}{account_id}"[:32],
        password=PASSWORD_HASH,
        is_staff=is_staff,
        created_at=clock.now(),
    )


def fill(account_id: str, word: str) -> None:
    """Add a row of every model that has something to do with an account."""
    now = clock.now()
    cluster = _cluster(account_id, word, now)
    key = _key(cluster, word, now)
    user = person(account_id, f"user-{word}", is_staff=False)
    group = Group.objects.create(group_id=f"AGPA{word}", account=user.account, name=f"group-{word}", created_at=now)
    group.users.add(user)
    role = Role.objects.create(
        role_id=f"AROA{word}", account=user.account, name=f"role-{word}", trust_policy="{}", created_at=now
    )
    _policies(user, group, role, word, now)
    TemporaryCredential.objects.create(
        access_key_id=f"ASIA{word}",
        role=role,
        secret_sealed=secret("secret_sealed"),
        token_sha256=secret("token_sha256").hex(),
        session_name=f"session-{word}",
        assumed_by=user.arn,
        tags={"team": word},
        created_at=now,
        expires_at=now,
    )
    AccessKey.objects.create(
        access_key_id=f"AKIA{word}", user=user, secret_sealed=secret("secret_sealed"), created_at=now
    )
    _audit_event(account_id, word, key, now)
    apps.get_model("console", "KeyDraft").objects.create(
        owner=user, account=account_id, region=REGION, data={"alias": f"draft-{word}"}, made_key_id=key.key_id
    )
    InstallationRoot.objects.get_or_create(
        certificate="PEM", defaults={"private_key_sealed": secret("private_key_sealed"), "created_at": now}
    )


def _policies(user: User, group: Group, role: Role, word: str, now: datetime.datetime) -> None:
    policy = ManagedPolicy.objects.create(
        policy_id=f"ANPA{word}", account=user.account_id, name=f"policy-{word}", created_at=now, updated_at=now
    )
    policy.versions.create(number=1, document='{"Id": "<script>alert(1)</script>"}', is_default=True, created_at=now)
    user.managed_policies.add(policy)
    role.permissions_boundary = policy
    role.save()
    for owner in ({"user": user}, {"group": group}, {"role": role}):
        InlinePolicy.objects.create(name=f"own-{word}", document="{}", **owner)


def _cluster(account_id: str, word: str, now: datetime.datetime) -> Cluster:
    cluster = Cluster.objects.create(
        cluster_id=f"cluster-{word}",
        account=account_id,
        region=REGION,
        state="ACTIVE",
        hsm_type="hsm1.medium",
        vpc_id="vpc-1",
        security_group="sg-1",
        created_at=now,
        cluster_certificate="PEM",
        backup_public_key=secret("backup_public_key"),
        backup_private_key_sealed=secret("backup_private_key_sealed"),
        masking_key_backup=secret("masking_key_backup"),
    )
    Hsm.objects.create(
        hsm_id=f"hsm-{word}",
        cluster=cluster,
        availability_zone="us-west-2a",
        subnet_id="subnet-1",
        eni_id="eni-1",
        eni_ip="10.0.0.1",
        state="ACTIVE",
        pin_sealed=secret("pin_sealed"),
        so_pin_sealed=secret("so_pin_sealed"),
        created_at=now,
    )
    ClusterCredential.objects.create(
        cluster=cluster,
        user_name="kmsuser",
        password_sealed=secret("password_sealed"),
        pending_password_sealed=secret("pending_password_sealed"),
    )
    return cluster


def _key(cluster: Cluster, word: str, now: datetime.datetime) -> KmsKey:
    key_id = str(uuid.uuid5(uuid.NAMESPACE_DNS, word))
    label = f"arn:aws:kms:{REGION}:{cluster.account}:key/{key_id}"
    common: dict[str, Any] = {"cluster": cluster, "label": label, "backing_key_id": f"{word:0>64}", "created_at": now}
    material = MaskedKey.objects.create(
        **common, owner="kmsuser", masked=secret("masked"), check_ciphertext=secret("check_ciphertext")
    )
    KeyIntent.objects.create(**common, hsms=[f"hsm-{word}"], reserves=f"alias-{word}", deadline=now)
    Tombstone.objects.create(**common, hsms=[f"hsm-{word}"])
    Finding.objects.create(
        cluster=cluster, kind="at-fault", label=label, detail=f"detail-{word}", found_at=now, seen_at=now
    )
    hsm = cluster.hsms.get()
    Reconciliation.objects.create(hsm=hsm, reason="hourly", begun_at=now, finished_at=now)
    store = CustomKeyStore.objects.create(
        custom_key_store_id=f"cks-{word}",
        account=cluster.account,
        region=REGION,
        name=f"store-{word}",
        cluster=cluster,
        credential=cluster.credentials.get(),
        trust_anchor_certificate="PEM",
        created_at=now,
    )
    where: dict[str, Any] = {"account": cluster.account, "region": REGION, "created_at": now}
    key = KmsKey.objects.create(
        **where,
        key_id=key_id,
        description=f"key-{word}",
        origin="AWS_CLOUDHSM",
        custom_key_store=store,
        material=material,
        policy="{}",
    )
    Alias.objects.create(**where, name=f"alias/{word}", key=key, updated_at=now)
    Tag.objects.create(key=key, tag_key=f"tag-{word}", tag_value="<script>alert(1)</script>")
    Grant.objects.create(
        key=key,
        grant_id=f"{key_id.replace('-', ''):0>64}",
        name=f"grant-{word}",
        grantee_principal=f"arn:aws:iam::{cluster.account}:user/user-{word}",
        grantee_id=f"AIDA{word}",
        issuing_account=cluster.account,
        operations=["Decrypt"],
        constraints={"EncryptionContextSubset": {"word": "<script>alert(1)</script>"}},
        properties_sha256="",
        created_at=now,
    )
    return key


def _audit_event(account_id: str, word: str, key: KmsKey, now: datetime.datetime) -> None:
    arn = f"arn:aws:iam::{account_id}:user/user-{word}"
    AuditEvent.objects.create(
        event_id=uuid.uuid4(),
        event_time=now,
        account=account_id,
        region=REGION,
        event_source="kms.amazonaws.com",
        event_name="CreateKey",
        principal=arn,
        request_id=f"request-{word}",
        resource=key.arn,
        event={"eventName": "CreateKey", "userIdentity": {"arn": arn}, "userAgent": "<script>alert(1)</script>"},
    )
