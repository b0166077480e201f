"""Identities, key policies and the policy simulator in a browser, and what they made used from the AWS CLI."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, expect

from console.tests import walk
from console.tests.test_browser_walk import open_page
from kmsapp.testing import Casemate, served_copy

GOOD_PASSWORD = "Correct-horse-7"
WRONG_POLICY = '{\n  "Version": "2012-10-17",\n  "Statement": [\n    {\n      "Effect": "Alow"\n    }\n  ]\n}'
USE_KEYS = """{
  "Version": "2012-10-17",
  "Statement": [
    {"Effect": "Allow", "Action": ["kms:Encrypt", "kms:Decrypt", "kms:DescribeKey"], "Resource": "*"}
  ]
}"""
LOCKED_OUT = """{
  "Version": "2012-10-17",
  "Statement": [
    {
      "Effect": "Allow",
      "Principal": {"AWS": "arn:aws:iam::111122223333:user/mallory"},
      "Action": "kms:*",
      "Resource": "*"
    }
  ]
}"""
NARROW = {"viewport": {"width": 400, "height": 800}}


@pytest.fixture(scope="module")
def own_casemate(stopped_server: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Casemate]:
    with served_copy(stopped_server, tmp_path_factory.mktemp("identities") / "data", "--immediate") as casemate:
        yield casemate


@pytest.fixture(params=[True, False], ids=["with JavaScript", "without JavaScript"])
def watched(request: pytest.FixtureRequest, browser: Browser, own_casemate: Casemate) -> Iterator[walk.Watched]:
    yield from open_page(browser, own_casemate, java_script=request.param)


def opened(browser: Browser, casemate: Casemate, **options: Any) -> Iterator[walk.Watched]:
    return open_page(browser, casemate, java_script=True, **options)


@pytest.fixture
def scripted(browser: Browser, own_casemate: Casemate) -> Iterator[walk.Watched]:
    yield from opened(browser, own_casemate)


def cli_as(casemate: Casemate, access_key_id: str, secret: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the AWS CLI with a key that was made in the browser."""
    environment = casemate.cli_environment("alice")
    environment |= {"AWS_ACCESS_KEY_ID": access_key_id, "AWS_SECRET_ACCESS_KEY": secret}
    command = [str(Path(sys.executable).with_name("aws")), *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)


def sign_in_as_mallory(watched: walk.Watched) -> None:
    """Who may do nothing comes to the page of the keys, which says why they can't be seen."""
    watched.goto("/")
    mallory = watched.casemate.person("mallory")
    watched.page.get_by_label("Account ID").fill(mallory.account)
    watched.page.get_by_label("User name").fill(mallory.user_name)
    watched.page.get_by_label("Password").fill(mallory.password)
    walk.press(watched, "Sign in")
    expect(watched.heading()).to_have_text("Customer managed keys")
    expect(watched.page.get_by_role("main")).to_contain_text("not authorized to perform: kms:ListKeys")


def create_user(watched: walk.Watched, name: str) -> None:
    page = watched.page
    page.get_by_role("navigation", name="Side navigation").get_by_role("link", name="Users").click()
    watched.look("users")
    page.get_by_role("link", name="Create user").click()
    page.get_by_label("User name").fill("not a name")
    walk.press(watched, "Create user")
    expect(page.get_by_role("alert").filter(has_text="Correct 1 field")).to_be_visible()
    watched.look("user-create-wrong")
    page.get_by_label("User name").fill(name)
    page.get_by_role("checkbox", name="The user can sign in to the console").check()
    page.get_by_label("Console password", exact=True).fill(GOOD_PASSWORD)
    page.get_by_label("Console password again").fill(GOOD_PASSWORD)
    page.get_by_role("checkbox", name="The user must set").uncheck()
    page.get_by_role("checkbox", name="KeyUsers").check()
    walk.press(watched, "Create user")
    expect(watched.heading()).to_have_text(name)


