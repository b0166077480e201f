"""UpdateCustomKeyStore and DeleteCustomKeyStore: what they change, and their refusals, which change nothing."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from hsmapp import clock, credentials
from hsmapp.models import Cluster
from kmsapp.models import CustomKeyStore, KmsKey
from kmsapp.policy.defaults import default_policy
from kmsapp.tests.clusters import cluster
from kmsapp.tests.key_store_rows import (
    OTHER_PASSWORD,
    PASSWORD,
    create,
    describe,
    in_state,
    last_event,
    refused,
    rows_only,
)
from kmsapp.tests.people import ALICE, ELSEWHERE, admit, call


@pytest.fixture(autouse=True)
def installed(transactional_db: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with rows_only(tmp_path, monkeypatch):
        admit(ALICE)
        yield


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
        call(operation, ELSEWHERE if theirs else ALICE, CustomKeyStoreId=store_id, **params)
