"""Key stores on a further cluster of real HSMs, from creation to the refusal to delete: what only connecting shows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from hsmapp import credentials, steps
from hsmapp.models import Cluster, Hsm, MaskedKey
from hsmapp.steps import Step
from kmsapp import demo
from kmsapp.errors import (
    CustomKeyStoreHasCMKsException,
    CustomKeyStoreInvalidStateException,
    CustomKeyStoreNotFoundException,
)
from kmsapp.models import CustomKeyStore, KmsKey
from kmsapp.tests.people import call


@pytest.fixture
def cluster(installation: Path) -> Cluster:
    """What `manage.py demo add-cluster` gives."""
    return demo.add_further_cluster()


def files(folder: Path, cluster: Cluster) -> tuple[str, str]:
    """The password of kmsuser and the trust anchor, as add-cluster has written them down."""
    name = folder / "demo" / cluster.cluster_id
    return Path(f"{name}-kmsuser-password").read_text().strip(), Path(f"{name}-customerCA.crt").read_text()


def create(folder: Path, cluster: Cluster, *, password: str = "") -> str:
    known, trust_anchor = files(folder, cluster)
    answer = call(
        "CreateCustomKeyStore",
        CustomKeyStoreName="SecondStore",
        CloudHsmClusterId=cluster.cluster_id,
        TrustAnchorCertificate=trust_anchor,
        KeyStorePassword=password or known,
    )
    return str(answer["CustomKeyStoreId"])


def connect(store_id: str) -> tuple[str, str]:
    """Connect; return the state that came of it and its error code."""
    call("ConnectCustomKeyStore", CustomKeyStoreId=store_id)
    (shown,) = call("DescribeCustomKeyStores", CustomKeyStoreId=store_id)["CustomKeyStores"]
    return shown["ConnectionState"], shown.get("ConnectionErrorCode", "")


def create_key(store_id: str) -> dict[str, Any]:
    made = call("CreateKey", Origin="AWS_CLOUDHSM", CustomKeyStoreId=store_id)["KeyMetadata"]
    return dict(made)


def as_admin(cluster: Cluster, *changes: tuple[str, dict[str, str]]) -> None:
    """Do something on every HSM as the cluster's admin."""
    admin = cluster.credentials.get(user_name="admin")
    for hsm in Hsm.objects.filter(cluster=cluster):
        with credentials.log_in(hsm, admin, credentials.current_password(admin)) as connection:
            for op, args in changes:
                connection.call(op, args, deadline_seconds=2)


def test_a_store_is_created_connected_used_renamed_and_not_deleted(installation: Path, cluster: Cluster) -> None:
    store_id = create(installation, cluster)
    assert connect(store_id) == ("CONNECTED", "")
    key = create_key(store_id)
    assert (key["CustomKeyStoreId"], key["CloudHsmClusterId"]) == (store_id, cluster.cluster_id)
    sealed = call("Encrypt", KeyId=key["KeyId"], Plaintext=b"second")["CiphertextBlob"]
    call("UpdateCustomKeyStore", CustomKeyStoreId=store_id, NewCustomKeyStoreName="Renamed")
    assert call("Decrypt", CiphertextBlob=sealed)["Plaintext"] == b"second"
    with pytest.raises(CustomKeyStoreHasCMKsException):
        call("DeleteCustomKeyStore", CustomKeyStoreId=store_id)
    call("DisconnectCustomKeyStore", CustomKeyStoreId=store_id)
    with pytest.raises(CustomKeyStoreHasCMKsException):
        call("DeleteCustomKeyStore", CustomKeyStoreId=store_id)
    with pytest.raises(CustomKeyStoreInvalidStateException):
        create_key(store_id)
    assert connect(store_id) == ("CONNECTED", "")
    assert call("Decrypt", CiphertextBlob=sealed)["Plaintext"] == b"second"


