"""The password is asked for once more: on the page to disconnect a key store and in Django admin; and changed."""

from __future__ import annotations

import json

import pytest
from django.test import Client

from console import reauthentication
from console.sign_in_limits import TRIES_FROM_ONE_ADDRESS
from console.testing import ACCOUNT, MovedClock, key_store, person, signed_in_client
from hsmapp import clock
from kmsapp.models import AuditEvent, CustomKeyStore, InlinePolicy, User

pytestmark = pytest.mark.django_db
PASSWORD, NEW = "Correct horse 1", "Battery staple 2"
MAY_USE_KEY_STORES = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Action": ["kms:*", "cloudhsm:*"], "Resource": "*"}],
}
PROOF_SECONDS = 5 * 60
ADMIN = "/admin/kmsapp/customkeystore/"
CHANGE = "/password/"


@pytest.fixture
def alice() -> User:
    user = person("alice", password=PASSWORD)
    user.is_staff = True
    user.save()
    InlinePolicy.objects.create(name="key-stores", user=user, document=json.dumps(MAY_USE_KEY_STORES))
    return user


@pytest.fixture
def time(monkeypatch: pytest.MonkeyPatch) -> MovedClock:
    moved = MovedClock()
    monkeypatch.setattr(clock, "now", moved.now)
    return moved


@pytest.fixture
def client(alice: User) -> Client:
    return signed_in_client(alice)


@pytest.fixture
def store(alice: User) -> CustomKeyStore:
    return key_store(ACCOUNT)


def page_of(store: CustomKeyStore) -> str:
    return f"/key-stores/{store.custom_key_store_id}/disconnect/"


def state(store: CustomKeyStore) -> str:
    store.refresh_from_db()
    return store.connection_state


def test_who_has_just_signed_in_is_not_asked(client: Client, store: CustomKeyStore, time: MovedClock) -> None:
    time.forward(seconds=PROOF_SECONDS - 5)
    assert "Your password" not in client.get(page_of(store)).content.decode()
    assert client.post(page_of(store)).status_code == 302
    assert state(store) == "DISCONNECTING"


@pytest.mark.parametrize("headers", [{}, {"HX-Request": "true"}], ids=["plain", "htmx"])
def test_an_old_session_is_asked_before_a_disconnect(
    client: Client, store: CustomKeyStore, time: MovedClock, headers: dict[str, str]
) -> None:
    opened = client.get(page_of(store)).content.decode()
    time.forward(seconds=PROOF_SECONDS)
    assert 'name="current_password"' not in opened, "the page was opened before"
    for entered, sentence in (("", reauthentication.ENTER), ("wrong", reauthentication.WRONG)):
        answer = client.post(page_of(store), {"current_password": entered}, headers=headers)
        assert answer.status_code == 422, entered
        page = answer.content.decode()
        assert 'name="current_password"' in page and sentence in page
        assert state(store) == "CONNECTED"
    assert client.post(page_of(store), {"current_password": PASSWORD}, headers=headers).status_code == 302
    assert state(store) == "DISCONNECTING"
    assert "Your password" not in client.get(page_of(store)).content.decode(), "a proof holds for five minutes"


def test_an_old_session_is_asked_before_a_key_store_is_deleted(
    client: Client, store: CustomKeyStore, time: MovedClock
) -> None:
    CustomKeyStore.objects.update(connection_state="DISCONNECTED")
    address = page_of(store).replace("disconnect", "delete")
    time.forward(seconds=PROOF_SECONDS)
    refused = client.post(address, {"confirm": "confirm", "current_password": "wrong"})
    assert refused.status_code == 422 and 'name="confirm" autocomplete' in refused.content.decode()
    assert 'value="confirm"' in refused.content.decode() and CustomKeyStore.objects.exists()
    assert client.post(address, {"confirm": "confirm", "current_password": PASSWORD}).status_code == 302
    assert not CustomKeyStore.objects.exists()


def test_tries_to_prove_it_are_limited_as_those_to_sign_in(
    client: Client, store: CustomKeyStore, time: MovedClock
) -> None:
    time.forward(minutes=6)
    for _ in range(TRIES_FROM_ONE_ADDRESS):
        assert client.post(page_of(store), {"current_password": "wrong"}).status_code == 422
    answer = client.post(page_of(store), {"current_password": PASSWORD})
    assert answer.status_code == 429 and reauthentication.TOO_MANY in answer.content.decode()
    assert state(store) == "CONNECTED"


