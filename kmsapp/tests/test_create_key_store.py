"""CreateCustomKeyStore: what it makes, and each of its refusals, which leaves nothing behind and is recorded."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from django.db import connection

from hsmapp import clock, credentials
from hsmapp.models import Cluster, ClusterCredential
from kmsapp import demo
from kmsapp.errors import KmsError
from kmsapp.models import CustomKeyStore
from kmsapp.operations.key_store_changes import KEY_STORES_PER_REGION
from kmsapp.tests.clusters import certificate, cluster
from kmsapp.tests.key_store_rows import (
    OTHER_PASSWORD,
    PASSWORD,
    create,
    describe,
    everything,
    in_state,
    last_event,
    parameters,
    refused,
    rows_only,
)
from kmsapp.tests.people import ALICE, ELSEWHERE, admit, call


@pytest.fixture(autouse=True)
def installed(transactional_db: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with rows_only(tmp_path, monkeypatch):
        admit(ALICE)
        yield


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
        lambda row: parameters(row, _name_of_another()),
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


def _name_of_another() -> str:
    create(cluster(), "Another")
    return "Another"


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
    assert call("CreateCustomKeyStore", ELSEWHERE, **parameters(elsewhere))["CustomKeyStoreId"]
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
