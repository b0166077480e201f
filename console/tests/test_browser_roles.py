"""Root users and switching role as people do it, in a browser with JavaScript and in one without."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Locator, expect

from console.tests import walk
from console.tests.test_browser_walk import open_page
from kmsapp.testing import Casemate

ACCOUNT, OTHER = "111122223333", "444455556666"
# As time would do it: rows are changed, so every worker looks anew.
END_SESSIONS = (
    "from kmsapp.models import TemporaryCredential as T; from hsmapp import clock, epochs;"
    "T.objects.filter(session_name='alice').update(expires_at=clock.now());"
    f"epochs.raise_epoch('{ACCOUNT}')"
)


@pytest.fixture(params=[True, False], ids=["with JavaScript", "without JavaScript"])
def watched(request: pytest.FixtureRequest, browser: Browser, casemate: Casemate) -> Iterator[walk.Watched]:
    yield from open_page(browser, casemate, java_script=request.param)


def who(watched: walk.Watched) -> Locator:
    return watched.page.locator("summary .who")


def open_menu(watched: walk.Watched) -> Locator:
    who(watched).click()
    return watched.page.locator("details.menu[open] .menu-panel")


def switch(watched: walk.Watched, account: str, role: str, *, name: str = "", colour: str = "None") -> None:
    open_menu(watched).get_by_role("link", name="Switch role").click()
    expect(watched.heading()).to_have_text("Switch role")
    page = watched.page
    page.get_by_label("Account ID").fill(account)
    page.get_by_label("IAM role name").fill(role)
    page.get_by_label("Display name").fill(name)
    page.get_by_role("radio", name=colour).check()
    watched.look("role-switch")
    walk.press(watched, "Switch role")


def test_switching_role_and_back(watched: walk.Watched) -> None:
    walk.come_in(watched)
    watched.goto("/keys/")
    switch(watched, ACCOUNT, "Nobody")
    refusal = watched.page.get_by_role("alert").filter(has_text="You can't switch to this role")
    expect(refusal).to_contain_text("is not authorized to perform: sts:AssumeRole")
    watched.look("role-switch-refused")
    switch(watched, ACCOUNT, "KMSAdminRole", colour="Green")
    expect(who(watched)).to_have_text(f"KMSAdminRole / {ACCOUNT}")
    expect(watched.heading()).to_contain_text("Customer managed keys")
    menu = open_menu(watched)
    expect(menu).to_contain_text(f"Signed in as: alice @ {ACCOUNT}")
    watched.look("role-switched")
    menu.get_by_role("button", name=f"Switch back to alice @ {ACCOUNT}").click()
    expect(who(watched)).to_have_text(f"alice @ {ACCOUNT}")
    open_menu(watched).get_by_role("button", name=f"KMSAdminRole / {ACCOUNT}").click()
    expect(who(watched)).to_have_text(f"KMSAdminRole / {ACCOUNT}")


def test_a_role_of_another_account_shows_that_accounts_keys(watched: walk.Watched, casemate: Casemate) -> None:
    watched.goto("/")
    page = watched.page
    page.get_by_label("Account ID").fill(OTHER)
    page.get_by_label("User name").fill("carol")
    page.get_by_label("Password").fill(casemate.person("carol").password)
    walk.press(watched, "Sign in")
    expect(who(watched)).to_have_text(f"carol @ {OTHER}")
    switch(watched, ACCOUNT, "AuditorRole", name="Audit of Example Corp.", colour="Blue")
    expect(who(watched)).to_have_text("Audit of Example Corp.")
    expect(page.get_by_role("row").filter(has_text=re.compile("ExampleKey"))).to_be_visible()


def test_the_end_of_the_roles_session_leads_back(watched: walk.Watched, casemate: Casemate) -> None:
    walk.come_in(watched)
    watched.goto("/keys/")
    switch(watched, ACCOUNT, "AuditorRole")
    expect(who(watched)).to_have_text(f"AuditorRole / {ACCOUNT}")
    casemate.manage("shell", "-c", END_SESSIONS)
    watched.goto("/key-stores/")
    expect(watched.page.locator("#flash")).to_contain_text(
        f"Your session as AuditorRole / {ACCOUNT} has ended. You are alice @ {ACCOUNT} again."
    )
    expect(who(watched)).to_have_text(f"alice @ {ACCOUNT}")


def test_a_root_user_signs_in(watched: walk.Watched, casemate: Casemate) -> None:
    watched.goto("/")
    watched.page.get_by_role("link", name="Sign in as root user").click()
    expect(watched.heading()).to_have_text("Sign in as root user")
    watched.look("sign-in-root")
    watched.page.get_by_label("Account ID").fill(ACCOUNT)
    watched.page.get_by_label("Password").fill(casemate.person(f"root of {ACCOUNT}").password)
    walk.press(watched, "Sign in")
    expect(who(watched)).to_have_text(f"root @ {ACCOUNT}")
    expect(open_menu(watched)).to_contain_text("Root user")
