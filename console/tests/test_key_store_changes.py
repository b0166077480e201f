"""The pages that create, edit and delete custom key stores, without a browser and without HSM processes."""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterator
from html import unescape
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client

from console import drafts
from console.models import KeyDraft
from console.testing import REGION, key_store, kms_key, new_account, person, signed_in_client
from hsmapp import credentials, sealing
from hsmapp.models import Cluster
from kmsapp.models import CustomKeyStore, KmsKey
from kmsapp.tests.clusters import certificate, cluster

pytestmark = pytest.mark.django_db
PASSWORD = "Kmsuser1Password"
CREATE = "/key-stores/create/"
CLOUDHSM = {"key_type": "symmetric", "key_usage": "ENCRYPT_DECRYPT", "origin": "AWS_CLOUDHSM", "regionality": "single"}


@pytest.fixture(autouse=True)
def master_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(settings, "MASTER_KEY_FILE", tmp_path / "master.key")
    sealing.make_master_key(settings.MASTER_KEY_FILE)
    sealing.keyring.cache_clear()
    yield
    sealing.keyring.cache_clear()


@pytest.fixture
def free() -> Cluster:
    """A cluster that no key store has."""
    return cluster(account=new_account())


@pytest.fixture
def client(free: Cluster) -> Client:
    return signed_in_client(person("alice", account=free.account))


def entered(row: Cluster, **changed: Any) -> dict[str, Any]:
    file = SimpleUploadedFile("customerCA.crt", row.trust_anchor.encode())
    fields = {"name": "TestStore", "cluster": row.cluster_id, "certificate_file": file, "password": PASSWORD}
    return {name: value for name, value in {**fields, **changed}.items() if value is not None}


def stores(row: Cluster) -> list[CustomKeyStore]:
    return list(CustomKeyStore.objects.filter(account=row.account))


def html(answer: Any) -> str:
    return unescape(answer.content.decode())


def problem(answer: Any, field: str) -> str:
    """The sentence below a field."""
    found = re.search(rf'id="{field}_problem"[^>]*>(.*?)</div>', html(answer), re.S)
    assert found, field
    return re.sub(r"<[^>]+>", "", found.group(1)).strip()


def test_a_store_is_created_from_a_file_and_leads_to_its_page(client: Client, free: Cluster) -> None:
    answer = client.post(CREATE, entered(free), follow=True)
    (store,) = stores(free)
    assert answer.request["PATH_INFO"] == f"/key-stores/{store.custom_key_store_id}/"
    assert f"TestStore was created with ID {store.custom_key_store_id}" in html(answer)
    assert credentials.current_password(store.credential) == PASSWORD
    assert (store.connection_state, store.trust_anchor_certificate) == ("DISCONNECTED", free.trust_anchor)


def test_a_store_is_created_from_a_pasted_certificate(client: Client, free: Cluster) -> None:
    pasted = free.trust_anchor.replace("\n", "\r\n")
    assert client.post(CREATE, entered(free, certificate_file=None, certificate=pasted)).status_code == 302
    assert len(stores(free)) == 1


KEY = "-----BEGIN PRIVATE KEY-----\nc2VjcmV0\n-----END PRIVATE KEY-----\n"
WRONG: dict[str, tuple[dict[str, Any], str, str]] = {
    "no name": ({"name": " "}, "id_name", "Custom key store name is required."),
    "a name of 257 characters": ({"name": "x" * 257}, "id_name", "Custom key store name must be 1 to 256 characters."),
    "no cluster": ({"cluster": None}, "id_cluster", "Choose a cluster."),
    "no certificate": ({"certificate_file": None}, "id_certificate", "Choose the certificate file customerCA.crt"),
    "an empty file": ({"certificate_file": SimpleUploadedFile("a", b"")}, "id_certificate", "Choose the certificate"),
    "a file of bytes": (
        {"certificate_file": SimpleUploadedFile("a", bytes(range(256)))},
        "id_certificate",
        "What was sent is not one PEM certificate",
    ),
    "a private key": ({"certificate_file": None, "certificate": KEY}, "id_certificate", "What was sent is not one PEM"),
    "a huge file": (
        {"certificate_file": SimpleUploadedFile("a", b"x" * 100_000)},
        "id_certificate",
        "What was sent is not one PEM certificate of up to 5000 characters",
    ),
    "another cluster's certificate": (
        {"certificate_file": None, "certificate": certificate("another")},
        "id_certificate",
        "The certificate is not the trust anchor",
    ),
    "no password": ({"password": ""}, "id_password", "Enter the password of kmsuser."),
    "a short password": ({"password": "Short1"}, "id_password", "The password must be 7 to 32 characters."),
    "a cluster that is not there": (
        {"cluster": "cluster-aaaaaaaaaaa"},
        "id_cluster",
        "There is no CloudHSM cluster cluster-aaaaaaaaaaa",
    ),
}


