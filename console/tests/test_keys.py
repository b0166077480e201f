"""The keys table with its preferences, and the page of one key."""

from __future__ import annotations

import datetime
import re
from typing import Any

import pytest
from django.test import Client

from console.columns import COLUMNS
from console.paging import Pages
from console.testing import key_store, kms_key, new_account, person, signed_in_client
from hsmapp import clock
from hsmapp.models import UnprovenSpan
from kmsapp.models import CustomKeyStore, KmsKey, Tag, User

pytestmark = pytest.mark.django_db


@pytest.fixture
def store() -> CustomKeyStore:
    return key_store(new_account())


@pytest.fixture
def alice(store: CustomKeyStore) -> User:
    return person("alice", account=store.account)


@pytest.fixture
def client(alice: User) -> Client:
    return signed_in_client(alice)


def aliases(page: str) -> list[str]:
    table = page[page.index("<tbody>") : page.index("</tbody>")]
    return re.findall(r'<th scope="row"><a href="[^"]+">([^<]+)</a>', table)


def text(client: Client, path: str) -> str:
    answer = client.get(path)
    assert answer.status_code == 200
    return answer.content.decode()


def test_the_table_is_sorted_by_alias_and_pages_of_ten(client: Client, store: CustomKeyStore) -> None:
    for number in range(23):
        kms_key(store, alias=f"key{number:02}")
    page = text(client, "/keys/")
    assert aliases(page) == [f"key{number:02}" for number in range(10)]
    assert "(23)" in page and 'aria-sort="ascending"' in page
    assert aliases(text(client, "/keys/?page=3")) == ["key20", "key21", "key22"]
    assert aliases(text(client, "/keys/?sort=-alias"))[0] == "key22"
    assert aliases(text(client, "/keys/?page=99")) == ["key20", "key21", "key22"], "past the end is the last page"
    for nonsense in ("0", "-1", "x", "9" * 30, "²", ""):
        assert aliases(text(client, f"/keys/?page={nonsense}"))[0] == "key00", nonsense
    for nonsense in ("nothing", "-", "policy", "--alias"):
        assert len(aliases(text(client, f"/keys/?sort={nonsense}"))) == 10, nonsense


def test_the_newest_key_is_first_after_it_was_made(client: Client, store: CustomKeyStore) -> None:
    old = kms_key(store, alias="a-old")
    KmsKey.objects.filter(pk=old.pk).update(created_at=clock.now() - datetime.timedelta(days=1))
    kms_key(store, alias="z-new")
    assert aliases(text(client, "/keys/?sort=-creation_date")) == ["z-new", "a-old"]


def test_the_filter_finds_by_alias_key_id_status_and_key_store(client: Client, store: CustomKeyStore) -> None:
    payments = kms_key(store, alias="payments-prod")
    kms_key(store, alias="ledger", key_state="Disabled")
    for wanted, found in {
        "PAYMENTS": ["payments-prod"],
        payments.key_id[:13]: ["payments-prod"],
        "disabled": ["ledger"],
        store.custom_key_store_id: ["ledger", "payments-prod"],
        "nothing at all": [],
    }.items():
        page = text(client, f"/keys/?q={wanted}")
        assert aliases(page) == found, wanted
        assert f"{len(found)} match{'' if len(found) == 1 else 'es'}" in page
    assert "No matches" in text(client, "/keys/?q=%3Cscript%3Ealert(1)%3C/script%3E")
    assert "<script>alert" not in text(client, "/keys/?q=%3Cscript%3Ealert(1)%3C/script%3E")
    assert aliases(text(client, "/keys/?q=%00")) == ["ledger", "payments-prod"]


def test_only_keys_of_this_account_and_region_are_shown(client: Client, store: CustomKeyStore) -> None:
    foreign = kms_key(key_store(new_account()), alias="foreign")
    elsewhere = kms_key(store, alias="elsewhere")
    KmsKey.objects.filter(pk=elsewhere.pk).update(region="eu-west-1")
    assert "No customer managed keys" in text(client, "/keys/")
    for key in (foreign, elsewhere):
        answer = client.get(f"/keys/{key.key_id}/")
        assert answer.status_code == 404
        assert "NotFoundException" in answer.content.decode()


