"""Sign-ins in the audit record, as CloudTrail has them; and that acting in the console is acting with a session."""

from __future__ import annotations

import json
from typing import Any

import pytest
from django.test import Client

from console.testing import ACCOUNT, PASSWORD, person, signed_in_client
from hsmapp import clock, sealing
from kmsapp import audit
from kmsapp.models import InlinePolicy, Role, User

pytestmark = pytest.mark.django_db

ELSEWHERE = "444455556666"
FORM = {"account": ACCOUNT, "user_name": "Alice", "password": PASSWORD, "next": "/clusters/"}
WRONG = FORM | {"password": "not the password"}


@pytest.fixture
def events(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What is written to the audit file."""
    written: list[dict[str, Any]] = []
    monkeypatch.setattr(audit, "append", written.append)
    return written


@pytest.fixture
def alice() -> User:
    return person("alice", password=PASSWORD)


def test_a_sign_in_is_recorded_as_cloudtrail_has_it(alice: User, events: list[dict[str, Any]]) -> None:
    answer = Client().post("/sign-in/", FORM, headers={"user-agent": "Firefox/1"}, REMOTE_ADDR="192.0.2.7")
    assert answer.status_code == 302
    (event,) = events
    assert abs((clock.now() - audit.row(event)["event_time"]).total_seconds()) < 60
    del event["eventTime"], event["eventID"]
    assert event == {
        "eventVersion": "1.11",
        "userIdentity": {
            "type": "IAMUser",
            "principalId": alice.user_id,
            "arn": alice.arn,
            "accountId": ACCOUNT,
            "accessKeyId": "",
            "userName": "alice",
        },
        "eventSource": "signin.amazonaws.com",
        "eventName": "ConsoleLogin",
        "awsRegion": "us-west-2",
        "sourceIPAddress": "192.0.2.7",
        "userAgent": "Firefox/1",
        "requestParameters": None,
        "responseElements": {"ConsoleLogin": "Success"},
        "additionalEventData": {"LoginTo": "http://testserver/clusters/", "MobileVersion": "No", "MFAUsed": "No"},
        "readOnly": False,
        "eventType": "AwsConsoleSignIn",
        "managementEvent": True,
        "recipientAccountId": ACCOUNT,
        "eventCategory": "Management",
    }


FAILURES: dict[str, tuple[dict[str, str], str, str]] = {
    "a wrong password": (WRONG, "alice", "Failed authentication"),
    "a user who is disabled": (FORM | {"user_name": "dave"}, "dave", "Failed authentication"),
    "a user without a password": (FORM | {"user_name": "erin"}, "erin", "Failed authentication"),
    "a user who is not there": (
        FORM | {"user_name": "My-Secret-1"},
        "HIDDEN_DUE_TO_SECURITY_REASONS",
        "No username found in supplied account",
    ),
}


@pytest.mark.parametrize(("form", "shown", "message"), FAILURES.values(), ids=FAILURES)
def test_a_sign_in_that_fails_is_recorded_and_hides_names_that_nobody_has(
    alice: User, events: list[dict[str, Any]], form: dict[str, str], shown: str, message: str
) -> None:
    person("erin")
    User.objects.filter(pk=person("dave", password=PASSWORD).pk).update(is_active=False)
    assert Client().post("/sign-in/", form).status_code == 422
    (event,) = events
    assert (event["userIdentity"]["userName"], event["errorMessage"]) == (shown, message)
    assert event["responseElements"] == {"ConsoleLogin": "Failure"} and "errorCode" not in event
    assert audit.row(event)["error_code"] == "Failure"
    assert PASSWORD not in str(events) and "My-Secret-1" not in str(events)


def test_the_root_user_is_recorded_as_root(events: list[dict[str, Any]]) -> None:
    person("alice")
    root = User.root_of(ACCOUNT, created_at=clock.now())
    root.set_password(PASSWORD)
    root.save()
    for password, outcome in (("wrong", "Failure"), (PASSWORD, "Success")):
        Client().post("/sign-in/root-user/", {"account": ACCOUNT, "password": password})
        event = events.pop()
        assert event["responseElements"] == {"ConsoleLogin": outcome}
        identity = event["userIdentity"]
        assert (identity["type"], identity["arn"]) == ("Root", root.arn) and "userName" not in identity


def test_nothing_is_kept_of_what_is_tried_at_no_account_or_too_often(alice: User, events: list[dict[str, Any]]) -> None:
    assert Client().post("/sign-in/", FORM | {"account": "999999999999"}).status_code == 422
    assert events == []
    client = Client()
    assert [client.post("/sign-in/", WRONG).status_code for _ in range(7)] == [422] * 5 + [429] * 2
    assert len(events) == 5


def test_signing_out_is_no_event(alice: User, events: list[dict[str, Any]]) -> None:
    signed_in_client(alice).post("/sign-out/")
    assert events == []


def test_without_a_record_nobody_is_signed_in(alice: User, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(event: object) -> None:
        raise OSError("no space left")

    monkeypatch.setattr(audit, "append", full)
    client = Client(raise_request_exception=False)
    assert client.post("/sign-in/", FORM).status_code == 500
    assert client.get("/clusters/").status_code == 302


def test_switching_role_is_recorded_in_the_role_s_account(
    alice: User, events: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    keyring = sealing.Keyring.from_master_key(bytes(32))
    monkeypatch.setattr(sealing, "keyring", lambda: keyring)
    person("carol", account=ELSEWHERE)
    statement = {"Effect": "Allow", "Principal": {"AWS": alice.arn}, "Action": "sts:AssumeRole"}
    role = Role.objects.create(
        account_id=ELSEWHERE,
        name="Reader",
        role_id="AROAREADER",
        trust_policy=json.dumps({"Version": "2012-10-17", "Statement": [statement]}),
        trust_principals={alice.arn: alice.user_id},
        created_at=clock.now(),
    )
    client = signed_in_client(alice)
    assert client.post("/role-switch/", {"account": ELSEWHERE, "role": "Reader"}).status_code == 302
    (event,) = (event for event in events if event["eventName"] == "SwitchRole")
    session = f"arn:aws:sts::{ELSEWHERE}:assumed-role/Reader/alice"
    assert event["userIdentity"] == {
        "type": "AssumedRole",
        "principalId": f"{role.role_id}:alice",
        "arn": session,
        "accountId": ELSEWHERE,
    }
    assert event["responseElements"] == {"SwitchRole": "Success"}
    assert event["additionalEventData"]["SwitchFrom"] == alice.arn
    assert (event["recipientAccountId"], event["eventType"]) == (ELSEWHERE, "AwsConsoleSignIn")


def test_who_has_signed_in_acts_with_a_session_that_had_no_second_factor(events: list[dict[str, Any]]) -> None:
    dora = person("dora", actions=())
    condition = {"Bool": {"aws:MultiFactorAuthPresent": "false"}, "Null": {"aws:TokenIssueTime": "false"}}
    statement = {"Effect": "Allow", "Action": "kms:ListKeys", "Resource": "*", "Condition": condition}
    document = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    InlinePolicy.objects.create(user=dora, name="own", document=document)
    assert signed_in_client(dora).get("/keys/").status_code == 200
    (event,) = events
    attributes = event["userIdentity"]["sessionContext"]["attributes"]
    assert attributes["mfaAuthenticated"] == "false" and attributes["creationDate"].endswith("Z")
