"""Django admin: every page opens for staff, shows their own account's rows and no secret, and changes nothing."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator
from html import unescape

import pytest
from django.apps import apps
from django.db import connection, models
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from hsmapp import clock
from hsmapp.account_admin import secret_columns
from hsmapp.models import Cluster
from kmsapp import service_models
from kmsapp.models import AuditEvent, CustomKeyStore, Group, KmsKey, TemporaryCredential, User
from kmsapp.tests.admin_world import MINE, PASSWORD_HASH, THEIRS, address, client_of, fill, pages, person, secret

pytestmark = pytest.mark.django_db

MY_WORD, THEIR_WORD = "harbour", "elsewhere"
MOST_QUERIES = 15


@pytest.fixture
def alice() -> Client:
    """Staff of an account with a row of each model; another account has such rows too."""
    fill(MINE, MY_WORD)
    fill(THEIRS, THEIR_WORD)
    return client_of(person(MINE, "alice", is_staff=True))


def rows_of(model: type[models.Model], account: str) -> models.QuerySet[models.Model]:
    return pages()[model].rows_of(model._default_manager.all(), account)


def addresses() -> Iterator[str]:
    """Every page that has something to show: the index, and the list and the rows of every model."""
    yield reverse("admin:index")
    for app_label in sorted({model._meta.app_label for model in pages()}):
        yield reverse("admin:app_list", args=[app_label])
    for model in pages():
        yield address(model, "changelist")
        for row in rows_of(model, MINE):
            yield address(model, "change", row.pk)


def test_every_page_of_every_model_opens_for_staff(alice: Client) -> None:
    for path in addresses():
        answer = alice.get(path)
        assert answer.status_code == 200, path
        assert "Casemate administration" in answer.content.decode(), path
    for model in pages():
        assert (
            MY_WORD in alice.get(address(model, "changelist")).content.decode() or model._meta.pk.name == "account_id"
        )
        assert alice.get(address(model, "changelist"), {"q": MY_WORD}).status_code == 200
    print(f"{len(list(addresses()))} pages of {len(pages())} models")


def test_audit_events_are_filtered_by_the_names_that_they_are_recorded_under(alice: Client) -> None:
    page = alice.get(address(AuditEvent, "changelist")).content.decode()
    offered = set(re.findall(r"\?operation=(\w+)", page))
    aws = {name for service in service_models.MODEL_NAMES for name in service_models.service(service).operation_names}
    # What CloudTrail calls a sign-in is no operation of a service.
    assert {"CreateKey", "Decrypt", "ListUsers"} <= offered <= aws | {"ConsoleLogin", "SwitchRole"}


def test_every_model_with_an_account_has_a_page() -> None:
    """What has no page belongs to no account, or is a login of this service or a counter, or is a line of its key's."""
    without = {
        model.__name__
        for model in apps.get_models()
        if model._meta.app_label in {"hsmapp", "kmsapp", "console"} and model not in pages()
    }
    assert without == {
        "AccountClock",
        "AuditChain",
        "ClockNote",
        "ClusterCredential",
        "Epoch",
        "HsmOnPreviousPassword",
        "InstallationRoot",
        "KeyLastUsage",
        "ReservedIvs",
        "SignInAttempts",
        "UnprovenSpan",
    }


def test_every_filter_and_every_column_that_sorts_opens(alice: Client) -> None:
    links = {
        (path, unescape(query))
        for model in pages()
        for path in [address(model, "changelist")]
        for query in re.findall(r'href="(\?[^"]*)"', alice.get(path).content.decode())
    }
    for path, query in links:
        answer = alice.get(path + query)
        assert answer.status_code == 200, path + query
        assert THEIR_WORD not in answer.content.decode(), path + query
    assert len(links) > 100
    print(f"{len(links)} links of filters, columns and dates")


def test_the_links_from_one_page_to_another_lead_somewhere(alice: Client) -> None:
    links = {
        unescape(link)
        for path in addresses()
        for link in re.findall(r'href="(/admin/[^"#]*)"', alice.get(path).content.decode())
    }
    assert {link for link in links if alice.get(link).status_code != 200} == set()
    for wanted in ("/admin/hsmapp/hsm/?cluster__id__exact=", "/admin/kmsapp/auditevent/?resource="):
        assert any(link.startswith(wanted) for link in links), wanted
    print(f"{len(links)} links")


