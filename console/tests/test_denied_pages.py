"""What people see who may see little: lists that keep their page, Django admin, and what the log makes of it."""

from __future__ import annotations

import io
import logging
import re

import pytest
from django.urls import reverse

from console.testing import let, signed_in_client
from console.tests.identity_world import DENIED, World, alert, html, words
from kmsapp.models import User

pytestmark = pytest.mark.django_db

# The page, its heading, what is missing, and a word of the table that is not there then.
LISTS = {
    "/keys/": ("Customer managed keys", "kms:ListKeys", "Preferences"),
    "/key-stores/": ("Custom key stores", "kms:DescribeCustomKeyStores", "Select a key store first."),
    "/clusters/": ("Clusters", "cloudhsm:DescribeClusters", "Availability Zones"),
    "/identities/users/": ("Users", "iam:ListUsers", "Last console sign-in"),
    "/identities/policies/": ("Policies", "iam:ListPolicies", "Default version"),
}


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    return World(monkeypatch)


@pytest.mark.parametrize(("path", "shown"), LISTS.items(), ids=LISTS)
def test_a_denied_list_keeps_its_page_and_says_why_in_place_of_the_table(
    world: World, path: str, shown: tuple[str, str, str]
) -> None:
    heading, action, word = shown
    answer = world.stranger.get(path)
    page = html(answer)
    assert answer.status_code == 403
    assert re.search(rf"<h1>{heading}</h1>", page), "without a count"
    assert f'href="{path}" aria-current="page"' in page, "the entry of the navigation pane is marked"
    assert f"{DENIED}{action} on resource: " in alert(answer) and "(AccessDeniedException)" in alert(answer)
    assert f"Why? No policy of user/mallory allows {action} on " in alert(answer)
    assert 'href="/help/permissions/"' in page and word not in page
    let(world.mallory, "kms:*", "cloudhsm:*", "iam:*")
    answer = world.stranger.get(path)
    assert answer.status_code == 200 and word in html(answer)


def test_who_signs_in_and_may_not_list_keys_lands_on_a_page_with_everything_around(world: World) -> None:
    page = words(html(world.stranger.get("/", follow=True)))
    for text in ("Create key", "Clusters", "Roles", "mallory @ ", "Help", "You can't see the keys of this account"):
        assert text in page


def log_of(monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    log = io.StringIO()
    handler = next(handler for handler in logging.getLogger().handlers if handler.get_name() == "stderr")
    assert isinstance(handler, logging.StreamHandler)
    monkeypatch.setattr(handler, "stream", log)
    return log


def test_django_admin_turns_people_away_in_one_line_of_the_log(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    log = log_of(monkeypatch)
    for path in ("/admin/", "/admin/login/", "/admin/kmsapp/kmskey/"):
        answer = world.stranger.get(path)
        assert answer.status_code == 403 and "You are signed in as mallory @ " in html(answer), path
    User.objects.filter(pk=world.mallory.pk).update(is_staff=True)
    assert world.stranger.post("/admin/kmsapp/kmskey/add/").status_code == 403
    assert [line.split()[2:4] for line in log.getvalue().splitlines()] == [["WARNING", "django.request"]] * 4


def test_everybody_signs_out_of_django_admin(world: World) -> None:
    for is_staff in (True, False):
        User.objects.filter(pk=world.mallory.pk).update(is_staff=is_staff)
        client = signed_in_client(world.mallory)
        assert client.get("/admin/logout/").status_code == 405
        answer = client.post("/admin/logout/")
        assert (answer.status_code, answer.headers["Location"]) == (302, reverse("console:sign-in"))
        assert "_auth_user_id" not in client.session


def test_a_key_that_is_not_there_has_no_simulator(world: World) -> None:
    for query in ("", "?ask=1", f"?principal={world.alice.arn}&action=kms:Decrypt"):
        answer = world.client.get(f"/keys/00000000-0000-0000-0000-000000000000/simulator/{query}")
        assert answer.status_code == 404 and "NotFoundException" in html(answer), query