def test_an_address_that_is_no_key_id_is_not_found(client: Client) -> None:
    for key_id in ("x", "a b", "%00", "%F0%9F%94%91", "k" * 3000, "..", "alias", "%2e%2e", "mrk-1", "'--"):
        assert client.get(f"/keys/{key_id}/").status_code in {400, 404}, key_id
        assert client.get(f"/key-stores/{key_id}/").status_code == 404, key_id
        assert client.get(f"/clusters/{key_id}/").status_code == 404, key_id


def test_the_gear_turns_columns_on_and_is_remembered(client: Client, store: CustomKeyStore, alice: User) -> None:
    kms_key(store, alias="payments")
    heads = re.compile(r'<th scope="col"[^>]*>(?:<a[^>]*>)?([^<]+)')
    standard = heads.findall(text(client, "/keys/"))
    assert standard == ["Aliases", "Key ID", "Status", "Key type", "Key spec", "Key usage"]
    chosen = {"page_size": "20", "columns": ["key_id", "custom_key_store_id"], "next": "/keys/?q=pay"}
    assert client.post("/keys/preferences/", chosen).headers["Location"] == "/keys/?q=pay"
    later = signed_in_client(User.objects.get(pk=alice.pk))
    page = text(later, "/keys/")
    assert heads.findall(page) == ["Aliases", "Key ID", "Custom key store ID"]
    assert f'<a href="/key-stores/{store.custom_key_store_id}/">' in page
    assert 'value="20" checked' in text(later, "/keys/preferences/")


def test_a_key_without_alias_can_be_opened_whatever_columns_are_off(client: Client, store: CustomKeyStore) -> None:
    key = kms_key(store)
    assert client.post("/keys/preferences/", {"page_size": "10"}).status_code == 302
    assert f'<a href="/keys/{key.key_id}/">{key.key_id}</a>' in text(client, "/keys/")
    switches = re.findall(r'name="columns" value="(\w+)" checked disabled', text(client, "/keys/preferences/"))
    assert switches == ["aliases", "key_id"]


@pytest.mark.parametrize("fields", [{"page_size": "7"}, {"page_size": "10", "columns": ["policy"]}, {}], ids=str)
def test_preferences_outside_the_offer_change_nothing(client: Client, alice: User, fields: dict[str, Any]) -> None:
    assert client.post("/keys/preferences/", fields).status_code == 422
    assert User.objects.get(pk=alice.pk).preferences == {}


@pytest.mark.parametrize("kept", [[], {"keys": 3}, {"keys": {"page_size": "x", "columns": "y", "wrap": 1}}], ids=str)
def test_preferences_of_another_version_do_no_harm(client: Client, alice: User, kept: Any) -> None:
    User.objects.filter(pk=alice.pk).update(preferences=kept)
    assert client.get("/keys/").status_code == 200


def test_every_column_has_its_cell(client: Client, store: CustomKeyStore) -> None:
    kms_key(store, alias="payments", description="Card data")
    every = {"page_size": "10", "columns": [column.name for column in COLUMNS if not column.fixed]}
    client.post("/keys/preferences/", every)
    page = text(client, "/keys/")
    for value in (
        "Symmetric",
        "SYMMETRIC_DEFAULT",
        "Encrypt and decrypt",
        "CloudHSM (AWS_CLOUDHSM)",
        "ExampleKeyStore",
    ):
        assert f"<td>{value}</td>" in page
    assert "<td>Card data</td>" in page


def test_a_page_of_keys_costs_the_same_queries_for_one_and_for_a_hundred(
    client: Client, store: CustomKeyStore, django_assert_max_num_queries: Any
) -> None:
    client.post("/keys/preferences/", {"page_size": "100", "columns": ["custom_key_store_name"]})
    kms_key(store, alias="first")
    client.get("/keys/")
    with django_assert_max_num_queries(16) as few:
        client.get("/keys/")
    for number in range(99):
        kms_key(store, alias=f"key{number:02}")
    client.get("/keys/")
    with django_assert_max_num_queries(16) as many:
        assert "(100)" in client.get("/keys/").content.decode()
    print(f"queries: {len(few)} for 1 key, {len(many)} for 100")
    assert len(many) == len(few)


