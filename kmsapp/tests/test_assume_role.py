"""AssumeRole by dispatch: who may, for how long, with what; the session that comes of it."""

from __future__ import annotations

import datetime
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from hsmapp import clock
from kmsapp import dispatch
from kmsapp.errors import KmsError
from kmsapp.iam import credentials, identity_policies, sessions
from kmsapp.models import AuditEvent, InlinePolicy, ManagedPolicy, PolicyVersion, Role, TemporaryCredential
from kmsapp.tests import sts_world
from kmsapp.tests.key_store_rows import rows_only
from kmsapp.tests.sts_world import World, allow, assume, assumed, caller, document

pytestmark = pytest.mark.django_db


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    with rows_only(tmp_path, monkeypatch):
        yield sts_world.world()


def code(call: Callable[[], Any]) -> str:
    """ "allowed", or the error's code."""
    try:
        call()
    except KmsError as error:
        return error.code
    return "allowed"


def root_arn(account: str) -> str:
    return f"arn:aws:iam::{account}:root"


MAY = allow(Resource="*")
MAY_NOT = allow(effect="Deny", Resource="*")
# Who the trust policy names, the caller's own statements, from which account; whether that suffices.
TRUST: dict[str, tuple[str, list[dict[str, Any]], bool, str]] = {
    "the user, without a policy": ("user", [], True, "allowed"),
    "the user, who has an explicit denial": ("user", [MAY_NOT], True, "AccessDeniedException"),
    "the account, without a policy": ("account", [], True, "AccessDeniedException"),
    "the account, with a policy": ("account", [MAY], True, "allowed"),
    "the account, with a policy for another role": (
        "account",
        [allow(Resource="arn:aws:iam::111122223333:role/Other")],
        True,
        "AccessDeniedException",
    ),
    "nobody here, with a policy": ("stranger", [MAY], True, "AccessDeniedException"),
    "a foreign user, without a policy": ("user", [], False, "AccessDeniedException"),
    "a foreign user, with a policy": ("user", [MAY], False, "allowed"),
    "a foreign account, with a policy": ("account", [MAY], False, "allowed"),
    "a foreign account, without a policy": ("account", [], False, "AccessDeniedException"),
    "a stranger to a foreign user": ("stranger", [MAY], False, "AccessDeniedException"),
}


@pytest.mark.parametrize(("named", "statements", "is_own", "expected"), TRUST.values(), ids=TRUST)
def test_trust(world: World, named: str, statements: list[dict[str, Any]], is_own: bool, expected: str) -> None:
    alice = world.user("alice", *statements, account="" if is_own else world.other)
    names = {"user": alice.arn, "account": root_arn(alice.account_id), "stranger": f"{alice.arn}a"}
    role = world.role("Reader", allow(Principal={"AWS": names[named]}), path="/service/")
    assert code(lambda: assume(caller(alice), role)) == expected


def test_a_denied_caller_and_a_role_that_is_not_there_have_one_answer(world: World) -> None:
    alice = caller(world.user("alice", MAY))
    role = world.role("Reader", allow(Principal={"AWS": root_arn(world.other)}))
    for arn in (role.arn, f"arn:aws:iam::{world.account}:role/Nothing", f"arn:aws:iam::{world.other}:role/Reader"):
        with pytest.raises(KmsError) as refused:
            assume(alice, arn)
        assert refused.value.message == (
            f"User: {alice.principal_arn} is not authorized to perform: sts:AssumeRole on resource: {arn}"
        )
    assert code(lambda: assume(alice, "arn:aws:iam::111122223333:user/alice")) == "ValidationException"


def test_a_namesake_of_whom_the_trust_policy_named_is_not_trusted(world: World) -> None:
    alice = world.user("alice")
    trust = allow(Principal={"AWS": alice.arn})
    role = world.role("Reader", trust, trust_principals={alice.arn: alice.user_id})
    assert code(lambda: assume(caller(alice), role)) == "allowed"
    alice.delete()
    assert code(lambda: assume(caller(world.user("alice")), role)) == "AccessDeniedException"