def test_rows_link_to_their_page_in_the_console_in_the_region_shown_there(alice: Client) -> None:
    key = KmsKey.objects.get(account=MINE)
    link = f'href="{reverse("console:key", args=[key.key_id])}"'
    for path in (address(KmsKey, "changelist"), address(KmsKey, "change", key.pk)):
        assert link in alice.get(path).content.decode()
    KmsKey.objects.filter(pk=key.pk).update(region="eu-west-1")
    for path in (address(KmsKey, "changelist"), address(KmsKey, "change", key.pk)):
        page = alice.get(path).content.decode()
        assert link not in page and "Choose Region eu-west-1 in the console" in page


def test_a_denial_about_a_key_leads_to_the_policy_simulator(alice: Client) -> None:
    event, key = AuditEvent.objects.filter(account=MINE).latest("id"), KmsKey.objects.get(account=MINE)
    path, user = address(AuditEvent, "change", event.pk), f"arn:aws:iam::{MINE}:user/bob"
    sentence = "User: {} is not authorized to perform: kms:Decrypt on resource: {} because no identity-based policy {}"
    link = "/simulator/?principal="
    for resource, leads in ((key.arn, True), ("*", False), (key.arn.replace(MINE, THEIRS), False)):
        event.event["errorMessage"] = sentence.format(user, resource, "allows the kms:Decrypt action")
        AuditEvent.objects.filter(pk=event.pk).update(event=event.event)
        assert (link in alice.get(path).content.decode()) == leads, resource


def test_pages_need_no_inline_script_or_style(alice: Client) -> None:
    forbidden = re.compile(r"<script(?![^>]*\ssrc=)[^>]*>|<style|\sstyle=|\son[a-z]+=|javascript:", re.IGNORECASE)
    for path in addresses():
        answer = alice.get(path)
        assert "'unsafe" not in answer.headers["Content-Security-Policy"], path
        assert forbidden.findall(answer.content.decode()) == [], path


def test_another_accounts_rows_are_in_no_list_search_or_page(alice: Client) -> None:
    for path in addresses():
        page = alice.get(path).content.decode()
        assert THEIR_WORD not in page and THEIRS not in page, path
    refused = 0
    for model in pages():
        found = alice.get(address(model, "changelist"), {"q": THEIR_WORD[:-1]}).content.decode()
        assert THEIR_WORD not in found, model
        for row in rows_of(model, THEIRS):
            for page_name in ("change", "delete", "history"):
                theirs = alice.get(address(model, page_name, row.pk))
                missing = alice.get(address(model, page_name, "99999999"))
                assert (theirs.status_code, missing.status_code) == (404, 404), (model, page_name)
                refused += 1
    assert refused >= 3 * len(pages())
    print(f"{refused} pages of another account's rows answered 404")


def test_members_of_another_account_are_not_shown_with_a_group(alice: Client) -> None:
    group = Group.objects.get(account=MINE)
    group.users.add(User.objects.get(user_name=f"user-{THEIR_WORD}"))
    page = alice.get(address(Group, "change", group.pk)).content.decode()
    assert f"user-{MY_WORD}" in page and THEIR_WORD not in page


def test_completion_offers_rows_of_the_own_account_only(alice: Client) -> None:
    offered = 0
    for model in pages():
        for field in model._meta.get_fields():
            if not isinstance(field, models.ForeignKey) or field.related_model not in pages():
                continue
            query = {
                "app_label": model._meta.app_label,
                "model_name": str(model._meta.model_name),
                "field_name": field.name,
                "term": "",
            }
            answer = alice.get(reverse("admin:autocomplete"), query)
            assert answer.status_code == 200
            text = answer.content.decode()
            assert THEIR_WORD not in text and THEIRS not in text, query
            offered += len(answer.json()["results"])
    assert offered > 0


def test_no_page_shows_a_secret(alice: Client) -> None:
    forms = _spellings_of_all_secrets()
    for path in addresses():
        for page in (alice.get(path).content.decode(), alice.get(path, {"all": ""}).content.decode()):
            shown = [name for name, spelling in forms if spelling in page]
            assert shown == [], path
    print(f"{len(forms)} spellings of secrets looked for on {len(list(addresses()))} pages")


