"""Django admin: who is let in, what an address may ask, and that nothing is changed."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import unquote

import pytest
from django.db import models
from django.test import Client
from django.urls import reverse

from hsmapp.account_admin import secret_columns
from kmsapp.models import AccessKey, Account, AuditEvent, CustomKeyStore, KmsKey, User
from kmsapp.tests.admin_world import MINE, THEIRS, address, client_of, fill, pages, person

pytestmark = pytest.mark.django_db

PATTERNS = ("", "__exact", "__startswith", "__icontains", "__regex", "__gte", "__lt", "__in", "__isnull", "__length")


@pytest.fixture
def alice() -> Client:
    fill(MINE, "harbour")
    fill(THEIRS, "elsewhere")
    return client_of(person(MINE, "alice", is_staff=True))


def some_pages() -> list[str]:
    return [
        reverse("admin:index"),
        *(address(model, "changelist") for model in pages()),
        address(CustomKeyStore, "change", 1),
        address(User, "add"),
        reverse("admin:autocomplete"),
        reverse("admin:jsi18n"),
        "/admin/no/such/page/",
    ]


def test_people_who_are_not_staff_are_refused_everywhere() -> None:
    bob = client_of(person(MINE, "bob", is_staff=False))
    for path in [*some_pages(), reverse("admin:login")]:
        assert bob.get(path).status_code == 403, path
        assert bob.post(path, {"action": "connect"}).status_code == 403, path
    assert "Not allowed" in bob.get(reverse("admin:index")).content.decode()


def test_people_who_have_not_signed_in_are_led_to_the_console_and_back() -> None:
    for path in some_pages():
        answer = Client().get(path, follow=True)
        assert answer.request["PATH_INFO"] == "/sign-in/", path
        assert unquote(answer.request["QUERY_STRING"]) == f"next={path}", path
    assert Client().get("/admin/login/?next=https://evil.example/").headers["Location"] == "/sign-in/?next=/admin/"


def test_staff_who_were_let_go_are_out_at_once(alice: Client) -> None:
    assert alice.get(reverse("admin:index")).status_code == 200
    User.objects.filter(user_name="alice").update(is_staff=False)
    assert alice.get(reverse("admin:index")).status_code == 403
    User.objects.filter(user_name="alice").update(is_staff=True, is_active=False)
    assert alice.get(reverse("admin:index")).status_code == 302


def test_signing_out_is_a_post_and_ends_the_session(alice: Client) -> None:
    assert alice.get(reverse("admin:logout")).status_code == 405
    answer = alice.post(reverse("admin:logout"))
    assert (answer.status_code, answer.headers["Location"]) == (302, "/sign-in/")
    assert alice.get(reverse("admin:index")).status_code == 302


def test_there_is_no_second_way_to_change_a_password_or_to_find_any_row(alice: Client) -> None:
    for path in ("/admin/password_change/", "/admin/password_change/done/", "/admin/r/1/1/"):
        assert alice.get(path).status_code == 404, path


def test_nothing_is_added_changed_or_deleted(alice: Client) -> None:
    before = {model: list(model._default_manager.order_by("pk").values()) for model in pages()}
    tries = 0
    for model, page in pages().items():
        row = page.rows_of(model._default_manager.all(), MINE).first()
        assert row is not None, model
        every_field = {field.name: "changed" for field in model._meta.concrete_fields}
        for name, args in {"add": (), "change": (row.pk,), "delete": (row.pk,)}.items():
            data = {**every_field, "post": "yes", "_save": "Save"}
            assert alice.post(address(model, name, *args), data).status_code == 403, (model, name)
            tries += 1
        assert alice.get(address(model, "add")).status_code == 403
        for action in ("delete_selected", "delete", "save", "connect"):
            if action == "connect" and model is CustomKeyStore:
                continue
            data = {"action": action, "_selected_action": str(row.pk), "post": "yes", "_save": "Save"}
            assert alice.post(address(model, "changelist"), data, follow=True).status_code == 200
            tries += 1
    # The person who looked has signed in since, which is all that may differ.
    for model, rows in before.items():
        assert list(model._default_manager.order_by("pk").values()) == rows, model
    print(f"{tries} tries to change something")


def _paths_to_secrets(model: type[models.Model], relations: int) -> Iterator[str]:
    """Every way to a secret column from a row, over so many relations at most, in either direction."""
    yield from secret_columns(model)
    if relations == 0:
        return
    for field in model._meta.get_fields():
        related: Any = field.related_model if field.is_relation else None
        if isinstance(related, type):
            # `name` of a relation backwards is what a lookup calls it.
            yield from (f"{field.name}__{path}" for path in _paths_to_secrets(related, relations - 1))


def test_no_list_can_be_filtered_by_a_secret_directly_or_through_relations(alice: Client) -> None:
    """A filter that answers "some" or "none" would give a hash or a sealed secret away, character by character."""
    refused = 0
    for model in pages():
        for path in sorted(set(_paths_to_secrets(model, 2))):
            for pattern in PATTERNS if path.count("__") <= 1 else ("__startswith",):
                answer = alice.get(address(model, "changelist"), {path + pattern: "a"})
                assert answer.status_code == 400, (model, path + pattern)
                refused += 1
    for model, lookup in ((AccessKey, "user__password__startswith"), (User, "password__startswith")):
        assert alice.get(address(model, "changelist"), {lookup: "argon2"}).status_code == 400
    assert refused > 400
    print(f"{refused} filters by a secret refused")


def test_lists_are_filtered_only_by_what_they_offer(alice: Client) -> None:
    refused = [
        (KmsKey, {"description__regex": "(a+)+$"}),
        (KmsKey, {"policy__contains": "Allow"}),
        (KmsKey, {"custom_key_store__account": THEIRS}),
        (KmsKey, {"region__startswith": "u"}),
        (AuditEvent, {"event__userIdentity__arn": "x"}),
        (AuditEvent, {"account": THEIRS}),
        (User, {"key_drafts__data__icontains": "x"}),
        (KmsKey, {"created_at__year": "9999"}),
        (KmsKey, {"region": "us\0west"}),
    ]
    for model, query in refused:
        assert alice.get(address(model, "changelist"), query).status_code == 400, query
    offered = [
        (KmsKey, {"region": "us-west-2"}),
        (KmsKey, {"key_state__exact": "Enabled"}),
        (AuditEvent, {"outcome": "refused"}),
        (AuditEvent, {"operation": "CreateKey", "event_time__year": "2024"}),
        (AuditEvent, {"resource": "arn:aws:kms:us-west-2:111122223333:key/x"}),
    ]
    for model, query in offered:
        assert alice.get(address(model, "changelist"), query).status_code == 200, query


def test_asking_for_another_accounts_rows_by_number_finds_nothing(alice: Client) -> None:
    theirs = CustomKeyStore.objects.get(account=THEIRS)
    page = alice.get(address(KmsKey, "changelist"), {"custom_key_store__id__exact": theirs.pk}).content.decode()
    assert re.search(r"\b0 kms keys", page, re.IGNORECASE)
    assert "elsewhere" not in page


# Nonsense for an address, by what it stands for.
NONSENSE = {
    "a page far away": "p=99999999999999999999999",
    "a page before the first": "p=-1",
    "a page that is no number": "p=x",
    "a column that is not there": "o=99.-98.x",
    "a column of nothing": "o=-.-.",
    "all and facets": "all=&_facets=True",
    "a popup": "_popup=1&_to_field=id",
    "another column for a popup": "_popup=1&_to_field=password",
    "a search with a zero byte": "q=a%00b",
    "a long search": "q=" + "a+" * 3000,
    "an open quote": 'q="a',
    "a backslash": "q=%5C",
    "wild cards": "q=%25_%25",
    "a surrogate": "q=%ed%a0%80",
    "a date beyond time": "{date}__year=9999&{date}__month=12&{date}__day=31",
    "a date before time": "{date}__year=0",
    "a day that is not": "{date}__year=2023&{date}__month=2&{date}__day=31",
    "no date": "{date}__gte=x&{date}__lt=y",
    "a month that is not": "{date}__month=77",
    "a huge number": "{date}__day=99999999999999999999999999",
    "many digits": "{date}__year=" + "9" * 5000,
    "another numeral": "{date}__year=%D9%A2%D9%A0%D9%A2%D9%A4",
    "a superscript": "{date}__year=%C2%B2",
    "an unknown column": "nothing=1",
    "a filter's column of its own": "region=&region__isnull=maybe",
    "no list at all": "{date}__in=,,,",
    "underscores": "__=1&____=2",
}


@pytest.mark.parametrize("query", NONSENSE.values(), ids=NONSENSE)
def test_nonsense_in_the_address_is_never_a_fault(alice: Client, query: str) -> None:
    alice.raise_request_exception = False
    for model, page in pages().items():
        path = f"{address(model, 'changelist')}?{query.format(date=page.date_hierarchy or 'created_at')}"
        assert alice.get(path).status_code in {200, 302, 400}, path


def test_nonsense_as_a_rows_number_is_not_found(alice: Client) -> None:
    alice.raise_request_exception = False
    for model in pages():
        for number in ("x", "9" * 40, "-1", "0", "_00", "1_2F", "%C3%A9", "1%00", "None"):
            path = address(model, "change", "row").replace("/row/", f"/{number}/")
            assert alice.get(path).status_code == 404, path


def test_completion_answers_nonsense_with_a_refusal(alice: Client) -> None:
    alice.raise_request_exception = False
    known = {"app_label": "kmsapp", "model_name": "alias", "field_name": "key", "term": "x"}
    for wrong in (
        {"model_name": "session"},
        {"field_name": "created_at"},
        {"field_name": "key__custom_key_store__credential"},
        {"app_label": "hsmapp", "model_name": "hsmonpreviouspassword", "field_name": "credential"},
        {"term": "\0"},
        {"page": "x"},
    ):
        answer = alice.get(reverse("admin:autocomplete"), known | wrong)
        assert answer.status_code in {403, 404} or answer.json()["results"] == [], wrong


def test_an_account_without_anything_opens_too() -> None:
    Account.objects.all().delete()
    dora = client_of(person("777788889999", "dora", is_staff=True))
    for model in pages():
        assert dora.get(address(model, "changelist")).status_code == 200, model
