"""What goes wrong between the first step and the last, and double clicks: in a real browser on a real server.

Each test leaves the shared server's HSMs and key store as it found them.
"""

from __future__ import annotations

import http.client
import re
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlencode, urlsplit

import pytest
from playwright.sync_api import Browser, expect

from console.tests import walk
from console.tests.test_browser_walk import open_page
from hsmapp.testing import wait_until
from kmsapp.testing import ROOT, Casemate, clean_environment

SECOND_HSM = "hsm-zyxwvutsrqp"


@pytest.fixture
def watched(browser: Browser, casemate: Casemate) -> Iterator[walk.Watched]:
    yield from open_page(browser, casemate, java_script=True)


@pytest.fixture
def unscripted(browser: Browser, casemate: Casemate) -> Iterator[walk.Watched]:
    yield from open_page(browser, casemate, java_script=False)


def hsm_command(casemate: Casemate, verb: str) -> None:
    environment = {**clean_environment(), "CASEMATE_DATA": str(casemate.data)}
    command = [sys.executable, "manage.py", "hsm", verb, SECOND_HSM]
    subprocess.run(command, cwd=ROOT, env=environment, check=True, capture_output=True, timeout=30)


def states_of_hsms(casemate: Casemate) -> list[str]:
    clusters = casemate.boto3("cloudhsmv2").describe_clusters()["Clusters"]
    return [hsm["State"] for cluster in clusters if cluster["ClusterId"] == walk.CLUSTER_ID for hsm in cluster["Hsms"]]


def key_count(casemate: Casemate) -> int:
    return sum(len(page["Keys"]) for page in casemate.boto3("kms").get_paginator("list_keys").paginate())


def test_an_hsm_stopped_between_choosing_the_store_and_finish(watched: walk.Watched, casemate: Casemate) -> None:
    page = watched.page
    walk.come_in(watched)
    walk.fill_wizard(watched, "hsm-stopped")
    before = key_count(casemate)
    hsm_command(casemate, "stop")
    try:
        wait_until(lambda: states_of_hsms(casemate).count("ACTIVE") == 1, "the HSM to stop")
        walk.press(watched, "Finish")
        alert = page.get_by_role("alert").filter(has_text="The key wasn't created.")
        expect(alert).to_contain_text("CloudHsmClusterInvalidConfigurationException")
        expect(alert).to_be_focused()
        expect(alert.get_by_role("link", name="Adding an HSM")).to_have_attribute("href", "/help/adding-an-hsm/")
        watched.look("wizard-8-failed")
        assert key_count(casemate) == before
        # The wizard's second step says why the store can't be chosen now; the cluster page shows it.
        page.get_by_role("link", name="Edit Choose a custom key store").click()
        expect(page.get_by_role("radio", name=f"Select {walk.STORE_NAME}")).to_be_disabled()
        expect(page.get_by_role("main")).to_contain_text("1 of 2 required")
        watched.look("wizard-2-store-not-usable")
        watched.goto(f"/clusters/{walk.CLUSTER_ID}/")
        watched.look("cluster-degraded")
        review = page.context.pages[0]
        review.go_back()
    finally:
        hsm_command(casemate, "start")
        wait_until(lambda: states_of_hsms(casemate) == ["ACTIVE", "ACTIVE"], "the HSM to come back")
    # Nothing that was entered is lost: choose Finish again.
    page.get_by_role("link", name="Review", exact=True).click()
    walk.step_21_choose_finish(watched, "hsm-stopped")
    assert key_count(casemate) == before + 1


def test_the_alias_is_taken_before_finish(unscripted: walk.Watched, casemate: Casemate) -> None:
    page, kms = unscripted.page, casemate.boto3("kms")
    walk.come_in(unscripted)
    walk.fill_wizard(unscripted, "taken-meanwhile")
    store = {"Origin": "AWS_CLOUDHSM", "CustomKeyStoreId": walk.STORE_ID}
    kms.create_alias(AliasName="alias/taken-meanwhile", TargetKeyId=kms.create_key(**store)["KeyMetadata"]["KeyId"])
    before = key_count(casemate)
    walk.press(unscripted, "Finish")
    alert = page.get_by_role("alert").filter(has_text="The key wasn't created.")
    expect(alert).to_contain_text("AlreadyExistsException")
    assert key_count(casemate) == before
    page.get_by_role("link", name="Edit Add labels").click()
    page.get_by_role("textbox", name="Alias").fill("not-taken")
    walk.press(unscripted, "Next")
    walk.step_21_choose_finish(unscripted, "not-taken")
    assert key_count(casemate) == before + 1


def test_a_double_click_on_finish_makes_one_key(unscripted: walk.Watched, casemate: Casemate) -> None:
    walk.come_in(unscripted)
    walk.fill_wizard(unscripted, "double-click")
    before = key_count(casemate)
    unscripted.page.get_by_role("button", name="Finish").dblclick()
    flash = unscripted.page.get_by_role("list", name="Notifications")
    expect(flash).to_contain_text("created with alias double-click")
    assert key_count(casemate) == before + 1


