"""What a session cookie is worth, and until when: sign-in, sign-out, time, and people who are switched off."""

from __future__ import annotations

import pytest
from django.contrib.sessions.models import Session
from django.test import Client

from console.testing import ACCOUNT, PASSWORD, MovedClock, person, signed_in_client
from hsmapp import clock
from kmsapp import dispatch
from kmsapp.caller import Caller
from kmsapp.models import User

pytestmark = pytest.mark.django_db
COOKIE = "casemate_session"
FORM = {"account": ACCOUNT, "user_name": "alice", "password": PASSWORD}


@pytest.fixture
def alice() -> User:
    return person("alice", password=PASSWORD)


@pytest.fixture
def time(monkeypatch: pytest.MonkeyPatch) -> MovedClock:
    moved = MovedClock()
    monkeypatch.setattr(clock, "now", moved.now)
    return moved


def is_signed_in(client: Client) -> bool:
    answer = client.get("/password/")  # which needs no permission
    assert answer.status_code in {200, 302}
    return answer.status_code == 200


def with_cookie(value: str) -> Client:
    """Somebody else who has got hold of the cookie."""
    client = Client()
    client.cookies[COOKIE] = value
    return client


def test_a_sign_in_begins_a_session_under_a_new_id(alice: User) -> None:
    client = Client()
    client.get("/sign-in/")
    fixed = client.session  # an attacker's, put into the victim's browser
    fixed["planted"] = "by somebody else"
    fixed.save()
    client.cookies[COOKIE] = planted = str(fixed.session_key)
    assert client.post("/sign-in/", FORM).status_code == 302
    first = client.cookies[COOKIE].value
    assert first != planted
    assert is_signed_in(client) and not is_signed_in(with_cookie(planted))
    client.post("/sign-in/", FORM)
    second = client.cookies[COOKIE].value
    assert second != first, "also when the same person signs in once more"
    assert is_signed_in(client) and not is_signed_in(with_cookie(first))
    bob = person("bob", password=PASSWORD)
    client.post("/sign-in/", FORM | {"user_name": bob.user_name})
    assert not is_signed_in(with_cookie(second))
    assert "planted" not in client.session, "nothing of one person's session is the next one's"


def test_a_session_id_that_was_made_up_is_not_taken(alice: User) -> None:
    client = with_cookie("a" * 32)
    assert client.post("/sign-in/", FORM).status_code == 302
    assert client.cookies[COOKIE].value != "a" * 32


def test_signing_out_ends_the_session_on_the_server(alice: User) -> None:
    client = signed_in_client(alice)
    kept = client.cookies[COOKIE].value
    client.post("/sign-out/")
    assert not Session.objects.filter(pk=kept).exists()
    assert not is_signed_in(with_cookie(kept))


def test_a_session_ends_after_an_hour_in_which_nothing_was_done(alice: User, time: MovedClock) -> None:
    client = signed_in_client(alice)
    for _ in range(5):
        time.forward(minutes=59)
        assert is_signed_in(client)
    kept = client.cookies[COOKIE].value
    time.forward(minutes=60)
    assert client.get("/clusters/").headers["Location"] == "/sign-in/?next=/clusters/"
    assert "Your session has ended" in client.get("/sign-in/").content.decode()
    assert not Session.objects.filter(pk=kept).exists()
    assert not is_signed_in(with_cookie(kept))


def test_a_session_ends_twelve_hours_after_its_beginning(alice: User, time: MovedClock) -> None:
    client = signed_in_client(alice)
    for _ in range(23):
        time.forward(minutes=30)
        assert is_signed_in(client)
    time.forward(minutes=31)
    assert not is_signed_in(client)


def test_a_session_without_its_times_is_over(alice: User) -> None:
    client = signed_in_client(alice)
    session = client.session
    del session["signed_in_at"]
    session.save()
    assert not is_signed_in(client)


def test_a_clock_that_was_set_back_ends_no_session(alice: User, time: MovedClock) -> None:
    client = signed_in_client(alice)
    time.forward(hours=-5)
    assert is_signed_in(client)


@pytest.mark.parametrize("how", ["disabled", "deleted"])
def test_sessions_of_people_who_are_switched_off_end_at_once_and_for_good(alice: User, how: str) -> None:
    client = signed_in_client(alice)
    assert is_signed_in(client)
    if how == "deleted":
        alice.delete()
    else:
        alice.is_active = False
        alice.save()
    assert not is_signed_in(client)
    assert client.post("/sign-in/", FORM).status_code == 422
    if how == "disabled":
        alice.is_active = True
        alice.save()
        assert not is_signed_in(client), "the session does not come back with its user"
        assert client.post("/sign-in/", FORM).status_code == 302


def test_a_session_ends_even_if_its_user_was_disabled_only_for_a_moment(alice: User) -> None:
    administrator = person("dora", account=ACCOUNT)
    caller = Caller(ACCOUNT, "us-west-2", administrator.arn, administrator.user_id, "dora")
    client = signed_in_client(alice)
    for operation in ("DisableUser", "EnableUser"):
        dispatch.call(caller, f"console:{operation}", {"UserName": "alice"})
    assert not is_signed_in(client)
    assert client.post("/sign-in/", FORM).status_code == 302


def test_every_cookie_is_for_http_alone_and_for_this_site(alice: User) -> None:
    client = Client()
    client.post("/theme/", {"theme": "dark"})
    client.post("/navigation/", {"navigation": "closed"})
    client.get("/sign-in/")
    client.post("/sign-in/", FORM)
    assert {*client.cookies} == {
        COOKIE,
        "csrftoken",
        "casemate_browser",
        "casemate_theme",
        "casemate_navigation",
    }
    for name, cookie in client.cookies.items():
        assert (cookie["httponly"], cookie["samesite"], cookie["path"]) == (True, "Lax", "/"), name
        assert not cookie["domain"], name
