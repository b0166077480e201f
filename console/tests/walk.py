"""What the browser tests share: a page that is watched for faults, and the scope document's procedure step by step.

Each function is one step of "Create a KMS key in a custom key store (console)" and is named after it. They use what a
person sees (roles and labels), and work with JavaScript on and off.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import BrowserContext, ConsoleMessage, Locator, Page, Request, expect

from kmsapp.testing import ROOT, Casemate
from kmsapp.tests.browser_client import BrowserClient

SCREENS = ROOT / "docs" / "screens"
TAKE_SCREENSHOTS = os.environ.get("CASEMATE_SCREENSHOTS") == "1"
KEY_ID = "1234abcd-12ab-34cd-56ef-1234567890ab"  # of the demo
STORE_NAME, STORE_ID, CLUSTER_ID = "ExampleKeyStore", "cks-1234567890abcdef0", "cluster-1a23b4cdefg"


@dataclass
class Watched:
    """A page, and what went wrong on it: messages of the browser, answers 5xx, requests to anywhere else."""

    page: Page
    casemate: Casemate
    java_script: bool
    faults: list[str] = field(default_factory=list)
    checked: list[str] = field(default_factory=list)  # pages that axe looked at

    def goto(self, path: str) -> None:
        self.page.goto(self.casemate.url + path)

    def heading(self) -> Locator:
        return self.page.get_by_role("heading", level=1)

    def look(self, name: str, *, suffix: str = "", is_pictured: bool = True) -> None:
        """Check the page for accessibility, and take its picture where asked to."""
        if self.java_script:
            results = Axe().run(self.page)
            assert results.violations_count == 0, f"{name}:\n{results.generate_report()}"
            self.checked.append(name)
        assert self.page.evaluate("document.documentElement.scrollWidth <= innerWidth"), f"{name} scrolls sideways"
        if is_pictured:
            self.picture(name, suffix=suffix)

    def picture(self, name: str, *, suffix: str = "") -> None:
        """Take its picture where asked to."""
        if TAKE_SCREENSHOTS and self.java_script:
            SCREENS.mkdir(parents=True, exist_ok=True)
            self.page.evaluate("scrollTo(0, 0)")  # else the toolbar sticks in the middle of the picture
            self.page.screenshot(path=SCREENS / f"{name}{suffix}.png", full_page=True, animations="disabled")


def watch(context: BrowserContext, casemate: Casemate, *, java_script: bool) -> Watched:
    page = context.new_page()
    page.set_default_timeout(10_000)
    watched = Watched(page, casemate, java_script)

    def hear(message: ConsoleMessage) -> None:
        # A page that answers 4xx on purpose is reported as a failed resource by the browser.
        if message.type in {"error", "warning"} and "Failed to load resource" not in message.text:
            watched.faults.append(message.text)

    def see(request: Request) -> None:
        if not request.url.startswith((casemate.url, "data:")):
            watched.faults.append(f"asked {request.url}")

    page.on("console", hear)
    page.on("pageerror", lambda error: watched.faults.append(str(error)))
    page.on("request", see)
    page.on(
        "response",
        lambda answer: watched.faults.append(f"{answer.status} {answer.url}") if answer.status > 499 else None,
    )
    return watched


def press(watched: Watched, name: str) -> None:
    watched.page.get_by_role("button", name=name, exact=True).last.click()


def come_in(watched: Watched, user_name: str = "alice") -> None:
    """Be signed in, for what is behind the sign-in page; the page itself is step 1. No page is shown yet."""
    client = BrowserClient(watched.casemate)
    client.sign_in(user_name)
    watched.page.context.add_cookies(
        [{"name": name, "value": value, "url": watched.casemate.url} for name, value in client.cookies.items()]
    )


def step_01_sign_in_to_the_console(watched: Watched, user_name: str = "alice", *, suffix: str = "") -> None:
    watched.goto("/")
    expect(watched.heading()).to_have_text("Sign in")
    watched.look("sign-in", suffix=suffix)
    watched.page.get_by_label("Account ID").fill(watched.casemate.account)
    watched.page.get_by_label("User name").fill(user_name)
    watched.page.get_by_label("Password").fill(watched.casemate.person(user_name).password)
    press(watched, "Sign in")
    expect(watched.heading()).to_contain_text("Customer managed keys")


def step_02_change_the_region_with_the_selector_in_the_upper_right_corner(watched: Watched) -> None:
    page = watched.page
    choose_region(page, "us-west-2", "eu-central-1")
    expect(page.get_by_text("No customer managed keys")).to_be_visible()
    watched.look("keys-empty")
    choose_region(page, "eu-central-1", "us-west-2")
    expect(page.get_by_text("No customer managed keys")).to_have_count(0)


def choose_region(page: Page, now: str, wanted: str) -> None:
    page.locator("summary", has_text=now).click()
    page.locator(f"button[name=region][value={wanted}]").click()
    expect(page.locator("summary", has_text=wanted)).to_be_visible()


def step_03_choose_customer_managed_keys_in_the_navigation_pane(watched: Watched) -> None:
    watched.page.get_by_role("navigation", name="Side navigation").get_by_role(
        "link", name="Customer managed keys"
    ).click()
    expect(watched.heading()).to_contain_text("Customer managed keys")


def step_04_choose_create_key(watched: Watched) -> None:
    watched.page.get_by_role("link", name="Create key").first.click()
    expect(watched.heading()).to_contain_text("Configure key")


def step_05_choose_symmetric(watched: Watched) -> None:
    watched.page.get_by_role("radio", name="Symmetric", exact=True).check()
    expect(watched.page.get_by_role("radio", name="Asymmetric", exact=True)).to_be_disabled()
    expect(watched.page.get_by_text("You can't create an asymmetric KMS key in a custom key store")).to_be_visible()


def step_06_choose_advanced_options(watched: Watched) -> None:
    watched.page.locator("summary", has_text="Advanced options").click()


def step_07_for_key_material_origin_choose_custom_key_store_cloudhsm(watched: Watched) -> None:
    group = watched.page.get_by_role("group", name="Key material origin")
    group.get_by_role("radio", name="Custom key store (CloudHSM)", exact=True).check()
    for other in ("KMS", "External"):
        expect(group.get_by_role("radio", name=re.compile(f"^{other}"))).to_be_disabled()
    watched.look("wizard-1-configure-key")


def step_08_choose_next(watched: Watched) -> None:
    press(watched, "Next")
    expect(watched.heading()).to_contain_text("Choose a custom key store")


def step_09_select_a_custom_key_store(watched: Watched) -> None:
    page = watched.page
    expect(page.get_by_role("link", name="Connecting and disconnecting a custom key store")).to_be_visible()
    expect(page.get_by_role("link", name="Adding an HSM")).to_be_visible()
    expect(page.get_by_role("button", name="Create custom key store")).to_be_enabled()
    row = page.get_by_role("row", name=re.compile(STORE_NAME))
    for text in (STORE_ID, "Connected", CLUSTER_ID, "us-west-2a, us-west-2b"):
        expect(row).to_contain_text(text)
    row.get_by_role("radio").check()
    watched.look("wizard-2-choose-key-store")


def step_10_choose_next(watched: Watched) -> None:
    press(watched, "Next")
    expect(watched.heading()).to_contain_text("Add labels")


def step_11_type_an_alias_and_an_optional_description(watched: Watched, alias: str) -> None:
    page = watched.page
    page.get_by_label("Alias", exact=True).fill("aws/reserved")
    press(watched, "Next")
    expect(page.get_by_role("alert").filter(has_text="Correct 1 field")).to_be_visible()
    expect(page.get_by_label("Alias", exact=True)).to_have_attribute("aria-invalid", "true")
    watched.look("wizard-3-labels-wrong")
    page.get_by_label("Alias", exact=True).fill(alias)
    page.get_by_role("textbox", name=re.compile("^Description")).fill("Made by following the procedure")
    watched.look("wizard-3-add-labels")
    press(watched, "Next")


def step_12_on_the_add_tags_page_add_tags(watched: Watched) -> None:
    page = watched.page
    expect(watched.heading()).to_contain_text("Add Tags")
    expect(page.get_by_text("cost allocation report")).to_be_visible()
    press(watched, "Add tag")
    page.get_by_role("textbox", name="Tag key").fill("Environment")
    page.get_by_role("textbox", name=re.compile("^Tag value")).fill("production")
    press(watched, "Add tag")
    page.get_by_role("textbox", name="Tag key").nth(1).fill("Unwanted")
    page.get_by_role("button", name="Remove tag 2").click()
    expect(page.get_by_role("textbox", name="Tag key")).to_have_count(1)
    watched.look("wizard-4-add-tags")


def step_13_choose_next(watched: Watched) -> None:
    press(watched, "Next")
    expect(watched.heading()).to_contain_text("Define key administrative permissions")


def step_14_select_who_can_manage_the_key_under_key_administrators(watched: Watched) -> None:
    page = watched.page
    expect(page.get_by_role("heading", name=re.compile("^Key Administrators"))).to_be_visible()
    expect(page.get_by_text("IAM policy can give further users and roles")).to_be_visible()
    select(page, "alice")


def step_15_clear_allow_key_administrators_to_delete_this_key(watched: Watched) -> None:
    box = watched.page.get_by_label("Allow key administrators to delete this key")
    expect(box).to_be_checked()
    box.uncheck()
    watched.look("wizard-5-key-administrators")


def step_16_choose_next(watched: Watched) -> None:
    press(watched, "Next")
    expect(watched.heading()).to_contain_text("Define key usage permissions")


def step_17_select_who_can_use_the_key_under_this_account(watched: Watched) -> None:
    page = watched.page
    expect(page.get_by_role("heading", name=re.compile("^This account"))).to_be_visible()
    expect(page.get_by_text("IAM policy can let further users and roles")).to_be_visible()
    select(page, "bob")


def step_18_add_another_aws_account(watched: Watched) -> None:
    page = watched.page
    expect(page.get_by_text("an administrator of the other account must also allow")).to_be_visible()
    press(watched, "Add another AWS account")
    # Adding the row has kept the selection.
    expect(page.get_by_role("checkbox", name="Select bob")).to_be_checked()
    page.get_by_role("textbox", name="Account ID").fill("444455556666")
    watched.look("wizard-6-key-users")


def step_19_choose_next(watched: Watched) -> None:
    page = watched.page
    press(watched, "Next")
    expect(watched.heading()).to_contain_text("Edit key policy")
    policy = page.get_by_role("textbox", name="Key policy")
    for text in ("user/alice", "user/bob", "444455556666", "Enable IAM User Permissions"):
        expect(policy).to_have_value(re.compile(text))
    assert "kms:ScheduleKeyDeletion" not in policy.input_value()
    watched.look("wizard-7-key-policy")
    press(watched, "Next")


def step_20_review_the_key_settings(watched: Watched, alias: str) -> None:
    page = watched.page
    expect(watched.heading()).to_have_text("Review")
    main = page.get_by_role("main")
    for text in (alias, STORE_NAME, STORE_ID, CLUSTER_ID, "CloudHSM (AWS_CLOUDHSM)", "Environment", "444455556666"):
        expect(main).to_contain_text(text)
    watched.look("wizard-8-review")
    # You can still go back and change all settings.
    page.get_by_role("link", name="Edit Add labels").click()
    page.get_by_role("textbox", name=re.compile("^Description")).fill("Changed during the review")
    press(watched, "Next")
    expect(watched.heading()).to_have_text("Review")
    expect(main).to_contain_text("Changed during the review")


def step_21_choose_finish(watched: Watched, alias: str) -> str:
    """Return the key ID of the success message."""
    page = watched.page
    press(watched, "Finish")
    expect(watched.heading()).to_contain_text("Customer managed keys")
    flash = page.get_by_role("list", name="Notifications")
    expect(flash).to_contain_text(f"Success: Your AWS KMS key was created with alias {alias} and key ID ")
    found = re.search(r"key ID ([0-9a-f-]{36})", flash.inner_text())
    assert found
    watched.look("key-created")
    return found.group(1)


def tip_add_the_custom_key_store_id_column_with_the_gear(watched: Watched) -> None:
    page = watched.page
    table = page.get_by_role("table", name="Customer managed keys")
    page.get_by_role("link", name="Preferences").click()
    page.get_by_role("switch", name="Custom key store ID").check()
    expect(page.get_by_role("switch", name="Aliases")).to_be_disabled()
    watched.look("keys-preferences")
    press(watched, "Confirm")
    expect(table.get_by_role("columnheader", name="Custom key store ID")).to_be_visible()
    expect(table.get_by_role("link", name=STORE_ID).first).to_be_visible()
    watched.look("keys")


def the_detail_page_displays_origin_store_and_cluster(watched: Watched, alias: str, key_id: str) -> None:
    page = watched.page
    page.get_by_role("table", name="Customer managed keys").get_by_role("link", name=alias, exact=True).click()
    expect(watched.heading()).to_have_text(key_id)
    watched.look("key-policy")
    page.get_by_role("link", name="Cryptographic configuration").click()
    for term, value in {
        "Origin": "CloudHSM (AWS_CLOUDHSM)",
        "Custom key store name": STORE_NAME,
        "Custom key store ID": STORE_ID,
        "CloudHSM cluster ID": CLUSTER_ID,
        "Connection state": "Connected",
    }.items():
        pair = page.locator("dl.pairs > div").filter(has=page.get_by_text(term, exact=True))
        expect(pair.get_by_role("definition")).to_have_text(value)
    watched.look("key-cryptographic-configuration")
    page.get_by_role("link", name="Tags", exact=True).click()
    expect(page.get_by_role("row", name="Environment production")).to_be_visible()
    watched.look("key-tags")
    page.get_by_role("link", name="Aliases", exact=True).click()
    expect(page.get_by_role("row", name=f"alias/{alias}")).to_be_visible()
    watched.look("key-aliases")


def select(page: Page, name: str) -> None:
    page.get_by_role("checkbox", name=f"Select {name}", exact=True).check()


def come_to_labels(watched: Watched) -> None:
    """Come to the wizard's third step with nothing but what is needed."""
    watched.goto("/keys/create/")
    step_06_choose_advanced_options(watched)
    watched.page.get_by_role("radio", name="Custom key store (CloudHSM)", exact=True).check()
    press(watched, "Next")
    watched.page.get_by_role("radio", name=f"Select {STORE_NAME}").check()
    press(watched, "Next")


def fill_wizard(watched: Watched, alias: str) -> None:
    """Come to the review page with nothing but what is needed."""
    come_to_labels(watched)
    watched.page.get_by_label("Alias", exact=True).fill(alias)
    press(watched, "Next")
    press(watched, "Skip to Review")
    expect(watched.heading()).to_have_text("Review")