@pytest.mark.parametrize(("changed", "field", "sentence"), WRONG.values(), ids=WRONG)
def test_a_store_is_not_created_with(
    client: Client, free: Cluster, changed: dict[str, Any], field: str, sentence: str
) -> None:
    for upload in changed.values():
        if isinstance(upload, SimpleUploadedFile):
            upload.seek(0)
    answer = client.post(CREATE, entered(free, **changed))
    assert answer.status_code in {400, 422}
    assert "The key store wasn't created" in html(answer)
    assert sentence in problem(answer, field)
    assert f'href="#{field}"' in html(answer), "the alert leads to the field"
    assert PASSWORD not in html(answer) and "PRIVATE KEY" not in html(answer)
    assert stores(free) == []


def test_what_was_entered_is_kept_except_the_password(client: Client, free: Cluster) -> None:
    key_store(free.account, name="Taken")
    answer = client.post(CREATE, entered(free, name="Taken"))
    assert (answer.status_code, "(CustomKeyStoreNameInUseException)" in html(answer)) == (400, True)
    assert 'value="Taken"' in html(answer)
    assert f'value="{free.cluster_id}" aria-label="Select {free.cluster_id}" checked' in html(answer)
    assert free.trust_anchor.splitlines()[3] in html(answer), "a file is chosen once, and then stands in the text"
    assert PASSWORD not in html(answer)
    assert "What you entered is not kept: enter it again." in html(answer)


def test_clusters_that_cannot_be_chosen_say_why(client: Client, free: Cluster) -> None:
    bound = key_store(free.account).cluster
    single = cluster(account=free.account, zones=("us-west-2a",))
    inactive = cluster(account=free.account, state="INITIALIZED")
    foreign = cluster(account=new_account())
    page = html(client.get(CREATE))
    for row, reason in {
        bound: "belongs to the custom key store ExampleKeyStore",
        single: "1 active HSM in 1 Availability Zone",
        inactive: "is INITIALIZED, not ACTIVE",
    }.items():
        radio = page[page.index(f'value="{row.cluster_id}"') :].split("</tr>")[0]
        assert " disabled" in radio and reason in radio, row
    assert f'value="{free.cluster_id}" aria-label="Select {free.cluster_id}" checked' in page, "the only one that fits"
    assert foreign.cluster_id not in page


def draft_of(client: Client) -> KeyDraft:
    answer = client.post("/keys/create/", CLOUDHSM)
    return KeyDraft.objects.get(pk=answer.headers["Location"].split("/")[3])


def choices_of(draft: KeyDraft) -> drafts.Choices:
    draft.refresh_from_db()
    return drafts.Choices.of(draft)


def test_from_inside_the_wizard_the_way_leads_back_to_the_draft(client: Client, free: Cluster) -> None:
    usable = key_store(free.account)
    draft = draft_of(client)
    step = f"/keys/create/{draft.pk}/key-store/"
    client.post(step, {"go": "next", "custom_key_store_id": usable.custom_key_store_id})
    client.post(f"/keys/create/{draft.pk}/labels/", {"go": "next", "alias": "kept", "description": ""})
    answer = client.post(step, {"go": "create-store", "custom_key_store_id": usable.custom_key_store_id})
    assert answer.headers["Location"] == step + "create/"
    assert f'href="{step}">Cancel' in html(client.get(step + "create/"))
    answer = client.post(step + "create/", entered(free))
    assert answer.headers["Location"] == step
    new = CustomKeyStore.objects.get(name="TestStore").custom_key_store_id
    choices = choices_of(draft)
    assert (choices.custom_key_store_id, choices.alias) == (new, "kept")
    assert "key-store" not in choices.done, "the step is to be left again with Next"
    page = html(client.get(step))
    assert "Your choice. It can't be used yet." in page
    assert " checked" not in page, "the other store is not chosen in its place"
    assert client.get(f"/keys/create/{draft.pk}/review/").headers["Location"] == step
    CustomKeyStore.objects.filter(custom_key_store_id=new).update(connection_state="CONNECTED")
    assert f'value="{new}" aria-label="Select TestStore" checked' in html(client.get(step + "table/"))


