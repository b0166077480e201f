"""Signing in as a root user, switching role and back, and what ends that, by Django's client."""

from __future__ import annotations

import datetime
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.test import Client

from console import roles
from console.lookups import Lookups
from console.models import KeyDraft
from console.testing import PASSWORD, signed_in_client
from hsmapp import clock
from kmsapp.models import AuditEvent, Role, TemporaryCredential, User
from kmsapp.tests import sts_world
from kmsapp.tests.key_store_rows import rows_only
from kmsapp.tests.sts_world import World, allow

pytestmark = pytest.mark.django_db


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    with rows_only(tmp_path, monkeypatch):
        yield sts_world.world()


@pytest.fixture
def alice(world: World) -> User:
    """A user of the other account, who may assume roles anywhere."""
    return world.user("alice", allow(action=["sts:AssumeRole", "kms:*"], Resource="*"), account=world.other)


@pytest.fixture
def reader(world: World, alice: User) -> Role:
    return world.role("Reader", allow(Principal={"AWS": alice.arn}), path="/service/")


@pytest.fixture
def client(alice: User) -> Client:
    return signed_in_client(alice)


def switch(client: Client, role: Role, **fields: str) -> int:
    form = {"account": role.account_id, "role": f"service/{role.name}", **fields}
    return client.post("/role-switch/", form).status_code


def menu(client: Client) -> str:
    """The account menu."""
    page = client.get("/help/").content.decode()
    return page[page.index('<span class="who') : page.index("Color mode")]


def test_switching_and_back(world: World, client: Client, reader: Role) -> None:
    name = client.session.session_key
    assert switch(client, reader, colour="green") == 302
    assert client.session.session_key != name
    shown = menu(client)
    assert f'<span class="who role role-green">Reader / {world.account}</span>' in shown
    assert f"Signed in as: alice @ {world.other}" in shown
    answer = client.get("/keys/create/", follow=True)
    assert answer.context["caller"].principal_arn == f"arn:aws:sts::{world.account}:assumed-role/Reader/alice"
    assert client.post("/role-switch/back/").headers["Location"] == "/keys/"
    assert f"alice @ {world.other}" in menu(client)
    assert "role-green" in menu(client), "the history keeps the colour"
    assumed = AuditEvent.objects.filter(event_name="AssumeRole")
    (event,) = assumed.filter(account=world.other).values_list("event", flat=True)
    assert event["userIdentity"]["invokedBy"] == "console"
    (theirs,) = assumed.filter(account=world.account).values_list("event", flat=True)
    assert theirs["sharedEventID"] == event["sharedEventID"]
    assert "alice" not in str(theirs["userIdentity"])
    assert event["requestParameters"]["roleSessionName"] == "alice"


def test_a_display_name_is_shown_instead_of_the_roles(client: Client, reader: Role) -> None:
    switch(client, reader, display_name="<Reading & more>")
    assert "&lt;Reading &amp; more&gt;</span>" in menu(client)


REFUSED = {
    "an account of 11 digits": ({"account": "11111111111"}, 422, "Enter the 12 digits of the account ID."),
    "no role": ({"role": ""}, 422, "This field is required."),
    "an ARN": ({"role": "arn:aws:iam::1:role/ a"}, 422, "Enter the name of the role"),
    "a colour that is none": ({"colour": "red; color: blue"}, 422, ""),
    "a role that is not there": ({"role": "service/Nothing"}, 403, "is not authorized to perform: sts:AssumeRole"),
    "a role by another path": ({"role": "Reader"}, 403, "is not authorized to perform: sts:AssumeRole"),
}


@pytest.mark.parametrize(("fields", "status", "text"), REFUSED.values(), ids=REFUSED)
def test_refusals(client: Client, reader: Role, fields: dict[str, str], status: int, text: str) -> None:
    form = {"account": reader.account_id, "role": "service/Reader"} | fields
    answer = client.post("/role-switch/", form)
    assert answer.status_code == status
    assert text in answer.content.decode()
    assert roles.KEY not in client.session


def test_the_page_takes_what_a_link_gives(client: Client, reader: Role) -> None:
    page = client.get("/role-switch/", {"account": reader.account_id, "roleName": "Reader", "displayName": "R"})
    for value in (reader.account_id, "Reader", "R"):
        assert f'value="{value}"' in page.content.decode()


def test_the_last_five_roles_are_kept(world: World, client: Client, alice: User) -> None:
    for number in range(7):
        role = world.role(f"Role{number}", allow(Principal={"AWS": alice.arn}))
        assert client.post("/role-switch/", {"account": world.account, "role": role.name}).status_code == 302
    client.post("/role-switch/", {"account": world.account, "role": "Role3", "colour": "red"})
    alice.refresh_from_db()
    assert [known.role for known in roles.history(alice)] == ["Role3", "Role6", "Role5", "Role4", "Role2"]
    assert roles.history(alice)[0].colour == "red"
    for kept in ("nonsense", [1], [{"role": 7}], None):
        alice.preferences = {roles.PREFERENCE: kept}
        assert all(isinstance(known, roles.Choice) for known in roles.history(alice))