def test_a_clock_that_was_set_back_makes_no_proof_last_longer(
    client: Client, store: CustomKeyStore, time: MovedClock
) -> None:
    time.forward(hours=-1)
    assert client.post(page_of(store)).status_code == 422


def test_django_admin_asks_too(client: Client, store: CustomKeyStore, time: MovedClock) -> None:
    form = {"action": "disconnect", "_selected_action": str(store.pk)}
    time.forward(minutes=6)
    asked = client.post(ADMIN, form)
    assert asked.status_code == 200 and 'name="current_password"' in asked.content.decode()
    for entered in ("", "wrong"):
        refused = client.post(ADMIN, form | {"confirmed": "yes", "current_password": entered})
        assert refused.status_code == 422
        assert state(store) == "CONNECTED"
    assert client.post(ADMIN, form | {"confirmed": "yes", "current_password": PASSWORD}).status_code == 302
    assert state(store) == "DISCONNECTING"


# Changing the password


def change(client: Client, old: str = PASSWORD, new: str = NEW, again: str | None = None) -> str:
    """Empty when it was done, else the page."""
    form = {"old_password": old, "new_password": new, "again": new if again is None else again}
    answer = client.post(CHANGE, form)
    assert answer.status_code in {302, 422}
    return answer.content.decode()


def sign_in(password: str) -> int:
    return Client().post("/sign-in/", {"account": ACCOUNT, "user_name": "alice", "password": password}).status_code


def test_a_changed_password_ends_every_other_session_and_renews_this_one(alice: User, client: Client) -> None:
    other = signed_in_client(alice)
    before = client.cookies["casemate_session"].value
    assert change(client) == ""
    assert "Your password was changed" in client.get("/keys/").content.decode()
    assert client.cookies["casemate_session"].value != before
    assert other.get("/keys/").status_code == 302
    stolen = Client()
    stolen.cookies["casemate_session"] = before
    assert stolen.get("/keys/").status_code == 302
    assert (sign_in(PASSWORD), sign_in(NEW)) == (422, 302)
    (row,) = AuditEvent.objects.filter(event_name="ChangePassword")
    assert (row.event_source, row.principal, row.error_code) == ("iam.amazonaws.com", alice.arn, "")
    assert PASSWORD not in str(row.event) and NEW not in str(row.event)


# https://docs.aws.amazon.com/IAM/latest/UserGuide/id_credentials_passwords_account-policy.html
BAD = {
    "too short": ("Abc-12x", "minimum length of 8"),
    "too long": ("Ab1" * 43, "at most 128 characters"),
    "of two kinds": ("abcdefgh1234", "at least 3 of"),
    "the account ID": (ACCOUNT, "at least 3 of"),
    "beyond Latin 1": ("Abcd1234\u20ac", "Latin 1"),
    "the one of now": (PASSWORD, "is the current one"),
    "nothing": ("", "Enter a new password"),
}


@pytest.mark.parametrize(("new", "sentence"), BAD.values(), ids=BAD)
def test_a_password_that_the_default_policy_of_aws_refuses_is_refused(client: Client, new: str, sentence: str) -> None:
    page = change(client, new=new)
    assert sentence in page
    assert new == "" or new == ACCOUNT or new not in page, "what was entered is not sent back"
    assert sign_in(PASSWORD) == 302


def test_a_user_name_is_no_password(alice: User) -> None:
    alice.user_name = "Alice-2026"
    alice.save()
    assert "neither the account ID nor the user name" in change(signed_in_client(alice), new="alice-2026")


def test_the_old_password_is_needed_and_guesses_at_it_are_limited(client: Client) -> None:
    assert "This is not the new password" in change(client, again="another")
    for _ in range(TRIES_FROM_ONE_ADDRESS):
        assert reauthentication.WRONG in change(client, old="wrong")
    answer = client.post(CHANGE, {"old_password": PASSWORD, "new_password": NEW, "again": NEW})
    assert answer.status_code == 429
    assert Client().get(CHANGE).headers["Location"] == f"/sign-in/?next={CHANGE}"


def test_the_account_menu_leads_there(client: Client) -> None:
    assert f'href="{CHANGE}">Change password</a>' in client.get("/keys/").content.decode()