def test_a_user_is_created_gets_an_access_key_and_a_policy_and_uses_them(
    watched: walk.Watched, own_casemate: Casemate
) -> None:
    page, name = watched.page, "dave" if watched.java_script else "erin"
    walk.come_in(watched)
    watched.goto("/keys/")
    create_user(watched, name)
    watched.look("user-permissions")
    page.get_by_role("link", name="Security credentials").click()
    watched.look("user-security-credentials")
    page.get_by_role("link", name="Create access key").click()
    watched.look("access-key-create")
    walk.press(watched, "Create access key")
    watched.look("access-key-created", is_pictured=False)  # it shows a secret
    access_key_id = page.locator("#access-key-id").inner_text()
    secret = page.locator("#secret-access-key").inner_text()
    with page.expect_download() as download:
        page.get_by_role("link", name="Download .csv file").click()
    assert download.value.suggested_filename == f"{name}_accessKeys.csv"
    assert f"{access_key_id},{secret}" in Path(download.value.path()).read_text()
    page.get_by_role("link", name="Done").click()
    expect(page.get_by_role("row", name=re.compile(access_key_id))).to_contain_text("Active")
    assert secret not in page.content()

    who = cli_as(
        own_casemate, access_key_id, secret, "sts", "get-caller-identity", "--query", "Arn", "--output", "text"
    )
    assert who.stdout.strip() == f"arn:aws:iam::{own_casemate.account}:user/{name}", who.stderr
    encrypt = ("kms", "encrypt", "--key-id", walk.KEY_ID, "--plaintext", "AAAA", "--query", "KeyId", "--output", "text")
    denied = cli_as(own_casemate, access_key_id, secret, *encrypt)
    assert "AccessDeniedException" in denied.stderr

    page.get_by_role("navigation", name="Details").get_by_role("link", name="Permissions").click()
    page.get_by_role("link", name="Create inline policy").click()
    page.get_by_label("Policy name").fill("UseKeys")
    page.get_by_label("Policy JSON").fill(WRONG_POLICY)
    if watched.java_script:
        expect(page.locator("#policy-status")).to_contain_text("Line 5, column 7")
    walk.press(watched, "Create policy")
    expect(page.locator("#policy-status")).to_contain_text('5 | "Effect": "Alow"')
    watched.look("inline-policy-wrong")
    page.get_by_label("Policy JSON").fill(USE_KEYS)
    walk.press(watched, "Create policy")
    expect(page.get_by_role("row", name=re.compile("UseKeys"))).to_contain_text("Customer inline")
    watched.look("user-with-policies")
    allowed = cli_as(own_casemate, access_key_id, secret, *encrypt)
    assert allowed.returncode == 0 and walk.KEY_ID in allowed.stdout, allowed.stderr

    page.get_by_role("link", name="Security credentials").click()
    page.get_by_role("link", name=f"Deactivate {access_key_id}").click()
    watched.look("access-key-deactivate")
    walk.press(watched, "Deactivate")
    expect(page.get_by_role("row", name=re.compile(access_key_id))).to_contain_text("Inactive")
    assert cli_as(own_casemate, access_key_id, secret, *encrypt).returncode != 0
    disable_and_enable(watched)
    page.get_by_role("link", name="Delete", exact=True).click()
    expect(page.get_by_role("list", name="This goes with it")).to_contain_text(f"Access key {access_key_id}")
    walk.press(watched, "Delete")
    expect(page.get_by_role("alert").filter(has_text="Correct 1 field")).to_be_visible()
    watched.look("user-delete-wrong")
    page.get_by_label("To confirm the deletion").fill(name)
    walk.press(watched, "Delete")
    expect(page.get_by_role("list", name="Notifications")).to_contain_text(f"User {name} was deleted.")
    expect(page.get_by_role("row", name=re.compile(name))).to_have_count(0)


def disable_and_enable(watched: walk.Watched) -> None:
    """From the user's page and back there, by keyboard."""
    page, status = watched.page, watched.page.locator("dl.pairs > div").filter(has_text="Status")
    for action, before, after in (("Disable", "Enabled", "Disabled"), ("Enable", "Disabled", "Enabled")):
        expect(status).to_contain_text(before)
        page.get_by_role("link", name=action, exact=True).press("Enter")
        watched.look(f"user-{action.lower()}")
        page.get_by_role("button", name=action, exact=True).press("Enter")
        expect(status).to_contain_text(after)


def test_the_lists_are_filtered_while_one_types_and_what_is_ticked_is_counted(scripted: walk.Watched) -> None:
    walk.come_in(scripted)
    scripted.goto("/identities/users/")
    scripted.page.get_by_role("searchbox", name="Find users").fill("mallo")
    expect(scripted.page.locator("#identities-table tbody tr")).to_have_count(1)
    expect(scripted.page).to_have_url(re.compile("q=mallo"))
    scripted.goto("/identities/groups/KeyUsers/users/add/")
    walk.select(scripted.page, "alice")
    expect(scripted.page.locator("[data-selected]")).to_have_text("1")
    scripted.page.get_by_role("searchbox", name="Find users").fill("mallo")
    scripted.page.keyboard.press("Enter")
    expect(scripted.page.get_by_role("group", name="Also selected").get_by_label("alice")).to_be_checked()
    scripted.look("group-users-add-found")


def test_the_key_policy_is_edited_and_a_lockout_refused(scripted: walk.Watched) -> None:
    page = scripted.page
    walk.come_in(scripted)
    scripted.goto(f"/keys/{walk.KEY_ID}/")
    scripted.look("key-policy-tab")
    page.get_by_role("link", name="Edit key policy", exact=True).last.click()
    editor = page.get_by_label("Key policy JSON")
    before = editor.input_value()
    editor.fill(WRONG_POLICY)
    expect(page.locator("#policy-status")).to_contain_text("Line 5, column 7")
    scripted.look("key-policy-edit-wrong")
    editor.fill(LOCKED_OUT)
    walk.press(scripted, "Save changes")
    expect(page.get_by_role("alert").filter(has_text="will not allow you to update the key policy")).to_be_visible()
    scripted.look("key-policy-edit-lockout")
    page.get_by_label("Key policy JSON").fill(before.replace('"Id": ', '"Id":  '))
    walk.press(scripted, "Save changes")
    expect(page.get_by_role("list", name="Notifications")).to_contain_text("The key policy was saved.")


