"""A custom key store made from inside the create-key wizard, connected, used, renamed, mended and deleted in a browser.

On a server of its own, whose transitions take the time that people see them take: its clusters are bound for good once
keys are in them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Locator, expect

from console.tests import walk
from console.tests.test_browser_walk import open_page
from kmsapp.testing import Casemate, served_copy
from kmsapp.tests.further_cluster import FurtherCluster
from kmsapp.tests.refusals import refusal

CONNECT_MILLISECONDS = 30_000  # a transition of 3 s, a round of jobs and a poll, on a busy machine


@pytest.fixture(scope="module")
def own_casemate(stopped_server: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Casemate]:
    with served_copy(stopped_server, tmp_path_factory.mktemp("key-stores") / "data") as casemate:
        yield casemate


def row(watched: walk.Watched, name: str) -> Locator:
    return watched.page.get_by_role("row", name=re.compile(name))


def wait_for_state(watched: walk.Watched, name: str, state: str) -> None:
    """The table follows by itself; without JavaScript, Refresh is chosen until the state is there."""
    cell = row(watched, name).locator(".status", has_text=re.compile(f"^ *{state}$"))
    if not watched.java_script:
        for _ in range(30):
            if cell.count():
                break
            watched.page.get_by_role("link", name="Refresh").click()
            watched.page.wait_for_timeout(500)
    expect(cell).to_be_visible(timeout=CONNECT_MILLISECONDS)


def come_to_the_stores(watched: walk.Watched) -> None:
    """The step of the wizard that asks for the store."""
    watched.goto("/keys/create/")
    walk.step_06_choose_advanced_options(watched)
    watched.page.get_by_role("radio", name="Custom key store (CloudHSM)", exact=True).check()
    walk.step_08_choose_next(watched)


def fill(watched: walk.Watched, cluster: FurtherCluster, name: str, *, password: str = "") -> None:
    page = watched.page
    page.get_by_label("Custom key store name").fill(name)
    page.get_by_role("radio", name=f"Select {cluster.cluster_id}").check()
    page.get_by_label("Trust anchor certificate: file").set_input_files(cluster.certificate)
    page.get_by_label("kmsuser password").fill(password or cluster.password)


@pytest.mark.parametrize("java_script", [True, False], ids=["with JavaScript", "without JavaScript"])
def test_a_store_made_from_inside_the_wizard_is_connected_used_and_renamed(
    browser: Browser, own_casemate: Casemate, java_script: bool
) -> None:
    cluster, kms = FurtherCluster(own_casemate), own_casemate.boto3("kms")
    name, alias = ("WizardStore", "in-a-new-store") if java_script else ("PlainStore", "in-a-plain-store")
    for watched in open_page(browser, own_casemate, java_script=java_script):
        walk.come_in(watched)
        come_to_the_stores(watched)
        walk.press(watched, "Create custom key store")
        nothing_entered_is_refused_field_by_field(watched)
        a_taken_name_and_a_wrong_certificate_are_refused(watched, cluster, own_casemate)
        fill(watched, cluster, name)
        walk.press(watched, "Create")
        the_draft_waits_for_the_store(watched, name)
        watched.page.get_by_role("button", name=f"Connect {name}").click()
        wait_for_state(watched, name, "Connected")
        expect(watched.page.get_by_role("radio", name=f"Select {name}")).to_be_checked()
        expect(watched.page.get_by_text("can't be used")).to_have_count(0)
        watched.look("wizard-2-new-store-connected")
        key_id = the_key_is_made_in_it(watched, alias)
        metadata = kms.describe_key(KeyId=key_id)["KeyMetadata"]
        assert metadata["CloudHsmClusterId"] == cluster.cluster_id
        store_id = metadata["CustomKeyStoreId"]
        a_store_with_a_key_is_renamed_and_not_deleted(watched, store_id, f"{name} renamed")
        (store,) = kms.describe_custom_key_stores(CustomKeyStoreId=store_id)["CustomKeyStores"]
        assert store["CustomKeyStoreName"] == f"{name} renamed"
        refused = refusal(kms.delete_custom_key_store, CustomKeyStoreId=store_id)
        assert refused is not None and refused.code == "CustomKeyStoreHasCMKsException"


def nothing_entered_is_refused_field_by_field(watched: walk.Watched) -> None:
    page = watched.page
    expect(watched.heading()).to_contain_text("Create custom key store")
    walk.press(watched, "Create")
    alert = page.get_by_role("alert").filter(has_text="The key store wasn't created")
    expect(alert).to_contain_text(re.compile("Correct [34] fields"))  # the only cluster that fits is chosen already
    for label in ("Custom key store name", "Trust anchor certificate", "kmsuser password"):
        expect(alert.get_by_role("link", name=label)).to_be_visible()
    if watched.java_script:
        expect(alert).to_be_focused()
    watched.look("key-store-create-wrong")


def a_taken_name_and_a_wrong_certificate_are_refused(
    watched: walk.Watched, cluster: FurtherCluster, casemate: Casemate
) -> None:
    page = watched.page
    bound = page.get_by_role("row", name=re.compile(walk.CLUSTER_ID))
    expect(bound.get_by_role("radio")).to_be_disabled()
    expect(bound).to_contain_text("belongs to the custom key store ExampleKeyStore")
    fill(watched, cluster, walk.STORE_NAME)
    walk.press(watched, "Create")
    expect(page.locator("#id_name_problem")).to_contain_text("named ExampleKeyStore")
    expect(page.locator(".alert-error")).to_contain_text("(CustomKeyStoreNameInUseException)")
    assert page.get_by_label("kmsuser password").input_value() == ""
    assert cluster.password not in page.content()
    fill(watched, cluster, "Other")
    page.get_by_label("Trust anchor certificate: file").set_input_files(casemate.data / "demo" / "customerCA.crt")
    walk.press(watched, "Create")
    expect(page.locator("#id_certificate_problem")).to_contain_text("not the trust anchor")
    expect(page.locator(".alert-error")).to_contain_text("(IncorrectTrustAnchorException)")


def the_draft_waits_for_the_store(watched: walk.Watched, name: str) -> None:
    page = watched.page
    expect(watched.heading()).to_contain_text("Choose a custom key store")
    expect(page.get_by_role("list", name="Notifications")).to_contain_text(f"{name} was created with ID cks-")
    expect(row(watched, name)).to_contain_text("Your choice. It can't be used yet.")
    expect(page.get_by_role("radio", name=f"Select {name}")).to_be_disabled()
    watched.look("wizard-2-new-store")
    walk.press(watched, "Next")
    expect(page.get_by_role("alert").filter(has_text="Correct 1 field")).to_contain_text(f"{name} can't be used")
    expect(row(watched, name)).to_contain_text("Your choice.")


def the_key_is_made_in_it(watched: walk.Watched, alias: str) -> str:
    walk.step_10_choose_next(watched)
    watched.page.get_by_label("Alias", exact=True).fill(alias)
    walk.press(watched, "Next")
    walk.press(watched, "Skip to Review")
    walk.press(watched, "Finish")
    found = re.search(
        r"key ID ([0-9a-f-]{36})", watched.page.get_by_role("list", name="Notifications").inner_text(timeout=10_000)
    )
    assert found
    return found.group(1)


def a_store_with_a_key_is_renamed_and_not_deleted(watched: walk.Watched, store_id: str, name: str) -> None:
    page = watched.page
    watched.goto(f"/key-stores/{store_id}/")
    expect(page.get_by_role("link", name=re.compile("^Delete"))).to_have_attribute("aria-disabled", "true")
    expect(page.get_by_title("It can be deleted when its KMS key is. Disconnect the key store first.")).to_be_visible()
    page.get_by_role("link", name=re.compile("^Edit")).click()
    expect(page.get_by_text("You can change the name only")).to_be_visible()
    expect(page.get_by_label(re.compile("^kmsuser password"))).to_be_disabled()
    page.get_by_label("Custom key store name").fill(name)
    watched.look("key-store-edit-connected")
    walk.press(watched, "Save changes")
    expect(page.get_by_role("list", name="Notifications")).to_contain_text("was changed: custom key store name.")
    expect(watched.heading()).to_have_text(name)
    watched.goto(f"/key-stores/{store_id}/delete/")
    page.get_by_label(re.compile("^To confirm")).fill("confirm")
    walk.press(watched, "Delete")
    expect(page.locator(".alert-error")).to_contain_text("(CustomKeyStoreHasCMKsException)")
    watched.look("key-store-delete-refused")


def test_a_wrong_password_is_mended_from_inside_the_wizard_and_the_unused_store_is_deleted(
    browser: Browser, own_casemate: Casemate
) -> None:
    cluster = FurtherCluster(own_casemate)
    for watched in open_page(browser, own_casemate, java_script=True):
        page = watched.page
        walk.come_in(watched)
        create_by_keyboard(watched, cluster, "MendedStore", "Wrong1234567")
        come_to_the_stores(watched)
        page.get_by_role("button", name="Connect MendedStore").click()
        wait_for_state(watched, "MendedStore", "Failed")
        expect(row(watched, "MendedStore")).to_contain_text("INVALID_CREDENTIALS")
        watched.look("wizard-2-store-failed")
        page.get_by_role("button", name="Disconnect MendedStore").click()
        wait_for_state(watched, "MendedStore", "Disconnected")
        page.get_by_role("button", name="Edit MendedStore").click()
        page.get_by_label(re.compile("^kmsuser password")).fill(cluster.password)
        watched.look("key-store-edit")
        walk.press(watched, "Save changes")
        expect(watched.heading()).to_contain_text("Choose a custom key store")
        expect(page.get_by_role("list", name="Notifications")).to_contain_text("was changed: kmsuser password.")
        page.get_by_role("button", name="Connect MendedStore").click()
        wait_for_state(watched, "MendedStore", "Connected")
        expect(page.get_by_role("radio", name="Select MendedStore")).to_be_enabled()
        delete_the_unused_store(watched, "MendedStore")


def create_by_keyboard(watched: walk.Watched, cluster: FurtherCluster, name: str, password: str) -> None:
    """Without the mouse, and with the certificate pasted."""
    page, keyboard = watched.page, watched.page.keyboard
    watched.goto("/key-stores/")
    page.get_by_role("link", name="Create custom key store").first.press("Enter")
    expect(watched.heading()).to_contain_text("Create custom key store")
    page.get_by_label("Custom key store name").press_sequentially(name)
    keyboard.press("Tab")  # the table, which scrolls
    keyboard.press("Tab")
    page.get_by_role("radio", name=f"Select {cluster.cluster_id}").press("Space")
    keyboard.press("Tab")
    expect(page.get_by_label("Trust anchor certificate: file")).to_be_focused()
    keyboard.press("Tab")
    keyboard.press("Enter")
    keyboard.press("Tab")
    keyboard.insert_text(cluster.certificate.read_text())
    keyboard.press("Tab")
    keyboard.type(password)
    watched.look("key-store-create")
    keyboard.press("Enter")
    expect(watched.heading()).to_have_text(name)
    expect(page.get_by_text("This key store is disconnected")).to_be_visible()


def delete_the_unused_store(watched: walk.Watched, name: str) -> None:
    page = watched.page
    watched.goto("/key-stores/")
    page.get_by_role("radio", name=f"Select {name}").check()
    choose_action(watched, "Delete")
    expect(page.get_by_role("list", name="Notifications")).to_contain_text("Disconnect the key store first.")
    page.get_by_role("link", name=name, exact=True).click()
    page.get_by_role("link", name=f"Disconnect {name}", exact=True).click()
    walk.press(watched, "Disconnect")
    expect(page.get_by_text("This key store is disconnected")).to_be_visible(timeout=CONNECT_MILLISECONDS)
    watched.goto("/key-stores/")
    page.get_by_role("radio", name=f"Select {name}").check()
    choose_action(watched, "Delete")
    walk.press(watched, "Delete")
    expect(page.locator("#id_confirm_problem")).to_contain_text("Enter confirm.")
    page.get_by_label(re.compile("^To confirm")).fill("confirm")
    watched.look("key-store-delete")
    walk.press(watched, "Delete")
    expect(page.get_by_role("list", name="Notifications")).to_contain_text(f"{name} was deleted.")
    expect(page.get_by_role("link", name=name, exact=True)).to_have_count(0)


def choose_action(watched: walk.Watched, action: str) -> None:
    watched.page.locator("summary", has_text="Key store actions").click()
    walk.press(watched, action)


@pytest.mark.parametrize(
    ("suffix", "options"),
    [("-dark", {"color_scheme": "dark"}), ("-narrow", {"viewport": {"width": 400, "height": 860}})],
    ids=["dark", "at 400 px"],
)
def test_the_pages_of_key_stores_look_right(
    browser: Browser, own_casemate: Casemate, suffix: str, options: dict[str, object]
) -> None:
    for watched in open_page(browser, own_casemate, java_script=True, **options):
        walk.come_in(watched)
        for name, path in {
            "key-store-create": "/key-stores/create/",
            "key-store-edit-connected": f"/key-stores/{walk.STORE_ID}/edit/",
            "key-store-delete": f"/key-stores/{walk.STORE_ID}/delete/",
            "key-store": f"/key-stores/{walk.STORE_ID}/",
            "help-creating": "/help/creating-a-key-store/",
        }.items():
            watched.goto(path)
            watched.look(name, suffix=suffix)
        come_to_the_stores(watched)
        watched.look("wizard-2-choose-key-store", suffix=suffix)
