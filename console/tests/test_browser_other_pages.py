"""Pages that no procedure leads to: a key that is still being made, a form that has expired, Django admin."""

from __future__ import annotations

import contextlib
import os
import re
import signal
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from console.tests import walk
from console.tests.test_browser_walk import open_page
from hsmapp.testing import wait_until
from kmsapp.testing import Casemate
from kmsapp.tests.token_copies import HSMS

ADMIN_LISTS = {
    "admin": "/admin/",
    "admin-clusters": "/admin/hsmapp/cluster/",
    "admin-hsms": "/admin/hsmapp/hsm/",
    "admin-key-stores": "/admin/kmsapp/customkeystore/",
    "admin-kms-keys": "/admin/kmsapp/kmskey/",
    "admin-reconciliations": "/admin/hsmapp/reconciliation/",
    "admin-audit-events": "/admin/kmsapp/auditevent/",
}


@pytest.fixture
def watched(browser: Browser, casemate: Casemate) -> Iterator[walk.Watched]:
    yield from open_page(browser, casemate, java_script=True)


def leads_to_progress(page: Page, review: str) -> bool:
    page.goto(review)
    return page.url.endswith("/progress/")


def test_who_comes_to_a_key_that_is_being_made_waits_for_it(watched: walk.Watched, casemate: Casemate) -> None:
    page = watched.page
    walk.come_in(watched)
    walk.fill_wizard(watched, "being-made")
    review, other = page.url, page.context.new_page()
    stopped = [casemate.hsm_pid(hsm_id) for hsm_id in HSMS]
    for pid in stopped:
        os.kill(pid, signal.SIGSTOP)  # for a moment: their supervisor gives them longer
    try:
        page.evaluate("document.querySelector('form.wizard-form button[value=finish]').click()")
        wait_until(lambda: leads_to_progress(other, review), "the draft to be claimed")
        expect(other.get_by_role("status").filter(has_text="The key is being created in the cluster")).to_be_visible()
        walk.Watched(other, casemate, java_script=True).look("wizard-9-being-created")
    finally:
        for pid in stopped:
            with contextlib.suppress(ProcessLookupError):  # the supervisor has lost its patience
                os.kill(pid, signal.SIGCONT)
    # It follows by itself, to the key or to why there is none.
    expect(other).not_to_have_url(re.compile("/progress/$"))
    casemate.wait_for_hsms(len(HSMS))


def test_a_form_that_has_expired_says_so(watched: walk.Watched) -> None:
    walk.come_in(watched)
    watched.goto("/keys/")
    watched.page.context.clear_cookies(name="csrftoken")
    watched.page.locator("summary", has_text="us-west-2").click()
    watched.page.locator("button[name=region][value=eu-central-1]").click()
    expect(watched.heading()).to_have_text("Form expired")
    watched.look("form-expired")


def test_django_admin_shows_its_lists(watched: walk.Watched) -> None:
    walk.come_in(watched)
    for name, path in ADMIN_LISTS.items():
        watched.goto(path)
        expect(watched.page.locator("#site-name")).to_contain_text("Casemate administration")
        watched.picture(name)