def test_who_may_not_look_is_told_what_is_missing(scripted: walk.Watched) -> None:
    walk.come_in(scripted, "bob")
    scripted.goto("/identities/policies/")
    expect(scripted.page.get_by_role("main")).to_contain_text("not authorized to perform: iam:ListPolicies")
    scripted.look("policies-denied")
    scripted.goto("/identities/users/alice/")
    expect(scripted.heading()).to_have_text("Access denied")
    scripted.look("access-denied")


def test_the_simulator_says_who_may_and_draws_the_path(scripted: walk.Watched) -> None:
    page = scripted.page
    walk.come_in(scripted)
    scripted.goto(f"/keys/{walk.KEY_ID}/")
    page.get_by_role("navigation", name="Key details").get_by_role("link", name="Policy simulator").click()
    scripted.look("simulator")
    page.get_by_label("Principal", exact=True).select_option(label="alice")
    page.get_by_label("Operation").select_option("kms:Decrypt")
    page.get_by_role("button", name="Add another pair").click()
    page.get_by_label("Key", exact=True).first.fill("Department")
    page.get_by_label("Value", exact=True).first.fill("payments")
    walk.press(scripted, "Simulate")
    expect(page.get_by_role("heading", name="Allowed", exact=True)).to_be_visible()
    expect(page.get_by_role("img", name="The path of the decision")).to_be_visible()
    assert "principal=arn%3Aaws%3Aiam" in page.url and "context_key=Department" in page.url
    scripted.look("simulator-allowed")
    page.goto(page.url)  # a link to the answer
    page.get_by_label("Principal", exact=True).select_option(label="mallory")
    walk.press(scripted, "Simulate")
    expect(page.get_by_role("heading", name="Denied", exact=True)).to_be_visible()
    expect(page.get_by_role("main")).to_contain_text("is not authorized to perform: kms:Decrypt on resource: ")
    scripted.look("simulator-denied")


def test_a_denial_about_a_key_leads_to_the_simulator(scripted: walk.Watched, own_casemate: Casemate) -> None:
    sign_in_as_mallory(scripted)
    scripted.look("keys-denied")
    scripted.goto(f"/keys/{walk.KEY_ID}/")
    expect(scripted.heading()).to_have_text("Access denied")
    scripted.look("access-denied-key")
    scripted.page.get_by_role("link", name="Why?").click()
    expect(scripted.heading()).to_have_text("Policy simulator")
    assert "action=kms%3ADescribeKey" in scripted.page.url and "mallory" in scripted.page.url
    scripted.look("simulator-refused")


PAGES = {
    "roles": "/identities/roles/",
    "groups": "/identities/groups/",
    "policies": "/identities/policies/",
    "role": "/identities/roles/KMSAdminRole/",
    "role-trust": "/identities/roles/KMSAdminRole/?tab=trust",
    "role-trust-edit": "/identities/roles/KMSAdminRole/trust/",
    "role-edit": "/identities/roles/KMSAdminRole/edit/",
    "role-create": "/identities/create-role/",
    "group": "/identities/groups/KeyUsers/",
    "group-users-add": "/identities/groups/KeyUsers/users/add/",
    "group-create": "/identities/create-group/",
    "policy": "/identities/policies/arn:aws:iam::aws:policy/AdministratorAccess/",
    "policy-versions": "/identities/policies/arn:aws:iam::aws:policy/AdministratorAccess/?tab=versions",
    "policy-entities": "/identities/policies/arn:aws:iam::aws:policy/AdministratorAccess/?tab=entities",
    "policy-create": "/identities/create-policy/",
    "user": "/identities/users/bob/",
    "user-attach": "/identities/users/bob/attach/",
    "user-boundary": "/identities/users/bob/boundary/",
    "user-tags": "/identities/users/bob/tags/",
    "user-groups": "/identities/users/bob/?tab=groups",
    "user-password": "/identities/users/bob/password/",
    "user-delete": "/identities/users/bob/delete/",
    "user-edit": "/identities/users/bob/edit/",
    "key-policy-edit": f"/keys/{walk.KEY_ID}/policy/",
    "help-permissions": "/help/permissions/",
    "simulator-denied": f"/keys/{walk.KEY_ID}/simulator/?action=kms:Decrypt"
    "&principal=arn:aws:iam::111122223333:user/mallory",
}
PICTURED_EACH_WAY = {"user", "policies", "policy-create", "simulator-denied"}
LOOKS: dict[str, dict[str, Any]] = {"": {}, "-dark": {"color_scheme": "dark"}, "-narrow": NARROW}


@pytest.mark.parametrize("suffix", LOOKS)
def test_every_page_is_accessible_in_light_and_dark_and_narrow(
    browser: Browser, own_casemate: Casemate, suffix: str
) -> None:
    for watched in opened(browser, own_casemate, **LOOKS[suffix]):
        walk.come_in(watched)
        for name, path in PAGES.items():
            watched.goto(path)
            watched.look(f"identities-{name}", suffix=suffix, is_pictured=not suffix or name in PICTURED_EACH_WAY)
