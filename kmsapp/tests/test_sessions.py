"""GetSessionToken, GetCallerIdentity, GetAccessKeyInfo and the record, for users, root users and sessions."""

from __future__ import annotations

import datetime
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from hsmapp import clock, epochs
from kmsapp import audit, dispatch
from kmsapp.call import Call
from kmsapp.caller import Caller
from kmsapp.errors import KmsError
from kmsapp.iam import credentials
from kmsapp.models import AuditEvent, TemporaryCredential
from kmsapp.tests import sts_world
from kmsapp.tests.key_store_rows import rows_only
from kmsapp.tests.sts_world import World, allow, assume, assumed, caller

pytestmark = pytest.mark.django_db(transaction=True)  # caches are not used inside a transaction


@pytest.fixture
def world(transactional_db: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    with rows_only(tmp_path, monkeypatch):
        yield sts_world.world()


@pytest.fixture
def alice(world: World) -> Caller:
    return caller(world.user("alice", allow(action=["sts:*", "iam:*"], Resource="*")))


def session_of(who: Caller, **params: Any) -> Caller:
    given = dispatch.call(who, "sts:GetSessionToken", params)["Credentials"]
    return sts_world.caller_of_key(given["AccessKeyId"])


def seconds_of(who: Caller) -> float:
    row = TemporaryCredential.objects.get(pk=who.session)
    return (row.expires_at - row.created_at).total_seconds()


DURATIONS = {
    "a user": (False, {}, 43_200),
    "a user who asks for the longest": (False, {"DurationSeconds": 129_600}, 129_600),
    "a root user": (True, {}, 3600),
    "a root user who asks for more": (True, {"DurationSeconds": 7200}, 3600),
    "a root user who asks for less": (True, {"DurationSeconds": 900}, 900),
}


@pytest.mark.parametrize(("is_root", "params", "seconds"), DURATIONS.values(), ids=DURATIONS)
def test_how_long_a_session_of_a_user_lasts(
    world: World, alice: Caller, is_root: bool, params: dict[str, Any], seconds: int
) -> None:
    who = caller(world.root()) if is_root else alice
    session = session_of(who, **params)
    assert seconds_of(session) == seconds
    assert (session.principal_arn, session.principal_id) == (who.principal_arn, who.principal_id)
    identity = dispatch.call(session, "sts:GetCallerIdentity", {})
    assert identity == {"UserId": who.principal_id, "Account": who.account, "Arn": who.principal_arn}


def test_who_a_root_user_is(world: World) -> None:
    identity = dispatch.call(caller(world.root()), "sts:GetCallerIdentity", {})
    arn = f"arn:aws:iam::{world.account}:root"
    assert identity == {"UserId": world.account, "Account": world.account, "Arn": arn}


def test_what_a_session_of_a_user_may_call(world: World, alice: Caller) -> None:
    role = world.role("Reader", allow(Principal={"AWS": alice.principal_arn}))
    session = session_of(alice)
    assert assume(session, role)
    refused = {
        "sts:GetSessionToken": "AccessDeniedException",
        "sts:GetAccessKeyInfo": "AccessDeniedException",
        "iam:ListUsers": "UnrecognizedClientException",
    }
    for name, code in refused.items():
        params = {"AccessKeyId": alice.access_key_id} if name.endswith("Info") else {}
        with pytest.raises(KmsError) as answer:
            dispatch.call(session, name, params)
        assert answer.value.code == code, name
    assert dispatch.call(alice, "iam:ListUsers", {})["Users"]
    with pytest.raises(KmsError, match="Cannot call GetSessionToken with session credentials"):
        dispatch.call(assumed(alice, role), "sts:GetSessionToken", {})


def test_whose_an_access_key_is(world: World, alice: Caller) -> None:
    other = caller(world.user("carol", account=world.other))
    session = session_of(other)
    for access_key_id in (other.access_key_id, session.access_key_id):
        answer = dispatch.call(alice, "sts:GetAccessKeyInfo", {"AccessKeyId": access_key_id})
        assert answer == {"Account": world.other}
    with pytest.raises(KmsError, match="AKIANOSUCHKEYATALL12 is invalid"):
        dispatch.call(alice, "sts:GetAccessKeyInfo", {"AccessKeyId": "AKIANOSUCHKEYATALL12"})
    with pytest.raises(KmsError, match="sts:GetAccessKeyInfo"):
        dispatch.call(other, "sts:GetAccessKeyInfo", {"AccessKeyId": other.access_key_id})


def identity_in_the_record(who: Caller) -> dict[str, Any]:
    call = Call(who, "kms", "ListKeys", {}, "request", read_only=True)
    identity: dict[str, Any] = audit.event(call)["userIdentity"]
    return identity


def test_the_record_says_what_kind_of_identity_calls(world: World, alice: Caller) -> None:
    user = identity_in_the_record(alice)
    assert (user["type"], user["userName"], "sessionContext" in user) == ("IAMUser", "alice", False)
    root = caller(world.root())
    assert identity_in_the_record(root) == {
        "type": "Root",
        "principalId": world.account,
        "arn": f"arn:aws:iam::{world.account}:root",
        "accountId": world.account,
        "accessKeyId": root.access_key_id,
    }
    attributes = identity_in_the_record(session_of(root))["sessionContext"]["attributes"]
    assert attributes["mfaAuthenticated"] == "false"
    role = world.role("Reader", allow(action="sts:*", Principal={"AWS": alice.principal_arn}), path="/service/")
    session = assumed(alice, role, SourceIdentity="alice")
    context = identity_in_the_record(session).pop("sessionContext")
    assert context["sessionIssuer"] == {
        "type": "Role",
        "principalId": role.role_id,
        "arn": role.arn,
        "accountId": world.account,
        "userName": "Reader",
    }
    assert context["sourceIdentity"] == "alice"
    assert datetime.datetime.fromisoformat(context["attributes"]["creationDate"]) <= clock.now()
    shown = identity_in_the_record(session)
    assert (shown["type"], shown["principalId"]) == ("AssumedRole", f"{role.role_id}:a-session")
    assert "userName" not in shown


def test_a_refusal_is_recorded_with_what_was_asked(world: World, alice: Caller, monkeypatch: Any) -> None:
    events: list[dict[str, Any]] = []
    monkeypatch.setattr(audit, "append", events.append)
    arn = f"arn:aws:iam::{world.account}:role/Nothing"
    with pytest.raises(KmsError):
        assume(alice, arn, Tags=[{"Key": "team", "Value": "red"}])
    (event,) = events
    assert (event["eventName"], event["errorCode"], event["resources"]) == ("AssumeRole", "AccessDenied", [])
    assert event["requestParameters"]["roleArn"] == arn
    assert event["requestParameters"]["tags"] == [{"key": "team", "value": "red"}]
    assert not AuditEvent.objects.filter(event_name="AssumeRole").exists()


def test_a_session_is_found_without_a_query_once_it_is_known(world: World, alice: Caller) -> None:
    session = session_of(alice)
    with epochs.one_reading():
        credentials.find(session.access_key_id)
    with epochs.one_reading(), CaptureQueriesContext(connection) as queries:
        assert credentials.find(session.access_key_id)
    assert len(queries) == 0


def test_what_ends_a_user_ends_the_users_sessions(world: World, alice: Caller) -> None:
    session = session_of(alice)
    found = credentials.find(session.access_key_id)
    assert found is not None
    assert found.active
    user = TemporaryCredential.objects.get(pk=session.session).user
    assert user is not None
    user.is_active = False
    user.save()
    found = credentials.find(session.access_key_id)
    assert found is not None
    assert not found.active
    user.delete()
    assert credentials.find(session.access_key_id) is None