def test_root_users_assume_no_role(world: World) -> None:
    role = world.role("Reader", allow(Principal={"AWS": root_arn(world.account)}))
    with pytest.raises(KmsError, match="Roles may not be assumed by root accounts") as refused:
        assume(caller(world.root()), role)
    assert refused.value.code == "AccessDeniedException"


CONDITIONS: dict[str, tuple[dict[str, Any], dict[str, Any], str]] = {
    "an external id": ({"StringEquals": {"sts:ExternalId": "x-42"}}, {"ExternalId": "x-42"}, "allowed"),
    "another external id": (
        {"StringEquals": {"sts:ExternalId": "x-42"}},
        {"ExternalId": "x-43"},
        "AccessDeniedException",
    ),
    "no external id": ({"StringEquals": {"sts:ExternalId": "x-42"}}, {}, "AccessDeniedException"),
    "a session name": ({"StringLike": {"sts:RoleSessionName": "${aws:username}"}}, {}, "AccessDeniedException"),
    "one's own session name": (
        {"StringLike": {"sts:RoleSessionName": "${aws:username}"}},
        {"RoleSessionName": "alice"},
        "allowed",
    ),
    "a tag of the user": ({"StringEquals": {"aws:PrincipalTag/team": "red"}}, {}, "allowed"),
    "another tag of the user": ({"StringEquals": {"aws:PrincipalTag/team": "blue"}}, {}, "AccessDeniedException"),
    "where from": ({"IpAddress": {"aws:SourceIp": "192.0.2.0/24"}}, {}, "allowed"),
    "a secure connection": ({"Bool": {"aws:SecureTransport": "true"}}, {}, "AccessDeniedException"),
    "MFA": ({"Bool": {"aws:MultiFactorAuthPresent": "true"}}, {}, "AccessDeniedException"),
    "a tag of the session": (
        {"StringEquals": {"aws:RequestTag/cost": "7"}, "ForAllValues:StringEquals": {"aws:TagKeys": ["cost"]}},
        {"Tags": [{"Key": "cost", "Value": "7"}]},
        "allowed",
    ),
}


@pytest.mark.parametrize(("condition", "params", "expected"), CONDITIONS.values(), ids=CONDITIONS)
def test_conditions(world: World, condition: dict[str, Any], params: dict[str, Any], expected: str) -> None:
    alice = world.user("alice", tags={"team": "red"})
    trust = allow(action=["sts:AssumeRole", "sts:TagSession"], Principal={"AWS": alice.arn}, Condition=condition)
    assert code(lambda: assume(caller(alice), world.role("Reader", trust), **params)) == expected


REFUSED: dict[str, tuple[dict[str, Any], str, str]] = {
    "a name of one character": ({"RoleSessionName": "a"}, "ValidationException", "length greater than or equal to 2"),
    "a name with a slash": ({"RoleSessionName": "a/b"}, "ValidationException", r"pattern: \[\\w"),
    "899 seconds": ({"DurationSeconds": 899}, "ValidationException", "greater than or equal to 900"),
    "13 hours": ({"DurationSeconds": 46_800}, "ValidationException", "less than or equal to 43200"),
    "more than the role's maximum": (
        {"DurationSeconds": 3601},
        "ValidationException",
        "The requested DurationSeconds exceeds the MaxSessionDuration set for this role",
    ),
    "an external id of one character": ({"ExternalId": "a"}, "ValidationException", "externalId"),
    "51 tags": (
        {"Tags": [{"Key": f"k{n}", "Value": ""} for n in range(51)]},
        "ValidationException",
        "less than or equal to 50",
    ),
    "a key twice": (
        {"Tags": [{"Key": "Team", "Value": "1"}, {"Key": "team", "Value": "2"}]},
        "InvalidParameterValue",
        "Duplicate tag keys found. Please note that Tag keys are case insensitive.",
    ),
    "a transitive key without a tag": (
        {"TransitiveTagKeys": ["team"]},
        "InvalidParameterValue",
        "The specified transitive tag key must be included in the requested tags.",
    ),
    "no JSON": ({"Policy": "{"}, "MalformedPolicyDocumentException", "."),
    "a policy with a principal": (
        {"Policy": document(allow(Principal="*", Resource="*"))},
        "MalformedPolicyDocumentException",
        ".",
    ),
    "2,049 characters of policy": ({"Policy": " " * 2049}, "ValidationException", "less than or equal to 2048"),
    "eleven managed policies": (
        {"PolicyArns": [{"arn": f"arn:aws:iam::aws:policy/P{n}"} for n in range(11)]},
        "ValidationException",
        "policyArns",
    ),
    "a managed policy that is not there": (
        {"PolicyArns": [{"arn": "arn:aws:iam::aws:policy/Nothing"}]},
        "ValidationException",
        "arn:aws:iam::aws:policy/Nothing is invalid",
    ),
    "an MFA code": (
        {"SerialNumber": "arn:aws:iam::1:mfa/a", "TokenCode": "123456"},
        "AccessDeniedException",
        "MultiFactorAuthentication failed",
    ),
    "tags without sts:TagSession": (
        {"Tags": [{"Key": "team", "Value": "red"}]},
        "AccessDeniedException",
        "not authorized to perform: sts:TagSession on resource",
    ),
    "a source identity without sts:SetSourceIdentity": (
        {"SourceIdentity": "alice"},
        "AccessDeniedException",
        "not authorized to perform: sts:SetSourceIdentity on resource",
    ),
}