def _spellings_of_all_secrets() -> list[tuple[str, str]]:
    """How the secret of each secret column could look on a page: hex, base64, Python's own ways."""
    forms = [("password", PASSWORD_HASH), ("password", PASSWORD_HASH[-22:])]
    forms += [("token_sha256", TemporaryCredential.objects.values_list("token_sha256", flat=True)[0])]
    for model in apps.get_models():
        if model._meta.app_label not in {"hsmapp", "kmsapp", "console"}:
            continue
        for column in set(secret_columns(model)) - {"password", "token_sha256"}:
            value = secret(column)
            stored = model._default_manager.values_list(column, flat=True).first()
            assert stored is not None and bytes(stored) == value, f"the test has no row with {column}"
            encoded = base64.b64encode(value).decode()
            texts = (value.hex(), value.hex().upper(), encoded[:-1], base64.urlsafe_b64encode(value).decode()[:-1])
            forms += [(column, text) for text in (*texts, repr(value)[2:-1], str(list(value))[1:-1])]
    assert len({name for name, _ in forms}) >= 12
    return forms


def test_pages_name_what_they_show_and_none_of_it_is_secret() -> None:
    every_secret = {column for model in apps.get_models() for column in secret_columns(model)}
    assert {"password", "masked", "check_ciphertext", "pin_sealed", "secret_sealed"} <= every_secret
    for model, page in pages().items():
        assert page.fields, f"{model.__name__}: a page without a list of fields would show new columns"
        filters = [choice[0] if isinstance(choice, tuple) else choice for choice in page.list_filter]
        searched = [str(name).split("__")[-1] for name in page.search_fields]
        used = {*page.fields, *page.list_display, *page.linked_by, *searched, *filters, page.date_hierarchy}
        assert used.isdisjoint(every_secret), model


def test_lists_do_not_even_read_secrets(alice: Client) -> None:
    for model in pages():
        columns = [f'"{model._meta.db_table}"."{column}"' for column in secret_columns(model)]
        with CaptureQueriesContext(connection) as queries:
            alice.get(address(model, "changelist"))
        # The person who looks is read with every page, by Django's session.
        read = [query["sql"] for query in queries if "LIMIT 1" not in query["sql"] and "LIMIT 21" not in query["sql"]]
        assert not [sql for sql in read for column in columns if column in sql], model


def test_lists_take_as_many_queries_for_thirty_rows_as_for_one(alice: Client) -> None:
    few = {model: _queries(alice, address(model, "changelist")) for model in pages()}
    for number in range(29):
        fill(MINE, f"{MY_WORD}{number}")
    for model, before in few.items():
        assert _queries(alice, address(model, "changelist")) == before <= MOST_QUERIES, model
    print({model.__name__: number for model, number in few.items()})


def test_pages_of_rows_take_few_queries(alice: Client) -> None:
    for model in pages():
        for row in rows_of(model, MINE):
            assert _queries(alice, address(model, "change", row.pk)) <= MOST_QUERIES, model


def _queries(client: Client, path: str) -> int:
    with CaptureQueriesContext(connection) as queries:
        assert client.get(path).status_code == 200
    return len(queries)


def test_lists_count_keys_and_active_hsms(alice: Client) -> None:
    Cluster.objects.get(account=MINE).hsms.create(
        hsm_id="hsm-second",
        availability_zone="us-west-2b",
        subnet_id="subnet-2",
        eni_id="eni-2",
        eni_ip="10.0.0.2",
        state="DEGRADED",
        pin_sealed=secret("pin_sealed"),
        so_pin_sealed=secret("so_pin_sealed"),
        created_at=clock.now(),
    )
    clusters = alice.get(address(Cluster, "changelist")).content.decode()
    assert ">1 of 2<" in clusters and ">1 of 3300<" in clusters
    stores = alice.get(address(CustomKeyStore, "changelist")).content.decode()
    assert re.search(r'field-hsms_active">1<', stores) and re.search(r'field-keys"><a [^>]*>1<', stores)


def test_an_audit_event_is_shown_whole_and_indented_and_as_text(alice: Client) -> None:
    event = AuditEvent.objects.get(account=MINE)
    page = alice.get(address(AuditEvent, "change", event.pk)).content.decode()
    shown = re.search(r"<pre>(.*?)</pre>", page, re.DOTALL)
    assert shown is not None
    assert json.loads(unescape(shown[1])) == event.event
    assert "\n  &quot;userIdentity&quot;: {\n    " in shown[1]
    assert "<script>alert(1)" not in page + alice.get(address(AuditEvent, "changelist")).content.decode()


def test_a_key_of_a_store_that_is_not_connected_is_shown_as_unavailable(alice: Client) -> None:
    assert ">Unavailable<" in alice.get(address(KmsKey, "changelist")).content.decode()
    CustomKeyStore.objects.filter(account=MINE).update(connection_state="CONNECTED")
    page = alice.get(address(KmsKey, "changelist")).content.decode()
    assert ">Unavailable<" not in page and 'field-shown_state">Enabled<' in page