def test_eight_finishes_at_once_make_one_key(watched: walk.Watched, casemate: Casemate) -> None:
    walk.come_in(watched)
    walk.fill_wizard(watched, "eight-at-once")
    before = key_count(casemate)
    address = urlsplit(watched.page.url)
    cookies = "; ".join(f"{cookie['name']}={cookie['value']}" for cookie in watched.page.context.cookies())
    token = watched.page.locator("form.wizard-form input[name=csrfmiddlewaretoken]").input_value()
    body = urlencode({"csrfmiddlewaretoken": token, "go": "finish"})
    headers = {"Content-Type": "application/x-www-form-urlencoded", "Cookie": cookies, "Referer": watched.page.url}

    def finish(_: int) -> tuple[int, str]:
        connection = http.client.HTTPConnection(address.netloc, timeout=30)
        connection.request("POST", address.path, body, headers)
        answer = connection.getresponse()
        answer.read()
        return answer.status, str(answer.headers["Location"])

    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(finish, range(8)))
    assert {status for status, _ in answers} == {302}, answers
    landed = [location.split("?")[0].rstrip("/").split("/")[-1] for _, location in answers]
    assert landed.count("keys") == 1 and landed.count("progress") == 7, landed
    assert key_count(casemate) == before + 1
    print("8 Finishes at once: 1 key")


def test_disconnecting_and_connecting_the_key_store(watched: walk.Watched, casemate: Casemate) -> None:
    page = watched.page
    walk.come_in(watched)
    try:
        watched.goto("/key-stores/")
        page.get_by_role("radio", name=f"Select {walk.STORE_NAME}").check()
        page.locator("summary", has_text="Key store actions").click()
        watched.look("key-stores-actions")
        walk.press(watched, "Disconnect")
        expect(page.get_by_role("main")).to_contain_text("become unusable")
        walk.press(watched, "Disconnect")
        # The page follows by itself until the state is final.
        expect(page.get_by_text("This key store is disconnected")).to_be_visible(timeout=20_000)
        watched.look("key-store-disconnected")
        watched.goto(f"/keys/{walk.KEY_ID}/")
        expect(page.get_by_text("This key is unavailable because its key store is not connected")).to_be_visible()
        watched.look("key-unavailable")
        page.get_by_role("link", name="Connect key store").click()
        walk.press(watched, "Connect")
        expect(page.locator("dl").get_by_text("Connected", exact=True)).to_be_visible(timeout=20_000)
    finally:
        states = casemate.boto3("kms").describe_custom_key_stores(CustomKeyStoreId=walk.STORE_ID)["CustomKeyStores"]
        if states[0]["ConnectionState"] != "CONNECTED":
            casemate.boto3("kms").connect_custom_key_store(CustomKeyStoreId=walk.STORE_ID)
    assert page.locator("[hx-trigger^=every]").count() == 0


def test_the_filter_the_alias_check_and_the_policy_check_answer_while_typing(watched: walk.Watched) -> None:
    page = watched.page
    walk.come_in(watched)
    watched.goto("/keys/")
    page.get_by_role("searchbox", name="Find keys").fill("nothing-is-called-so")
    expect(page.get_by_text("No matches")).to_be_visible()
    expect(page).to_have_url(re.compile(r"/keys/\?q=nothing-is-called-so$"))
    expect(page.get_by_role("searchbox", name="Find keys")).to_be_focused()
    expect(page.locator("#live-polite")).to_have_text("0 matches")
    walk.fill_wizard(watched, "typing")
    page.get_by_role("link", name="Edit Add labels").click()
    page.get_by_role("textbox", name="Alias").fill("ExampleKey")
    expect(page.get_by_text("The alias ExampleKey is already in use.")).to_be_visible()
    page.get_by_role("textbox", name="Alias").fill("typing-again")
    expect(page.get_by_text("The alias ExampleKey is already in use.")).to_have_count(0)
    walk.press(watched, "Next")
    page.get_by_role("link", name="Edit Edit key policy").click()
    page.get_by_role("textbox", name="Key policy").fill('{"Version": }')
    expect(page.get_by_text("Line 1, column 13")).to_be_visible()


def test_the_wizard_by_keyboard(watched: walk.Watched) -> None:
    """Enter in the alias field is Next, not Previous; Space and arrows choose; the skip link leads to the content."""
    page = watched.page
    walk.come_in(watched)
    watched.goto("/keys/create/")
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to main content")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("#main")).to_be_focused()
    page.locator("summary", has_text="Advanced options").focus()
    page.keyboard.press("Enter")
    page.get_by_role("radio", name="Custom key store (CloudHSM)").focus()
    page.keyboard.press("Space")
    page.keyboard.press("Enter")
    expect(watched.heading()).to_contain_text("Choose a custom key store")
    page.get_by_role("radio", name=f"Select {walk.STORE_NAME}").focus()
    page.keyboard.press("Space")
    page.keyboard.press("Enter")
    page.get_by_role("textbox", name="Alias").press_sequentially("by-keyboard")
    page.keyboard.press("Enter")
    expect(watched.heading()).to_contain_text("Add Tags")


def test_an_answer_that_arrives_while_a_button_is_pressed_waits_until_it_is_up(watched: walk.Watched) -> None:
    page = watched.page
    walk.come_in(watched)
    walk.come_to_labels(watched)
    page.get_by_label("Alias", exact=True).fill("aws/reserved")
    button = page.get_by_role("button", name="Next", exact=True)
    box = button.bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    # Leaving the field asks for a check of the alias, whose answer makes the page longer above the button.
    with page.expect_response(re.compile("/alias-check/")):
        page.mouse.down()
    page.wait_for_timeout(200)
    assert button.bounding_box() == box
    page.mouse.up()
    expect(page.get_by_role("alert").filter(has_text="Correct 1 field")).to_be_visible()
    # An answer that nobody's finger holds up is shown at once.
    page.get_by_label("Alias", exact=True).fill("aws/other")
    page.get_by_label("Alias", exact=True).fill("good")
    expect(page.locator("#id_alias_problem")).to_be_empty()
