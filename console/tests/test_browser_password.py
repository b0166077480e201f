"""The password in a browser: asked for again before a disconnect, changed by its owner; with JavaScript and without.

On a server of its own, which asks each time: CASEMATE_PROOF_MINUTES is 0.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from console.tests import walk
from console.tests.test_browser_walk import open_page
from kmsapp.testing import Casemate, served_copy

NEW = "Battery staple 2"


@pytest.fixture(scope="module")
def own_casemate(stopped_server: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Casemate]:
    data, asks_always = tmp_path_factory.mktemp("passwords") / "data", {"CASEMATE_PROOF_MINUTES": "0"}
    with served_copy(stopped_server, data, "--immediate", environment=asks_always) as casemate:
        yield casemate


@pytest.fixture(params=[True, False], ids=["JavaScript", "no JavaScript"])
def watched(browser: Browser, own_casemate: Casemate, request: pytest.FixtureRequest) -> Iterator[walk.Watched]:
    yield from open_page(browser, own_casemate, java_script=request.param)


def connection_state(casemate: Casemate) -> str:
    (store,) = casemate.boto3("kms").describe_custom_key_stores(CustomKeyStoreId=walk.STORE_ID)["CustomKeyStores"]
    return str(store["ConnectionState"])


def test_a_disconnect_asks_for_the_password_again(watched: walk.Watched, own_casemate: Casemate) -> None:
    page = watched.page
    walk.come_in(watched)
    watched.goto(f"/key-stores/{walk.STORE_ID}/disconnect/")
    watched.look("key-store-disconnect-password")
    page.get_by_label("Your password").fill("not this one")
    walk.press(watched, "Disconnect")
    expect(page.get_by_text("The password is wrong.")).to_be_visible()
    if watched.java_script:
        expect(page.get_by_label("Your password")).to_be_focused()
    watched.look("key-store-disconnect-password-wrong")
    assert connection_state(own_casemate) == "CONNECTED"
    page.get_by_label("Your password").fill(own_casemate.person("alice").password)
    walk.press(watched, "Disconnect")
    expect(page.get_by_role("list", name="Notifications")).to_contain_text("Disconnecting ExampleKeyStore has begun")
    own_casemate.wait_until(lambda: connection_state(own_casemate) == "DISCONNECTED", "the store to be disconnected")
    own_casemate.boto3("kms").connect_custom_key_store(CustomKeyStoreId=walk.STORE_ID)
    own_casemate.wait_until(lambda: connection_state(own_casemate) == "CONNECTED", "the store to be connected")


def test_people_change_their_own_password(watched: walk.Watched, own_casemate: Casemate, browser: Browser) -> None:
    """With JavaScript it is bob, and without it alice: each has the old password still."""
    user_name = "bob" if watched.java_script else "alice"
    page, old = watched.page, own_casemate.person(user_name).password
    for elsewhere in open_page(browser, own_casemate, java_script=True):
        walk.come_in(elsewhere, user_name)
        walk.come_in(watched, user_name)
        watched.goto("/keys/")
        page.locator("summary", has_text=user_name).click()
        page.get_by_role("link", name="Change password").click()
        expect(watched.heading()).to_have_text("Change password")
        watched.look("password")
        fill(watched, old, "password", "password")
        expect(page.get_by_text("Password should have at least 3 of")).to_be_visible()
        watched.look("password-wrong")
        fill(watched, old, NEW, NEW)
        expect(page.get_by_role("list", name="Notifications")).to_contain_text("Your password was changed")
        elsewhere.goto("/clusters/")
        expect(elsewhere.heading()).to_have_text("Sign in")


def fill(watched: walk.Watched, old: str, new: str, again: str) -> None:
    watched.page.get_by_label("Current password").fill(old)
    watched.page.get_by_label("New password", exact=True).fill(new)
    watched.page.get_by_label("Confirm new password").fill(again)
    walk.press(watched, "Change password")
