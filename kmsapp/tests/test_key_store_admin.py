"""Django admin's actions on custom key stores, on real HSMs: through dispatch, recorded, and refused in AWS's words."""

from __future__ import annotations

import re
from html import unescape
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from django.contrib.messages import get_messages
from django.test import Client
from playwright.sync_api import Browser

from hsmapp import clock, credentials
from kmsapp import audit_reading, demo
from kmsapp.models import AuditEvent, CustomKeyStore, User
from kmsapp.testing import Casemate
from kmsapp.tests.admin_world import address, client_of, person

if TYPE_CHECKING:
    from django.test.client import _MonkeyPatchedWSGIResponse as Answer

LIST = "/admin/kmsapp/customkeystore/"


@pytest.fixture
def alice(installation: Path) -> Client:
    return client_of(User.objects.get(account_id=demo.ACCOUNT, user_name="alice"))


def store() -> CustomKeyStore:
    return CustomKeyStore.objects.get(custom_key_store_id=demo.KEY_STORE_ID)


def act(client: Client, action: str, **more: str) -> Answer:
    return client.post(LIST, {"action": action, "_selected_action": str(store().pk), **more})


def said(answer: Answer) -> list[tuple[str, str]]:
    return [(message.level_tag, str(message)) for message in get_messages(answer.wsgi_request)]


def recorded(name: str) -> list[AuditEvent]:
    """The calls of that name that came in through the admin, the last first."""
    audit_reading.read_in(clock.now())
    return [
        row
        for row in AuditEvent.objects.filter(event_name=name)
        if row.event["userIdentity"].get("invokedBy") == "admin"
    ]


def test_disconnecting_asks_first_and_both_actions_are_calls_of_the_signed_in_person(alice: Client) -> None:
    asked = act(alice, "disconnect")
    assert asked.status_code == 200
    page = asked.content.decode()
    assert "ExampleKeyStore (cks-1234567890abcdef0) in us-west-2: CONNECTED, 1 key<" in page
    assert store().connection_state == "CONNECTED"
    assert recorded("DisconnectCustomKeyStore") == []

    confirmed = alice.post(LIST, dict(re.findall(r'type="hidden" name="([^"]+)" value="([^"]*)"', page)))
    assert (confirmed.status_code, store().connection_state) == (302, "DISCONNECTED")
    assert said(confirmed) == [("success", "ExampleKeyStore (cks-1234567890abcdef0): DISCONNECTED")]

    connected = act(alice, "connect")
    assert (connected.status_code, store().connection_state) == (302, "CONNECTED")
    assert said(connected)[-1:] == [("success", "ExampleKeyStore (cks-1234567890abcdef0): CONNECTED")]

    for name in ("DisconnectCustomKeyStore", "ConnectCustomKeyStore"):
        (row,) = recorded(name)
        assert row.error_code == ""
        assert row.account == demo.ACCOUNT
        assert row.principal == "arn:aws:iam::111122223333:user/alice"
        assert row.event["sourceIPAddress"] == "127.0.0.1"
    page = alice.get(address(AuditEvent, "changelist"), {"operation": "ConnectCustomKeyStore"}).content.decode()
    assert 'field-way_in">admin<' in page and 'field-way_in">service<' in page


def test_a_refusal_is_shown_with_its_name_and_recorded(alice: Client) -> None:
    act(alice, "disconnect", confirmed="yes")
    again = act(alice, "disconnect", confirmed="yes")
    ((level, text),) = said(again)[-1:]
    assert level == "error"
    assert "CustomKeyStoreInvalidStateException: The custom key store cks-1234567890abcdef0 is DISCONNECTED." in text
    assert "CustomKeyStoreInvalidStateException" in unescape(alice.get(LIST).content.decode())
    assert [row.error_code for row in recorded("DisconnectCustomKeyStore")] == [
        "CustomKeyStoreInvalidStateException",
        "",
    ]


def test_a_connect_that_ends_in_failed_says_why(alice: Client) -> None:
    act(alice, "disconnect", confirmed="yes")
    credentials.set_password(store().credential, "Wrong1234567")
    answer = act(alice, "connect")
    assert said(answer)[-1] == ("warning", "ExampleKeyStore (cks-1234567890abcdef0): FAILED INVALID_CREDENTIALS")


def test_a_store_is_called_in_its_own_region_whatever_the_console_shows(alice: Client) -> None:
    alice.post("/region/", {"region": "eu-west-1", "next": "/keys/"})
    act(alice, "disconnect", confirmed="yes")
    assert store().connection_state == "DISCONNECTED"
    (row,) = recorded("DisconnectCustomKeyStore")
    assert row.region == "us-west-2"


def test_nobody_reaches_a_store_who_is_not_staff_of_its_account(alice: Client) -> None:
    bob = client_of(User.objects.get(account_id=demo.ACCOUNT, user_name="bob"))
    erin = client_of(person(demo.OTHER_ACCOUNT, "erin", is_staff=True))
    assert act(bob, "disconnect", confirmed="yes").status_code == 403
    assert act(erin, "disconnect", confirmed="yes").status_code == 302
    assert act(erin, "disconnect", confirmed="yes", select_across="1").status_code == 302
    assert "ExampleKeyStore" not in act(erin, "disconnect").content.decode()
    assert act(Client(), "disconnect", confirmed="yes").headers["Location"].startswith("/admin/login/")
    without_token = Client(enforce_csrf_checks=True)
    without_token.force_login(User.objects.get(account_id=demo.ACCOUNT, user_name="alice"))
    assert act(without_token, "disconnect", confirmed="yes").status_code == 403
    assert alice.get(LIST, {"action": "disconnect", "confirmed": "yes", "_selected_action": "1"}).status_code in {
        302,
        400,
    }
    assert store().connection_state == "CONNECTED"
    assert recorded("DisconnectCustomKeyStore") == []


def test_every_page_runs_in_a_browser_under_the_content_security_policy(browser: Browser, casemate: Casemate) -> None:
    context = browser.new_context()
    page, faults, seen = context.new_page(), [], 0
    page.on("console", lambda message: faults.append(message.text) if message.type in {"error", "warning"} else None)
    page.on("pageerror", lambda error: faults.append(str(error)))
    who = casemate.person("alice")
    page.goto(casemate.url + "/admin/")
    page.get_by_label("Account ID").fill(who.account)
    page.get_by_label("User name").fill(who.user_name)
    page.get_by_label("Password", exact=True).fill(who.password)
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url(casemate.url + "/admin/")
    lists = page.locator("#content-main a").evaluate_all("links => links.map(link => link.pathname)")
    for path in sorted({path for path in lists if path.count("/") == 4}):
        page.goto(casemate.url + path)
        seen += 1
        row = page.locator("#result_list tbody th a").first
        if row.count():
            row.click()
            page.locator("fieldset").wait_for()
            seen += 1
    page.goto(casemate.url + LIST)
    page.get_by_role("checkbox", name="Select all objects").check()
    page.get_by_label("Action:").select_option("disconnect")
    page.get_by_role("button", name="Run the selected action").or_(page.get_by_role("button", name="Go")).click()
    page.get_by_role("heading", name="Disconnect custom key stores").wait_for()
    page.get_by_role("link", name="Cancel").click()
    page.wait_for_url(casemate.url + LIST)
    assert faults == []
    assert seen > 20
    print(f"{seen} pages in Chromium")
    context.close()