@pytest.mark.parametrize(("params", "expected", "text"), REFUSED.values(), ids=REFUSED)
def test_refusals(world: World, params: dict[str, Any], expected: str, text: str) -> None:
    alice = world.user("alice")
    role = world.role("Reader", allow(Principal={"AWS": alice.arn}))
    with pytest.raises(KmsError, match=text) as refused:
        assume(caller(alice), role, **params)
    assert refused.value.code == expected
    assert not TemporaryCredential.objects.exists()


@pytest.fixture
def alice(world: World) -> Any:
    return caller(world.user("alice", allow(action="sts:*", Resource="*")))


def trusting(world: World, name: str, **fields: Any) -> Role:
    return world.role(name, allow(action="sts:*", Principal={"AWS": root_arn(world.account)}), **fields)


def test_the_answer_and_the_session(world: World, alice: Any) -> None:
    role = trusting(world, "Reader", path="/service/", max_session_seconds=7200)
    answer = assume(alice, role, DurationSeconds=7200, SourceIdentity="alice", MinimumSessionTokenSize=1000)
    given = answer["Credentials"]
    assert given["AccessKeyId"].startswith("ASIA")
    assert len(given["SessionToken"]) >= 1000
    assert given["Expiration"] - clock.now() == pytest.approx(
        datetime.timedelta(hours=2), abs=datetime.timedelta(seconds=5)
    )
    arn = f"arn:aws:sts::{world.account}:assumed-role/Reader/a-session"
    assert answer["AssumedRoleUser"] == {"AssumedRoleId": f"{role.role_id}:a-session", "Arn": arn}
    assert answer["SourceIdentity"] == "alice"
    assert "PackedPolicySize" not in answer
    session = sts_world.caller_of_key(given["AccessKeyId"])
    identity = dispatch.call(session, "sts:GetCallerIdentity", {})
    assert identity == {"UserId": f"{role.role_id}:a-session", "Account": world.account, "Arn": arn}
    assert (session.identity_arn, session.identity_id, session.source_identity) == (role.arn, role.role_id, "alice")


def test_neither_secret_nor_token_can_be_read_from_the_database_or_the_record(world: World, alice: Any) -> None:
    given = assume(alice, trusting(world, "Reader"))["Credentials"]
    (row,) = TemporaryCredential.objects.values()
    (event,) = AuditEvent.objects.filter(event_name="AssumeRole").values_list("event", flat=True)
    for secret in (given["SecretAccessKey"], given["SessionToken"]):
        assert secret not in str(row)
        assert secret not in json.dumps(event)
    assert event["responseElements"]["credentials"]["accessKeyId"] == given["AccessKeyId"]
    assert event["resources"] == [
        {"accountId": world.account, "type": "AWS::IAM::Role", "ARN": event["requestParameters"]["roleArn"]}
    ]


def test_a_role_that_is_assumed_by_a_role_lasts_an_hour_at_most(world: World, alice: Any) -> None:
    first = trusting(world, "First", max_session_seconds=43_200)
    second = world.role("Second", allow(Principal={"AWS": first.arn}), max_session_seconds=43_200)
    session = assumed(alice, first, DurationSeconds=43_200)
    assert assume(session, second, DurationSeconds=3600)
    with pytest.raises(KmsError, match="1 hour session limit for roles assumed by role chaining"):
        assume(session, second, DurationSeconds=3601)