def test_a_wrong_password_fails_on_connecting_and_the_right_one_mends_it(installation: Path, cluster: Cluster) -> None:
    store_id = create(installation, cluster, password="Wrong1234567")
    assert connect(store_id) == ("FAILED", "INVALID_CREDENTIALS")
    right, _ = files(installation, cluster)
    with pytest.raises(CustomKeyStoreInvalidStateException):
        call("UpdateCustomKeyStore", CustomKeyStoreId=store_id, KeyStorePassword=right)
    call("DisconnectCustomKeyStore", CustomKeyStoreId=store_id)
    call("UpdateCustomKeyStore", CustomKeyStoreId=store_id, KeyStorePassword=right)
    assert connect(store_id) == ("CONNECTED", "")


def test_a_password_that_the_crypto_officer_changes_is_told_to_kms_and_keys_work_again(
    installation: Path, cluster: Cluster
) -> None:
    store_id = create(installation, cluster)
    assert connect(store_id) == ("CONNECTED", "")
    sealed = call("Encrypt", KeyId=create_key(store_id)["KeyId"], Plaintext=b"kept")["CiphertextBlob"]
    with pytest.raises(CommandError, match="disconnect its key store first"):
        call_command("demo", "kmsuser-password", cluster.cluster_id)
    call("DisconnectCustomKeyStore", CustomKeyStoreId=store_id)
    call_command("demo", "kmsuser-password", cluster.cluster_id)
    assert connect(store_id) == ("FAILED", "INVALID_CREDENTIALS")
    call("DisconnectCustomKeyStore", CustomKeyStoreId=store_id)
    told, _ = files(installation, cluster)
    call("UpdateCustomKeyStore", CustomKeyStoreId=store_id, KeyStorePassword=told)
    assert connect(store_id) == ("CONNECTED", "")
    assert call("Decrypt", CiphertextBlob=sealed)["Plaintext"] == b"kept"


def test_a_store_deleted_while_a_key_is_being_made_in_it_gets_no_key(
    installation: Path, cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    store_id = create(installation, cluster)
    assert connect(store_id) == ("CONNECTED", "")
    reach = steps.reach

    def delete_the_store_before_the_key_is_committed(step: Step) -> None:
        if step is Step.ON_ALL_HSMS:
            call("DisconnectCustomKeyStore", CustomKeyStoreId=store_id)
            call("DeleteCustomKeyStore", CustomKeyStoreId=store_id)
        reach(step)

    monkeypatch.setattr(steps, "reach", delete_the_store_before_the_key_is_committed)
    with pytest.raises(CustomKeyStoreNotFoundException):
        create_key(store_id)
    assert not MaskedKey.objects.filter(cluster=cluster).exists()
    assert not KmsKey.objects.filter(custom_key_store__cluster=cluster).exists()


WRONG_USERS = {
    "no kmsuser": [("delete_user", {"user": "kmsuser"})],
    "a kmsuser that is no crypto user": [
        ("delete_user", {"user": "kmsuser"}),
        ("create_user", {"user": "kmsuser", "role": "admin", "password": "Kmsuser1Password"}),
    ],
}


@pytest.mark.parametrize("changes", WRONG_USERS.values(), ids=WRONG_USERS)
def test_connecting_fails_on_a_cluster_with(
    installation: Path, cluster: Cluster, changes: list[tuple[str, dict[str, str]]]
) -> None:
    as_admin(cluster, *changes)
    store_id = create(installation, cluster, password="Kmsuser1Password")
    assert connect(store_id) == ("FAILED", "USER_NOT_FOUND")


def test_a_store_deleted_without_keys_leaves_its_cluster_to_the_next(installation: Path, cluster: Cluster) -> None:
    store_id = create(installation, cluster)
    assert connect(store_id) == ("CONNECTED", "")
    with pytest.raises(CustomKeyStoreInvalidStateException):
        call("DeleteCustomKeyStore", CustomKeyStoreId=store_id)
    call("DisconnectCustomKeyStore", CustomKeyStoreId=store_id)
    call("DeleteCustomKeyStore", CustomKeyStoreId=store_id)
    assert not CustomKeyStore.objects.filter(custom_key_store_id=store_id).exists()
    # KMS had taken over kmsuser's password; the crypto officer sets another one.
    call_command("demo", "kmsuser-password", cluster.cluster_id)
    assert connect(create(installation, cluster)) == ("CONNECTED", "")