def test_the_key_page_shows_origin_store_and_cluster_in_its_tabs(client: Client, store: CustomKeyStore) -> None:
    key = kms_key(store, alias="payments", description="<b>bold</b>")
    Tag.objects.create(key=key, tag_key="Team", tag_value="core")
    address = f"/keys/{key.key_id}/"
    configuration = text(client, address + "?tab=cryptographic-configuration")
    for value in ("CloudHSM (AWS_CLOUDHSM)", store.name, store.custom_key_store_id, store.cluster.cluster_id):
        assert value in configuration
    assert "&lt;b&gt;bold" in configuration and "<b>bold" not in configuration
    assert "Team" in text(client, address + "?tab=tags")
    assert "alias/payments" in text(client, address + "?tab=aliases")
    policy = text(client, address)
    assert 'class="nt"' in policy and "style=" not in policy
    assert 'class="nt"' in text(client, address + "?tab=nonsense"), "falls back to the policy"


def test_a_key_of_a_disconnected_store_offers_to_connect_it(client: Client, store: CustomKeyStore) -> None:
    key = kms_key(store, alias="payments")
    store.connection_state = "DISCONNECTED"
    store.save()
    page = text(client, f"/keys/{key.key_id}/")
    assert "Unavailable" in page
    assert f'href="/key-stores/{store.custom_key_store_id}/connect/"' in page
    assert "Unavailable" in text(client, "/keys/")


def test_pages_offer_the_first_the_last_and_the_near_ones() -> None:
    cases = {(1, 0): [1], (1, 25): [1, 2, 3], (5, 100): [1, 0, 3, 4, 5, 6, 7, 0, 10], (10, 100): [1, 0, 8, 9, 10]}
    for (number, total), near in cases.items():
        assert Pages(number, total, 10).near == near


def test_a_key_that_is_pending_deletion_says_when_and_leads_to_cancelling_it(
    client: Client, store: CustomKeyStore
) -> None:
    now = clock.now()
    date = now + datetime.timedelta(days=9)
    key = kms_key(store, key_state="PendingDeletion", deletion_date=date, deletion_scheduled_at=now)
    page = text(client, f"/keys/{key.key_id}/")
    shown = f"{date:%B} {date.day}, {date:%Y, %H:%M} (UTC+00:00)</time>"
    assert "This key is pending deletion" in page and "can't be used meanwhile" in page and page.count(shown) == 2
    assert "Confirm deletion" not in page
    cancel = f"/keys/{key.key_id}/deletion/cancel/"
    assert page.count(f'href="{cancel}"') == 2
    assert "Pending deletion" in text(client, "/keys/?q=pending+deletion")
    assert "The key is disabled then." in text(client, cancel)
    answer = client.post(cancel, follow=True)
    assert "The deletion was cancelled. The key is disabled." in answer.content.decode()
    key.refresh_from_db()
    assert (key.key_state, key.deletion_date) == ("Disabled", None)
    answer = client.post(cancel)
    assert (
        answer.status_code == 400 and "is not pending deletion. (KMSInvalidStateException)" in answer.content.decode()
    )


def test_a_deletion_that_waits_for_a_confirmation_is_confirmed_on_its_page(
    client: Client, store: CustomKeyStore
) -> None:
    now, day = clock.now(), datetime.timedelta(days=1)
    UnprovenSpan.objects.create(begins_at=now - 40 * day, ends_at=now, reason="ahead")
    scheduled_at, date = now - 41 * day, now - 11 * day
    key = kms_key(store, key_state="PendingDeletion", deletion_scheduled_at=scheduled_at, deletion_date=date)
    page = text(client, f"/keys/{key.key_id}/")
    assert "is kept until somebody confirms" in page and "the clock of this machine was set ahead" in page
    confirm = f"/keys/{key.key_id}/deletion/confirm/"
    assert f'href="{confirm}"' in page
    assert client.post(confirm, {"confirm": "yes"}).status_code == 422
    key.refresh_from_db()
    assert key.deletion_confirmed_at is None
    answer = client.post(confirm, {"confirm": key.key_id}, follow=True)
    assert f"The key {key.key_id} is being deleted." in answer.content.decode()
    key.refresh_from_db()
    assert key.deletion_confirmed_at is not None
    assert "is kept until somebody confirms" not in text(client, f"/keys/{key.key_id}/")
    again = client.post(confirm, {"confirm": key.key_id})
    assert again.status_code == 400 and "does not wait for a confirmation" in again.content.decode()