def test_the_wizards_table_asks_again_while_connecting_and_keeps_what_is_selected(
    client: Client, free: Cluster
) -> None:
    usable, busy = key_store(free.account), key_store(free.account, name="Busy", state="CONNECTING")
    draft = draft_of(client)
    table = f"/keys/create/{draft.pk}/key-store/table/"
    page = html(client.get(table, {"custom_key_store_id": usable.custom_key_store_id}))
    assert f'hx-get="{table}"' in page and "<html" not in page
    assert f'value="{usable.custom_key_store_id}" aria-label="Select ExampleKeyStore" checked' in page
    CustomKeyStore.objects.filter(pk=busy.pk).update(connection_state="CONNECTED")
    page = html(client.get(table))
    assert "hx-get" not in page and 'id="unusable-key-stores" hx-swap-oob="true"></div>' in page


@pytest.mark.parametrize(("state", "button"), [("DISCONNECTED", "connect"), ("FAILED", "disconnect")])
def test_the_wizard_connects_and_disconnects_and_the_draft_waits(
    client: Client, free: Cluster, state: str, button: str
) -> None:
    store = key_store(free.account, state=state, error_code="INVALID_CREDENTIALS" if state == "FAILED" else "")
    draft = draft_of(client)
    step = f"/keys/create/{draft.pk}/key-store/"
    go = f"{button}:{store.custom_key_store_id}"
    assert f'value="{go}"' in html(client.get(step))
    assert client.post(step, {"go": go}).headers["Location"] == step
    store.refresh_from_db()
    assert store.connection_state == f"{button.upper()}ING"
    assert choices_of(draft).custom_key_store_id == store.custom_key_store_id


def test_a_refused_connect_in_the_wizard_says_why_and_where_help_is(client: Client, free: Cluster) -> None:
    store = key_store(free.account, state="DISCONNECTED", zones=())
    draft = draft_of(client)
    step = f"/keys/create/{draft.pk}/key-store/"
    answer = client.post(step, {"go": f"connect:{store.custom_key_store_id}"}, follow=True)
    assert "(CloudHsmClusterInvalidConfigurationException)" in html(answer)
    assert 'href="/help/adding-an-hsm/">Adding an HSM' in html(answer)


def test_somebody_elses_draft_is_not_there(client: Client, free: Cluster) -> None:
    draft = draft_of(client)
    bob = signed_in_client(person("bob", account=free.account))
    store = key_store(free.account)
    for path in ("create/", "table/", f"{store.custom_key_store_id}/edit/"):
        assert bob.get(f"/keys/create/{draft.pk}/key-store/{path}").status_code == 404
    assert bob.post(f"/keys/create/{draft.pk}/key-store/create/", entered(free)).status_code == 404
    assert bob.get(f"/keys/create/{uuid.uuid4()}/key-store/create/").status_code == 404
    assert CustomKeyStore.objects.filter(name="TestStore").count() == 0


# Edit and delete


def sealed_store(free: Cluster, state: str = "DISCONNECTED") -> CustomKeyStore:
    store = key_store(free.account, state=state)
    credentials.set_password(store.credential, PASSWORD)
    return store


def test_editing_says_what_was_changed_and_asks_kms_for_nothing_else(client: Client, free: Cluster) -> None:
    store = sealed_store(free)
    address = f"/key-stores/{store.custom_key_store_id}/"
    form = {"name": store.name, "cluster": store.cluster.cluster_id, "password": ""}
    assert f"Nothing of {store.name} was changed." in html(client.post(address + "edit/", form, follow=True))
    form |= {"name": "Renamed", "password": "Another1Password"}
    page = html(client.post(address + "edit/", form, follow=True))
    assert "Renamed was changed: custom key store name, kmsuser password." in page
    assert "Another1Password" not in page
    store.refresh_from_db()
    assert (store.name, credentials.current_password(store.credential)) == ("Renamed", "Another1Password")


def test_a_connected_store_can_be_renamed_only(client: Client, free: Cluster) -> None:
    store = sealed_store(free, "CONNECTED")
    address = f"/key-stores/{store.custom_key_store_id}/edit/"
    page = html(client.get(address))
    assert "You can change the name only" in page
    assert 'type="password" autocomplete="off"' in page and re.search(r'id="id_password"[^>]* disabled', page)
    assert client.post(address, {"name": "Renamed"}).status_code == 302
    answer = client.post(address, {"name": "Renamed", "password": "Another1Password"})
    assert (answer.status_code, "(CustomKeyStoreInvalidStateException)" in html(answer)) == (400, True)
    store.refresh_from_db()
    assert (store.name, credentials.current_password(store.credential)) == ("Renamed", PASSWORD)


