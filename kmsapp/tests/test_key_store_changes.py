"""Key stores made, changed and deleted: what is refused, in AWS's words, and that a refusal leaves nothing behind."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.db import connection

from hsmapp import clock, credentials, epochs, sealing
from hsmapp.models import Cluster, ClusterCredential, Epoch
from kmsapp import audit, audit_reading, demo, errors
from kmsapp.errors import KmsError
from kmsapp.models import Account, AuditEvent, CustomKeyStore, KmsKey
from kmsapp.operations.key_store_changes import KEY_STORES_PER_REGION
from kmsapp.policy.defaults import default_policy
from kmsapp.tests.clusters import certificate, cluster
from kmsapp.tests.people import ALICE, CAROL, call

PASSWORD = "Kmsuser1Password"
OTHER_PASSWORD = "Another1Password"


@pytest.fixture(autouse=True)
def rows_only(transactional_db: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """An installation with a master key and two accounts, and nothing else."""
    monkeypatch.setattr(settings, "DATA", tmp_path)
    monkeypatch.setattr(settings, "MASTER_KEY_FILE", tmp_path / "secret" / "master.key")
    sealing.make_master_key(settings.MASTER_KEY_FILE)
    sealing.keyring.cache_clear()
    epochs.forget_all()
    audit.close_file()
    for account in (demo.ACCOUNT, demo.OTHER_ACCOUNT):
        Account.objects.create(account_id=account, created_at=clock.now())
    yield
    audit.close_file()
    sealing.keyring.cache_clear()


def parameters(row: Cluster, name: str = "TestStore", password: str = PASSWORD) -> dict[str, Any]:
    return {
        "CustomKeyStoreName": name,
        "CloudHsmClusterId": row.cluster_id,
        "TrustAnchorCertificate": row.trust_anchor,
        "KeyStorePassword": password,
    }


def create(row: Cluster, name: str = "TestStore") -> str:
    answer = call("CreateCustomKeyStore", **parameters(row, name))
    assert list(answer) == ["CustomKeyStoreId"]
    return str(answer["CustomKeyStoreId"])


def describe(store_id: str) -> dict[str, Any]:
    (entry,) = call("DescribeCustomKeyStores", CustomKeyStoreId=store_id)["CustomKeyStores"]
    return dict(entry)


def in_state(store_id: str, state: str) -> CustomKeyStore:
    CustomKeyStore.objects.filter(custom_key_store_id=store_id).update(connection_state=state)
    return CustomKeyStore.objects.get(custom_key_store_id=store_id)


def put_key_in(store: CustomKeyStore, **fields: Any) -> KmsKey:
    return KmsKey.objects.create(
        account=store.account,
        region=store.region,
        key_id="1234abcd-12ab-34cd-56ef-1234567890ab",
        origin="AWS_CLOUDHSM",
        custom_key_store=store,
        policy=default_policy(store.account),
        created_at=clock.now(),
        **fields,
    )


def everything() -> tuple[Any, ...]:
    """All that a refused call could have changed."""
    return (
        list(CustomKeyStore.objects.order_by("pk").values()),
        [
            (row["id"], bytes(row["password_sealed"]), row["pending_password_sealed"])
            for row in ClusterCredential.objects.order_by("pk").values()
        ],
        list(Epoch.objects.order_by("pk").values()),
        AuditEvent.objects.count(),
    )


@contextmanager
def refused(code: str) -> Iterator[None]:
    """The call inside is refused with that exception, leaves no trace and is recorded as refused."""
    audit_reading.read_in(clock.now())
    before = everything()
    with pytest.raises(getattr(errors, code)) as raised:
        yield
    assert raised.value.message, "it says what to do"
    assert PASSWORD not in raised.value.message and OTHER_PASSWORD not in raised.value.message
    assert everything() == before
    audit_reading.read_in(clock.now())
    last = AuditEvent.objects.order_by("pk").last()
    assert last is not None and (last.error_code, last.event["errorMessage"]) == (code, raised.value.message)


def last_event(name: str) -> dict[str, Any]:
    audit_reading.read_in(clock.now())
    event: dict[str, Any] = AuditEvent.objects.filter(event_name=name).latest("pk").event
    return event


# CreateCustomKeyStore


def test_a_new_store_is_disconnected_and_describes_itself_as_it_was_asked_for() -> None:
    row = cluster()
    store_id = create(row)
    assert store_id.startswith("cks-") and len(store_id) == 21
    shown = describe(store_id)
    assert shown.pop("CreationDate") <= clock.now()
    assert shown == {
        "CustomKeyStoreId": store_id,
        "CustomKeyStoreName": "TestStore",
        "CloudHsmClusterId": row.cluster_id,
        "TrustAnchorCertificate": row.trust_anchor,
        "ConnectionState": "DISCONNECTED",
        "CustomKeyStoreType": "AWS_CLOUDHSM",
    }


def test_the_record_of_a_creation_holds_name_and_cluster_but_neither_password_nor_certificate() -> None:
    row = cluster()
    store_id = create(row)
    event = last_event("CreateCustomKeyStore")
    assert event["requestParameters"] == {"customKeyStoreName": "TestStore", "clusterId": row.cluster_id}
    assert event["responseElements"] == {"customKeyStoreId": store_id}
    assert PASSWORD not in json.dumps(event) and "BEGIN CERTIFICATE" not in json.dumps(event)


def test_the_password_is_kept_sealed_in_place_of_what_was_known_and_pending() -> None:
    row = cluster()
    stale = credentials.seal(row.cluster_id, "kmsuser", OTHER_PASSWORD)
    ClusterCredential.objects.create(
        cluster=row, user_name="kmsuser", password_sealed=stale, pending_password_sealed=stale
    )
    create(row)
    credential = ClusterCredential.objects.get(cluster=row, user_name="kmsuser")
    assert credentials.current_password(credential) == PASSWORD
    assert credential.pending_password_sealed is None
    assert PASSWORD.encode() not in bytes(credential.password_sealed)


def test_the_certificate_may_come_with_other_line_ends_and_text_around_it_and_is_kept_without() -> None:
    row = cluster()
    sent = "Subject: CN=somebody\r\n" + row.trust_anchor.replace("\n", "\r\n") + "\r\n"
    answer = call("CreateCustomKeyStore", **parameters(row) | {"TrustAnchorCertificate": sent})
    assert describe(answer["CustomKeyStoreId"])["TrustAnchorCertificate"] == row.trust_anchor


def test_the_same_call_again_gives_the_same_store_while_it_is_disconnected() -> None:
    row = cluster()
    store_id = create(row)
    before = everything()
    assert create(row) == store_id
    assert everything() == before
    in_state(store_id, "CONNECTED")
    with refused("CustomKeyStoreNameInUseException"):
        create(row)


Wrong = Callable[[Cluster], dict[str, Any]]  # parameters that differ from good ones
CREATE_REFUSED: dict[str, tuple[str, Wrong]] = {
    "another password than the store of that name": (
        "CustomKeyStoreNameInUseException",
        lambda row: parameters(_bound(row), password=OTHER_PASSWORD),
    ),
    "a name that another store has": (
        "CustomKeyStoreNameInUseException",
        lambda row: parameters(row, _other_name()),
    ),
    "a cluster that is not there": (
        "CloudHsmClusterNotFoundException",
        lambda row: parameters(row) | {"CloudHsmClusterId": "cluster-aaaaaaaaaaa"},
    ),
    "a cluster of another account": (
        "CloudHsmClusterNotFoundException",
        lambda row: parameters(cluster(account=demo.OTHER_ACCOUNT)),
    ),
    "a cluster of another Region": (
        "CloudHsmClusterNotFoundException",
        lambda row: parameters(cluster(region="eu-central-1")),
    ),
    "a deleted cluster": ("CloudHsmClusterNotFoundException", lambda row: parameters(cluster(state="DELETED"))),
    "a cluster without an HSM yet": (
        "CloudHsmClusterNotActiveException",
        lambda row: parameters(cluster(state="UNINITIALIZED")),
    ),
    "a cluster that was not activated": (
        "CloudHsmClusterNotActiveException",
        lambda row: parameters(cluster(state="INITIALIZED")),
    ),
    "a cluster that is being deleted": (
        "CloudHsmClusterNotActiveException",
        lambda row: parameters(cluster(state="DELETE_IN_PROGRESS")),
    ),
    "a cluster that another store has": (
        "CloudHsmClusterInUseException",
        lambda row: parameters(_bound(row), "Other"),
    ),
    "a cluster of the backup history of another store's": (
        "CloudHsmClusterInUseException",
        lambda row: parameters(cluster(history=_bound(row).cluster_id), "Other"),
    ),
    "subnets in one zone": (
        "CloudHsmClusterInvalidConfigurationException",
        lambda row: parameters(cluster(subnets=("us-west-2a",))),
    ),
    "no active HSM": ("CloudHsmClusterInvalidConfigurationException", lambda row: parameters(cluster(zones=()))),
    "one active HSM": (
        "CloudHsmClusterInvalidConfigurationException",
        lambda row: parameters(cluster(zones=("us-west-2a",))),
    ),
    "two active HSMs in one zone": (
        "CloudHsmClusterInvalidConfigurationException",
        lambda row: parameters(cluster(zones=("us-west-2a", "us-west-2a"))),
    ),
    "the certificate of another cluster": (
        "IncorrectTrustAnchorException",
        lambda row: parameters(row) | {"TrustAnchorCertificate": certificate("another")},
    ),
    "the cluster's own certificate, which is no trust anchor": (
        "IncorrectTrustAnchorException",
        lambda row: parameters(row) | {"TrustAnchorCertificate": row.cluster_certificate},
    ),
    "no certificate at all": (
        "IncorrectTrustAnchorException",
        lambda row: parameters(row) | {"TrustAnchorCertificate": "-----BEGIN CERTIFICATE-----\nnothing"},
    ),
    "a missing cluster": ("ValidationException", lambda row: _without(row, "CloudHsmClusterId")),
    "a missing certificate": ("ValidationException", lambda row: _without(row, "TrustAnchorCertificate")),
    "a missing password": ("ValidationException", lambda row: _without(row, "KeyStorePassword")),
    "a password of 6 characters": ("ValidationException", lambda row: parameters(row, password="Short1")),
    "a password of 33 characters": ("ValidationException", lambda row: parameters(row, password="x" * 33)),
    "a certificate of 5001 characters": (
        "ValidationException",
        lambda row: parameters(row) | {"TrustAnchorCertificate": "x" * 5001},
    ),
    "an empty name": ("ValidationException", lambda row: parameters(row, name="")),
    "a name of 257 characters": ("ValidationException", lambda row: parameters(row, name="x" * 257)),
    "a member of external key stores": (
        "ValidationException",
        lambda row: parameters(row) | {"XksProxyConnectivity": "PUBLIC_ENDPOINT"},
    ),
    "an external key store": (
        "UnsupportedOperationException",
        lambda row: {"CustomKeyStoreName": "TestStore", "CustomKeyStoreType": "EXTERNAL_KEY_STORE"},
    ),
}


def _bound(row: Cluster) -> Cluster:
    create(row)
    return row


def _without(row: Cluster, name: str) -> dict[str, Any]:
    return {key: value for key, value in parameters(row).items() if key != name}


@pytest.mark.parametrize(("code", "wrong"), CREATE_REFUSED.values(), ids=CREATE_REFUSED)
def test_create_is_refused_with(code: str, wrong: Wrong) -> None:
    row = cluster()
    params = wrong(row)
    with refused(code):
        call("CreateCustomKeyStore", **params)
    if code != "UnsupportedOperationException":
        good = cluster()
        assert create(good, "Good"), "the same call with good parameters is taken"


def test_the_eleventh_store_of_a_region_is_refused() -> None:
    for number in range(KEY_STORES_PER_REGION):
        create(cluster(), f"Store {number}")
    eleventh = cluster()
    with refused("LimitExceededException"):
        create(eleventh, "One too many")
    elsewhere = cluster(account=demo.OTHER_ACCOUNT)
    assert call("CreateCustomKeyStore", CAROL, **parameters(elsewhere))["CustomKeyStoreId"]
    print(f"{KEY_STORES_PER_REGION} stores made, the next refused")


def test_of_many_callers_who_want_one_cluster_one_gets_it() -> None:
    row = cluster()
    barrier, answers = threading.Barrier(6), []

    def ask(number: int) -> None:
        try:
            barrier.wait()
            answers.append(create(row, f"Store {number}"))
        except KmsError as error:
            answers.append(error.code)
        finally:
            connection.close()

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(answers)[:5] == ["CloudHsmClusterInUseException"] * 5
    assert CustomKeyStore.objects.count() == 1
    print(f"{len(answers)} callers, 1 store")


# UpdateCustomKeyStore


def update(store_id: str, **params: Any) -> None:
    assert call("UpdateCustomKeyStore", CustomKeyStoreId=store_id, **params) == {}


@pytest.mark.parametrize("state", ["DISCONNECTED", "CONNECTED"])
def test_a_store_is_renamed_whether_connected_or_not(state: str) -> None:
    store_id = create(row := cluster())
    in_state(store_id, state)
    update(store_id, NewCustomKeyStoreName="Renamed")
    assert describe(store_id)["CustomKeyStoreName"] == "Renamed"
    event = last_event("UpdateCustomKeyStore")
    assert event["requestParameters"] == {"customKeyStoreId": store_id, "newCustomKeyStoreName": "Renamed"}
    assert event["responseElements"] is None
    assert event["additionalEventData"] == {"customKeyStoreName": "Renamed", "clusterId": row.cluster_id}


def test_a_new_password_replaces_the_known_and_the_pending_one_and_is_recorded_nowhere() -> None:
    store_id = create(cluster())
    store = in_state(store_id, "DISCONNECTED")
    store.credential.pending_password_sealed = credentials.seal(store.cluster.cluster_id, "kmsuser", "Pending1Word")
    store.credential.save()
    update(store_id, KeyStorePassword=OTHER_PASSWORD)
    store.credential.refresh_from_db()
    assert credentials.current_password(store.credential) == OTHER_PASSWORD
    assert store.credential.pending_password_sealed is None
    event = last_event("UpdateCustomKeyStore")
    assert event["requestParameters"] == {"customKeyStoreId": store_id} and OTHER_PASSWORD not in json.dumps(event)


def test_a_store_moves_to_a_cluster_of_the_same_backup_history_and_takes_its_password_along() -> None:
    first = cluster()
    store_id = create(first)
    store = in_state(store_id, "DISCONNECTED")
    store.credential.pending_password_sealed = credentials.seal(first.cluster_id, "kmsuser", "Pending1Word")
    store.credential.save()
    second = cluster(history=first.cluster_id)
    update(store_id, CloudHsmClusterId=second.cluster_id)
    assert describe(store_id)["CloudHsmClusterId"] == second.cluster_id
    moved = CustomKeyStore.objects.get(custom_key_store_id=store_id).credential
    assert (moved.cluster, credentials.current_password(moved)) == (second, PASSWORD)
    assert credentials.pending_password(moved) == "Pending1Word"
    # Both clusters are of one history, so the first one is still nobody else's.
    with refused("CloudHsmClusterInUseException"):
        create(first, "Other")
    update(store_id, CloudHsmClusterId=first.cluster_id, KeyStorePassword=OTHER_PASSWORD)
    back = CustomKeyStore.objects.get(custom_key_store_id=store_id).credential
    assert (back.cluster, credentials.current_password(back)) == (first, OTHER_PASSWORD)
    assert back.pending_password_sealed is None


UPDATE_REFUSED: dict[str, tuple[str, str, Callable[[Cluster], dict[str, Any]]]] = {
    "a new password while connected": (
        "CustomKeyStoreInvalidStateException",
        "CONNECTED",
        lambda row: {"KeyStorePassword": OTHER_PASSWORD},
    ),
    "name and password while connected": (
        "CustomKeyStoreInvalidStateException",
        "CONNECTED",
        lambda row: {"NewCustomKeyStoreName": "Renamed", "KeyStorePassword": OTHER_PASSWORD},
    ),
    "the cluster it has, while connected": (
        "CustomKeyStoreInvalidStateException",
        "CONNECTED",
        lambda row: {"CloudHsmClusterId": row.cluster_id},
    ),
    "a name while failed": (
        "CustomKeyStoreInvalidStateException",
        "FAILED",
        lambda row: {"NewCustomKeyStoreName": "Renamed"},
    ),
    "a name while connecting": (
        "CustomKeyStoreInvalidStateException",
        "CONNECTING",
        lambda row: {"NewCustomKeyStoreName": "Renamed"},
    ),
    "a password while disconnecting": (
        "CustomKeyStoreInvalidStateException",
        "DISCONNECTING",
        lambda row: {"KeyStorePassword": OTHER_PASSWORD},
    ),
    "a name that another store has, with a password": (
        "CustomKeyStoreNameInUseException",
        "DISCONNECTED",
        lambda row: {"NewCustomKeyStoreName": _other_name(), "KeyStorePassword": OTHER_PASSWORD},
    ),
    "a cluster that is not there": (
        "CloudHsmClusterNotFoundException",
        "DISCONNECTED",
        lambda row: {"CloudHsmClusterId": "cluster-aaaaaaaaaaa"},
    ),
    "a cluster of another history": (
        "CloudHsmClusterNotRelatedException",
        "DISCONNECTED",
        lambda row: {"CloudHsmClusterId": cluster().cluster_id, "NewCustomKeyStoreName": "Renamed"},
    ),
    "a related cluster that is not active": (
        "CloudHsmClusterNotActiveException",
        "DISCONNECTED",
        lambda row: {"CloudHsmClusterId": cluster(history=row.cluster_id, state="INITIALIZED").cluster_id},
    ),
    "a related cluster with one HSM": (
        "CloudHsmClusterInvalidConfigurationException",
        "DISCONNECTED",
        lambda row: {"CloudHsmClusterId": cluster(history=row.cluster_id, zones=("us-west-2a",)).cluster_id},
    ),
    "nothing to change": ("ValidationException", "DISCONNECTED", lambda row: {}),
    "a member of external key stores": (
        "ValidationException",
        "DISCONNECTED",
        lambda row: {"NewCustomKeyStoreName": "Renamed", "XksProxyUriEndpoint": "https://example.com"},
    ),
    "a password of 6 characters": ("ValidationException", "DISCONNECTED", lambda row: {"KeyStorePassword": "Short1"}),
}


def _other_name() -> str:
    create(cluster(), "Other")
    return "Other"


@pytest.mark.parametrize(("code", "state", "wrong"), UPDATE_REFUSED.values(), ids=UPDATE_REFUSED)
def test_update_is_refused_with(code: str, state: str, wrong: Callable[[Cluster], dict[str, Any]]) -> None:
    row = cluster()
    store_id = create(row)
    in_state(store_id, state)
    params = wrong(row)
    with refused(code):
        update(store_id, **params)


# DeleteCustomKeyStore


def test_a_deleted_store_is_gone_and_its_cluster_can_have_another_one() -> None:
    row = cluster()
    store_id = create(row)
    assert call("DeleteCustomKeyStore", CustomKeyStoreId=store_id) == {}
    assert call("DescribeCustomKeyStores")["CustomKeyStores"] == []
    event = last_event("DeleteCustomKeyStore")
    assert event["requestParameters"] == {"customKeyStoreId": store_id}
    assert event["additionalEventData"] == {"customKeyStoreName": "TestStore", "clusterId": row.cluster_id}
    assert Cluster.objects.filter(pk=row.pk).exists()
    assert create(row) != store_id
    assert KmsKey.objects.count() == 0


@pytest.mark.parametrize("state", ["CONNECTED", "CONNECTING", "FAILED", "DISCONNECTING"])
def test_a_store_that_is_not_disconnected_stays(state: str) -> None:
    store_id = create(cluster())
    in_state(store_id, state)
    with refused("CustomKeyStoreInvalidStateException"):
        call("DeleteCustomKeyStore", CustomKeyStoreId=store_id)


@pytest.mark.parametrize("store_state", ["DISCONNECTED", "CONNECTED"])
@pytest.mark.parametrize("key_state", ["Enabled", "Disabled", "PendingDeletion"])
def test_a_store_with_a_key_stays_whatever_state_the_key_is_in(store_state: str, key_state: str) -> None:
    store_id = create(cluster())
    put_key_in(in_state(store_id, store_state), key_state=key_state)
    with refused("CustomKeyStoreHasCMKsException"):
        call("DeleteCustomKeyStore", CustomKeyStoreId=store_id)


@pytest.mark.parametrize("operation", ["UpdateCustomKeyStore", "DeleteCustomKeyStore"])
@pytest.mark.parametrize("theirs", [True, False], ids=["of another account", "of nobody"])
def test_a_store_is_not_found(operation: str, theirs: bool) -> None:
    store_id = create(cluster()) if theirs else "cks-00000000000000000"
    params = {"NewCustomKeyStoreName": "Renamed"} if operation == "UpdateCustomKeyStore" else {}
    with refused("CustomKeyStoreNotFoundException"):
        call(operation, CAROL if theirs else ALICE, CustomKeyStoreId=store_id, **params)