def test_a_second_switch_is_made_by_the_person_and_not_by_the_role(world: World, client: Client, alice: User) -> None:
    first = world.role("First", allow(Principal={"AWS": alice.arn}))
    second = world.role("Second", allow(Principal={"AWS": alice.arn}))
    for role in (first, second):
        assert client.post("/role-switch/", {"account": world.account, "role": role.name}).status_code == 302
    assert {row.assumed_by for row in TemporaryCredential.objects.all()} == {alice.arn}


def expire() -> None:
    TemporaryCredential.objects.update(expires_at=clock.now() - datetime.timedelta(seconds=1))


def delete_role() -> None:
    Role.objects.get(name="Reader").delete()


@pytest.mark.parametrize("end", [expire, delete_role])
def test_the_end_of_the_session_leads_back_to_the_person(
    client: Client, reader: Role, alice: User, end: object
) -> None:
    switch(client, reader)
    assert callable(end)
    end()
    answer = client.post("/keys/create/", {})
    assert answer.headers["Location"] == "/keys/"
    assert not KeyDraft.objects.exists(), "what was meant for the role is not done as the person"
    page = client.get("/help/")
    assert f"has ended. You are alice @ {alice.account_id} again." in page.content.decode()
    assert page.context["caller"].principal_arn == alice.arn
    assert "has ended" not in client.get("/help/").content.decode()


def test_an_htmx_request_after_the_end_leaves_the_page(client: Client, reader: Role) -> None:
    switch(client, reader)
    expire()
    answer = client.get("/key-stores/table/", headers={"HX-Request": "true"})
    assert answer.headers["HX-Redirect"] == "/keys/"


def test_signing_in_or_out_ends_the_role(client: Client, reader: Role, alice: User) -> None:
    alice.set_password(PASSWORD)
    alice.save()
    client.force_login(alice)
    switch(client, reader)
    form = {"account": alice.account_id, "user_name": "alice", "password": PASSWORD}
    assert client.post("/sign-in/", form).status_code == 302
    assert f"alice @ {alice.account_id}" in menu(client)
    switch(client, reader)
    assert client.post("/sign-out/").status_code == 302
    assert client.get("/keys/").status_code == 302


def test_django_admin_acts_as_the_person(client: Client, reader: Role, alice: User) -> None:
    User.objects.filter(pk=alice.pk).update(is_staff=True)
    switch(client, reader)
    page = client.get("/admin/kmsapp/role/")
    assert page.status_code == 200
    assert page.wsgi_request.caller.principal_arn == alice.arn  # type: ignore[attr-defined]
    assert "Reader" not in page.content.decode(), "a role of the other account"


def test_a_draft_belongs_to_the_account_it_was_begun_in(client: Client, reader: Role, alice: User) -> None:
    draft = KeyDraft.objects.create(owner=alice, account=alice.account_id, region="us-west-2")
    address = f"/keys/create/{draft.pk}/cancel/"
    assert client.get(address).status_code == 200
    switch(client, reader)
    assert client.get(address).status_code == 404


# Root users


@pytest.fixture
def root(world: World) -> User:
    root = world.root()
    root.set_password(PASSWORD)
    root.save()
    return root


def test_a_root_user_signs_in_with_the_account_id(root: User) -> None:
    client = Client()
    page = client.get("/sign-in/").content.decode()
    assert '<a href="/sign-in/root-user/?next=/keys/">Sign in as root user</a>' in page
    assert "User name" not in client.get("/sign-in/root-user/").content.decode()
    wrong = client.post("/sign-in/root-user/", {"account": root.account_id, "password": "wrong"})
    assert (wrong.status_code, "Account ID or password is wrong" in wrong.content.decode()) == (422, True)
    form = {"account": root.account_id, "password": PASSWORD, "next": "/help/"}
    assert client.post("/sign-in/root-user/", form).headers["Location"] == "/help/"
    shown = menu(client)
    assert f"root @ {root.account_id}" in shown
    assert "Root user" in shown
    assert "Switch role" not in shown
    assert client.get("/help/").context["caller"].principal_arn == root.arn


def test_nobody_comes_in_as_root_by_an_empty_user_name(root: User, alice: User) -> None:
    form = {"account": root.account_id, "user_name": "", "password": PASSWORD}
    assert Client().post("/sign-in/", form).status_code == 422
    assert Client().post("/sign-in/root-user/", form | {"account": alice.account_id}).status_code == 422


def test_a_root_user_switches_to_no_role(root: User, reader: Role) -> None:
    client = signed_in_client(root)
    page = client.post("/role-switch/", {"account": reader.account_id, "role": "service/Reader"})
    assert page.status_code == 403
    assert "Roles may not be assumed by root accounts." in page.content.decode()
    assert "Root users can't switch roles" in page.content.decode()


def test_a_root_user_is_not_among_whom_a_key_is_for(root: User) -> None:
    client = signed_in_client(root)
    caller = client.get("/help/").wsgi_request.caller  # type: ignore[attr-defined]
    assert [person["Name"] for person in Lookups(caller).principals] == []
