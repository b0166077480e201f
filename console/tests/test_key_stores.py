"""Custom key stores and clusters without a browser."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from django.test import Client

from console.serving import seeding
from console.testing import key_store, new_account, person, signed_in_client
from console.topology import picture
from kmsapp.models import CustomKeyStore

pytestmark = pytest.mark.django_db


@pytest.fixture
def store() -> CustomKeyStore:
    return key_store(new_account())


@pytest.fixture
def client(store: CustomKeyStore) -> Client:
    return signed_in_client(person("alice", account=store.account))


def in_state(store: CustomKeyStore, state: str, code: str = "") -> str:
    CustomKeyStore.objects.filter(pk=store.pk).update(connection_state=state, connection_error_code=code)
    return f"/key-stores/{store.custom_key_store_id}/"


def text(client: Client, path: str) -> str:
    answer = client.get(path)
    assert answer.status_code == 200
    return answer.content.decode()


def test_the_table_shows_state_cluster_hsms_and_zones(client: Client, store: CustomKeyStore) -> None:
    key_store(store.account, name="SingleHsmStore", zones=("us-west-2c",))
    page = text(client, "/key-stores/")
    for value in (store.name, store.custom_key_store_id, "Connected", store.cluster.cluster_id):
        assert value in page
    assert "<td>2</td>" in page and "us-west-2a, us-west-2b" in page
    assert "1 of 2 required" in page


@pytest.mark.parametrize("state", ["CONNECTING", "DISCONNECTING"])
def test_pages_ask_again_only_while_something_is_under_way(client: Client, store: CustomKeyStore, state: str) -> None:
    address = in_state(store, state)
    for path in ("/key-stores/", "/key-stores/table/", address, address + "state/"):
        assert 'hx-trigger="every 2s"' in text(client, path), path
    in_state(store, "CONNECTED")
    for path in ("/key-stores/", "/key-stores/table/", address, address + "state/"):
        assert "every 2s" not in text(client, path), path


def test_a_failed_store_says_why_and_what_to_do(client: Client, store: CustomKeyStore) -> None:
    address = in_state(store, "FAILED", "INVALID_CREDENTIALS")
    for path in ("/key-stores/", address):
        page = text(client, path)
        assert "INVALID_CREDENTIALS" in page and "password of kmsuser" in page
        assert "popovertarget" in page
    assert 'id="INVALID_CREDENTIALS"' in text(client, "/help/troubleshooting-a-key-store/")


ACTIONS = {
    ("connect", "DISCONNECTED"): True,
    ("connect", "CONNECTED"): False,
    ("connect", "FAILED"): False,
    ("connect", "CONNECTING"): False,
    ("disconnect", "CONNECTED"): True,
    ("disconnect", "FAILED"): True,
    ("disconnect", "DISCONNECTED"): False,
    ("disconnect", "DISCONNECTING"): False,
}


@pytest.mark.parametrize(("action", "state", "allowed"), [(*case, allowed) for case, allowed in ACTIONS.items()])
def test_key_store_actions_lead_on_or_say_why_not(
    client: Client, store: CustomKeyStore, action: str, state: str, allowed: bool
) -> None:
    address = in_state(store, state)
    chosen = client.get("/key-stores/choose/", {"store": store.custom_key_store_id, "action": action})
    if allowed:
        assert chosen.headers["Location"] == f"{address}{action}/"
        assert f'href="{address}{action}/"' in text(client, address)
    else:
        assert chosen.headers["Location"] == "/key-stores/"
        assert f'href="{address}{action}/"' not in text(client, address)


def test_choosing_an_action_without_a_store_says_so(client: Client) -> None:
    for query in ({}, {"store": "cks-unknown", "action": "connect"}, {"action": "delete"}):
        page = client.get("/key-stores/choose/", query, follow=True).content.decode()
        assert "Select a key store" in page


def test_looking_at_the_confirmation_changes_nothing(client: Client, store: CustomKeyStore) -> None:
    address = in_state(store, "CONNECTED")
    assert "unusable" in text(client, address + "disconnect/")
    store.refresh_from_db()
    assert store.connection_state == "CONNECTED"


def test_a_refused_action_shows_the_exception(client: Client, store: CustomKeyStore) -> None:
    address = in_state(store, "FAILED", "INTERNAL_ERROR")
    answer = client.post(address + "connect/")
    assert answer.status_code == 400
    assert "CustomKeyStoreInvalidStateException" in answer.content.decode()


def test_stores_and_clusters_of_other_accounts_are_not_there(client: Client) -> None:
    foreign = key_store(new_account(), name="Foreign")
    assert "Foreign" not in text(client, "/key-stores/")
    assert foreign.cluster.cluster_id not in text(client, "/clusters/")
    paths = [f"/key-stores/{foreign.custom_key_store_id}/", f"/clusters/{foreign.cluster.cluster_id}/"]
    paths += [f"{paths[0]}{name}/" for name in ("connect", "disconnect", "state")]
    for path in paths:
        assert client.get(path).status_code == 404, path


def test_the_cluster_page_draws_its_zones_and_says_the_same_in_words(client: Client, store: CustomKeyStore) -> None:
    page = text(client, f"/clusters/{store.cluster.cluster_id}/")
    drawing = page[page.index('<svg class="picture"') :].split("</svg>")[0]
    for hsm in store.cluster.hsms.all():
        assert drawing.count(hsm.hsm_id) == 2, "drawn, and in the description"
        assert hsm.availability_zone in drawing
    assert store.name in drawing


def test_a_cluster_without_hsms_has_a_picture_too() -> None:
    drawn = picture({"ClusterId": "cluster-1", "SubnetMapping": {"us-west-2a": "subnet-1"}, "Hsms": []})
    assert [zone.name for zone in drawn.zones] == ["us-west-2a"]
    assert drawn.text == "Cluster cluster-1 serves no custom key store. us-west-2a: no HSM."
    assert picture({"ClusterId": "cluster-1", "SubnetMapping": {}, "Hsms": []}).zones == []


def test_healthz_needs_one_active_hsm_in_each_cluster_that_has_any(store: CustomKeyStore) -> None:
    hsms = store.cluster.hsms
    hsms.update(wanted=True)
    assert Client().get("/healthz").status_code == 200
    first = hsms.first()
    assert first is not None
    hsms.filter(pk=first.pk).update(state="DEGRADED")
    assert Client().get("/healthz").json() == {"status": "ok", "active_hsms": 1, "wanted_hsms": 2}
    hsms.update(state="DEGRADED")
    answer = Client().get("/healthz")
    assert (answer.status_code, store.cluster.cluster_id in answer.json()["status"]) == (503, True)


def test_healthz_waits_for_the_seed(settings: Any, tmp_path: Path) -> None:
    settings.DATA = tmp_path
    assert Client().get("/healthz").status_code == 200
    seeding.mark(tmp_path).touch()
    answer = Client().get("/healthz")
    assert (answer.status_code, answer.json()["status"]) == (503, "what the installation begins with is being made")
