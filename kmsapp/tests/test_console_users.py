"""Users are disabled and enabled: by whom, whom it can't be done to, and that every way in ends at once."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import RequestFactory

from hsmapp import sealing
from kmsapp import dispatch
from kmsapp.caller import Caller
from kmsapp.iam import credentials
from kmsapp.iam.sign_in import ConsoleBackend
from kmsapp.models import User
from kmsapp.tests import sts_world
from kmsapp.tests.iam_world import last_event, refused
from kmsapp.tests.sts_world import World, allow, assumed, caller, caller_of_key

pytestmark = pytest.mark.django_db

PASSWORD = "Correct-horse-7"


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    keyring = sealing.Keyring.from_master_key(bytes(32))
    monkeypatch.setattr(sealing, "keyring", lambda: keyring)
    return sts_world.world()


@pytest.fixture
def alice(world: World) -> Caller:
    return caller(world.user("alice", allow(action="*", Resource="*")))


@pytest.fixture
def bob(world: World) -> User:
    user = world.user("bob", allow(action="*", Resource="*"))
    user.set_password(PASSWORD)
    user.save()
    return user


def ask(operation: str, who: Caller, **params: Any) -> dict[str, Any]:
    return dispatch.call(who, f"console:{operation}", params)


def is_let_in(access_key_id: str) -> bool:
    found = credentials.find(access_key_id)
    return found is not None and found.active


def signs_in(user: User) -> bool:
    given = {"account": user.account_id, "user_name": user.user_name, "password": PASSWORD}
    return ConsoleBackend().authenticate(RequestFactory().get("/"), **given) is not None


def session_token(who: Caller) -> str:
    answer: dict[str, Any] = dispatch.call(who, "sts:GetSessionToken", {})
    return str(answer["Credentials"]["AccessKeyId"])


def test_a_disabled_user_is_let_in_by_no_way_until_enabled_again(alice: Caller, bob: User) -> None:
    long_term = caller(bob).access_key_id
    session = session_token(caller_of_key(long_term))
    before = User.objects.get(pk=bob.pk).get_session_auth_hash()
    assert is_let_in(long_term) and is_let_in(session) and signs_in(bob)
    assert ask("DisableUser", alice, UserName="bob") == {}
    assert not is_let_in(long_term) and not is_let_in(session) and not signs_in(bob)
    assert ConsoleBackend().get_user(bob.pk) is None
    assert ask("EnableUser", alice, UserName="bob") == {}
    assert is_let_in(long_term) and signs_in(bob)
    assert not is_let_in(session), "sessions from before do not come back"
    assert User.objects.get(pk=bob.pk).get_session_auth_hash() != before
    assert is_let_in(session_token(caller_of_key(long_term)))


def test_enabling_somebody_who_is_enabled_ends_nothing(alice: Caller, bob: User) -> None:
    session = session_token(caller(bob))
    ask("EnableUser", alice, UserName="bob")
    assert is_let_in(session)


def test_pages_see_who_is_enabled(alice: Caller, bob: User) -> None:
    ask("DisableUser", alice, UserName="bob")
    listed = ask("ListUsers", alice)["Users"]
    assert {user["UserName"]: user["Enabled"] for user in listed} == {"alice": True, "bob": False}
    for operation, member in (("GetUser", {"UserName": "bob"}), ("ListUsers", {})):
        own, plain = ask(operation, alice, **member), dispatch.call(alice, f"iam:{operation}", dict(member))
        assert str(own).replace(", 'Enabled': False", "").replace(", 'Enabled': True", "") == str(plain)


def test_it_is_recorded_as_the_update_of_a_user(alice: Caller, bob: User) -> None:
    for operation, enabled in (("DisableUser", False), ("EnableUser", True)):
        ask(operation, alice, UserName="bob")
        event = last_event("UpdateUser")
        assert (event["eventSource"], event["requestParameters"]) == ("iam.amazonaws.com", {"userName": "bob"})
        assert event["additionalEventData"] == {"enabled": enabled}


def test_nobody_disables_themselves_nor_who_they_are_behind_a_role(world: World, alice: Caller) -> None:
    role = world.role("Admin", allow(Principal={"AWS": alice.principal_arn}))
    role.inline_policies.create(name="own", document=sts_world.document(allow(action="*", Resource="*")))
    for who in (alice, assumed(alice, role)):
        code, message = refused(lambda who=who: ask("DisableUser", who, UserName="ALICE"))  # type: ignore[misc]
        assert (code, message) == ("InvalidInput", "You can't disable alice: that is you. Ask another administrator.")
    assert User.objects.get(user_name="alice", account_id=world.account).is_active


def test_root_users_and_users_of_other_accounts_can_not_be_found(world: World, alice: Caller) -> None:
    root = world.root()
    world.user("carol", account=world.other)
    for name in ("root", world.account, "carol"):
        for operation in ("DisableUser", "EnableUser"):
            answer = refused(lambda o=operation, n=name: ask(o, alice, UserName=n))  # type: ignore[misc]
            assert answer == ("NoSuchEntity", f"The user with name {name} cannot be found.")
    assert refused(lambda: ask("DisableUser", alice, UserName=""))[0] == "Validation"
    assert User.objects.get(pk=root.pk).is_active


@pytest.mark.parametrize("operation", ["DisableUser", "EnableUser"])
def test_it_needs_the_permission_to_update_that_user(world: World, bob: User, operation: str) -> None:
    own = allow(action="iam:UpdateUser", Resource=f"arn:aws:iam::{world.account}:user/dora")
    deputy = caller(world.user("deputy", own))
    world.user("dora", is_active=operation == "DisableUser")
    code, message = refused(lambda: ask(operation, deputy, UserName="bob"))
    assert code == "AccessDenied" and f"perform: iam:UpdateUser on resource: {bob.arn}" in message
    assert ask(operation, deputy, UserName="dora") == {}
    assert User.objects.get(user_name="dora").is_active == (operation == "EnableUser")