def test_transitive_tags_and_the_source_identity_stay_with_a_chain(world: World, alice: Any) -> None:
    first, second = trusting(world, "First"), world.role("Second", allow(Principal={"AWS": "*"}))
    third = trusting(world, "Third", tags={"team": "of the role", "floor": "3"})
    tags = [{"Key": "team", "Value": "red"}, {"Key": "mood", "Value": "good"}]
    session = assumed(alice, first, Tags=tags, TransitiveTagKeys=["Team"], SourceIdentity="alice")
    assert identity_policies.of(session).tags == {"team": "red", "mood": "good"}
    # The role's own policies must allow what a chain does as much as its trust policy.
    with pytest.raises(KmsError, match="sts:TagSession"):
        assume(session, second)
    InlinePolicy.objects.create(role=first, name="own", document=document(allow(action="sts:*", Resource="*")))
    chained = assumed(session, third)
    assert identity_policies.of(chained).tags == {"team": "red", "floor": "3"}
    assert chained.source_identity == "alice"
    with pytest.raises(KmsError, match="sts:SetSourceIdentity"):
        assume(session, third, SourceIdentity="bob")
    with pytest.raises(KmsError, match="conflicts with a transitive tag key from the calling session"):
        assume(session, third, Tags=[{"Key": "TEAM", "Value": "blue"}])


def test_session_policies_limit_the_session(world: World, alice: Any) -> None:
    role, other = trusting(world, "Reader"), trusting(world, "Other")
    InlinePolicy.objects.create(role=role, name="own", document=document(allow(action="sts:*", Resource="*")))
    managed = ManagedPolicy.objects.create(
        policy_id="ANPATEST", account=world.account, name="Reading", created_at=clock.now(), updated_at=clock.now()
    )
    PolicyVersion.objects.create(
        policy=managed,
        number=1,
        is_default=True,
        created_at=clock.now(),
        document=document(allow(action="kms:*", Resource="*")),
    )
    unlimited = assumed(alice, role)
    by_managed = assume(alice, role, PolicyArns=[{"arn": managed.arn}])
    by_inline = assumed(alice, role, Policy=document(allow(action="kms:*", Resource="*")))
    assert by_managed["PackedPolicySize"] >= 1
    assert code(lambda: assume(unlimited, other)) == "allowed"
    assert code(lambda: assume(by_inline, other)) == "AccessDeniedException"
    limited = sts_world.caller_of_key(by_managed["Credentials"]["AccessKeyId"])
    assert code(lambda: assume(limited, other)) == "AccessDeniedException"


def test_a_trust_policy_that_does_not_parse_trusts_nobody(world: World, alice: Any) -> None:
    role = trusting(world, "Reader")
    Role.objects.filter(pk=role.pk).update(trust_policy="{")
    assert code(lambda: assume(alice, role)) == "AccessDeniedException"


def test_a_session_that_ended_while_its_request_was_under_way_may_do_nothing(world: World, alice: Any) -> None:
    session = assumed(alice, trusting(world, "Reader"))
    TemporaryCredential.objects.get(pk=session.session).delete()
    (policy,) = identity_policies.of(session).session
    assert [statement.effect for statement in policy.document.statements] == ["Deny"]


def test_sessions_are_deleted_a_day_after_their_end(world: World, alice: Any) -> None:
    role = trusting(world, "Reader")
    ends = assume(alice, role)["Credentials"]["Expiration"]
    assert sessions.delete_expired(ends + datetime.timedelta(hours=23)) == 0
    assert sessions.delete_expired(ends + datetime.timedelta(hours=25)) == 1
    assert not TemporaryCredential.objects.exists()


def test_what_ends_a_session_ends_it_at_the_next_look(world: World, alice: Any) -> None:
    role = trusting(world, "Reader")
    access_key_id = assume(alice, role)["Credentials"]["AccessKeyId"]
    assert credentials.find(access_key_id)
    role.delete()
    assert credentials.find(access_key_id) is None