@pytest.mark.parametrize("state", ["FAILED", "CONNECTING", "DISCONNECTING"])
def test_a_store_in_another_state_cannot_be_edited(client: Client, free: Cluster, state: str) -> None:
    store = sealed_store(free, state)
    address = f"/key-stores/{store.custom_key_store_id}/"
    assert f'href="{address}edit/"' not in html(client.get(address))
    assert "This key store can't be edited now" in html(client.get(address + "edit/"))
    assert client.post(address + "edit/", {"name": "Renamed"}).status_code == 400


def test_only_related_clusters_can_be_chosen_when_editing(client: Client, free: Cluster) -> None:
    store = sealed_store(free)
    page = html(client.get(f"/key-stores/{store.custom_key_store_id}/edit/"))
    own = page[page.index(f'value="{store.cluster.cluster_id}"') :].split("</tr>")[0]
    other = page[page.index(f'value="{free.cluster_id}"') :].split("</tr>")[0]
    assert " checked" in own and " disabled" not in own
    assert " disabled" in other and "different cluster certificate" in other


def test_a_store_is_deleted_after_the_word_confirm(client: Client, free: Cluster) -> None:
    store = sealed_store(free)
    address = f"/key-stores/{store.custom_key_store_id}/delete/"
    assert client.get(address).status_code == 200
    for word in ("", "delete"):
        assert client.post(address, {"confirm": word}).status_code == 422
    assert len(stores(free)) == 1
    answer = client.post(address, {"confirm": "Confirm "}, follow=True)
    assert answer.request["PATH_INFO"] == "/key-stores/" and f"{store.name} was deleted." in html(answer)
    assert stores(free) == []


REASONS = {
    ("DISCONNECTED", 1): "It can be deleted when its KMS key is.",
    ("CONNECTED", 0): "Disconnect the key store first.",
    ("CONNECTED", 2): "It can be deleted when its 2 KMS keys are. Disconnect the key store first.",
}


@pytest.mark.parametrize(("state", "keys", "reason"), [(*case, reason) for case, reason in REASONS.items()])
def test_a_store_that_cannot_be_deleted_says_why_everywhere(
    client: Client, free: Cluster, state: str, keys: int, reason: str
) -> None:
    store = sealed_store(free, state)
    for _ in range(keys):
        kms_key(store)
    address = f"/key-stores/{store.custom_key_store_id}/"
    page = html(client.get(address))
    assert f'href="{address}delete/"' not in page and f'title="{reason}">Delete' in page
    chosen = client.get("/key-stores/choose/", {"store": store.custom_key_store_id, "action": "delete"}, follow=True)
    assert f"{store.name}: {reason}" in html(chosen)
    assert reason in html(client.get(address + "delete/"))
    answer = client.post(address + "delete/", {"confirm": "confirm"})
    code = "CustomKeyStoreHasCMKsException" if keys else "CustomKeyStoreInvalidStateException"
    assert (answer.status_code, f"({code})" in html(answer)) == (400, True)
    assert len(stores(free)) == 1 and KmsKey.objects.filter(custom_key_store=store).count() == keys


def test_stores_of_other_accounts_cannot_be_changed(client: Client) -> None:
    foreign = key_store(new_account(), name="Foreign")
    for name in ("edit", "delete"):
        path = f"/key-stores/{foreign.custom_key_store_id}/{name}/"
        assert client.get(path).status_code == 404
        assert client.post(path, {"name": "Mine", "confirm": "confirm"}).status_code == 404
    foreign.refresh_from_db()
    assert foreign.name == "Foreign"


def test_whoever_is_not_signed_in_comes_back_to_the_page(client: Client, free: Cluster) -> None:
    draft = draft_of(client)
    for path in (CREATE, f"/keys/create/{draft.pk}/key-store/create/"):
        answer = Client().post(path, entered(free))
        assert answer.headers["Location"] == f"/sign-in/?next={path}"
    assert stores(free) == []


def test_the_region_of_the_draft_counts_not_the_selectors(client: Client, free: Cluster) -> None:
    draft = draft_of(client)
    client.post("/region/", {"region": "eu-central-1", "next": "/keys/"})
    assert free.cluster_id not in html(client.get(CREATE))
    assert client.post(f"/keys/create/{draft.pk}/key-store/create/", entered(free)).status_code == 302
    assert [store.region for store in stores(free)] == [REGION]
