"""Principals of policies: noted by unique id, shown by the ARN that the id has now."""

from __future__ import annotations

import json

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from hsmapp import clock
from kmsapp import ids
from kmsapp.iam import principals
from kmsapp.iam.principals import UnknownPrincipalError
from kmsapp.models import Account, Group, Role, User

pytestmark = pytest.mark.django_db

ACCOUNT, OTHER = "111122223333", "444455556666"
ROOT = f"arn:aws:iam::{ACCOUNT}:root"
ALICE = f"arn:aws:iam::{ACCOUNT}:user/staff/alice"
ROLE = f"arn:aws:iam::{ACCOUNT}:role/KMSAdminRole"
SESSION = f"arn:aws:sts::{ACCOUNT}:assumed-role/KMSAdminRole/anybody"


@pytest.fixture(autouse=True)
def entities() -> None:
    for account_id in (ACCOUNT, OTHER):
        Account.objects.create(account_id=account_id, created_at=clock.now())
    make_alice()
    make_role()
    Group.objects.create(
        account_id=ACCOUNT, name="alice", path="/staff/", group_id=ids.new_group_id(), created_at=clock.now()
    )
    User.objects.create(account_id=ACCOUNT, user_id=ACCOUNT, is_root=True, created_at=clock.now())


def make_alice(user_id: str = "AIDAALICE", name: str = "alice") -> None:
    User.objects.create(account_id=ACCOUNT, user_name=name, path="/staff/", user_id=user_id, created_at=clock.now())


def make_role(role_id: str = "AROAADMIN") -> None:
    Role.objects.create(account_id=ACCOUNT, name="KMSAdminRole", role_id=role_id, created_at=clock.now())


def policy(*principal: str) -> str:
    value = principal[0] if len(principal) == 1 else list(principal)
    condition = {"ArnLike": {"aws:PrincipalArn": ALICE}}
    return json.dumps({"Statement": {"Effect": "Allow", "Principal": {"AWS": value}, "Condition": condition}})


def test_accounts_users_roles_and_sessions_have_unique_ids_and_everybody_needs_none() -> None:
    asked = [ROOT, ACCOUNT, OTHER, ALICE, ROLE, "*", SESSION, ALICE]
    ids_of = {
        ROOT: ACCOUNT,
        ACCOUNT: ACCOUNT,
        OTHER: OTHER,
        ALICE: "AIDAALICE",
        ROLE: "AROAADMIN",
        SESSION: "AROAADMIN",
    }
    with CaptureQueriesContext(connection) as queries:
        assert principals.resolve(asked) == ids_of
    assert len(queries) == 4
    assert principals.resolve([]) == {}


UNKNOWN = {
    "an account that is not there": "arn:aws:iam::999999999999:root",
    "its number": "999999999999",
    "a user that is not there": f"arn:aws:iam::{ACCOUNT}:user/nobody",
    "a user by another path": f"arn:aws:iam::{ACCOUNT}:user/alice",
    "a user in other letters": f"arn:aws:iam::{ACCOUNT}:user/staff/Alice",
    "a user of another account": f"arn:aws:iam::{OTHER}:user/staff/alice",
    "a role by a user's ARN": f"arn:aws:iam::{ACCOUNT}:user/KMSAdminRole",
    "a group": f"arn:aws:iam::{ACCOUNT}:group/staff/alice",
    "part of a name": f"arn:aws:iam::{ACCOUNT}:user/*",
    "part of a session's name": f"arn:aws:sts::{ACCOUNT}:assumed-role/KMSAdminRole/*",
    "a unique id": "AIDAALICE",
    "the root user as a user": f"arn:aws:iam::{ACCOUNT}:user/",
    "another partition": f"arn:aws-cn:iam::{ACCOUNT}:root",
    "half of an account's ARN": f"arn:aws:iam::{ACCOUNT}",
    "its other half": f"{ACCOUNT}:root",
    "a session of a role that is not there": f"arn:aws:sts::{ACCOUNT}:assumed-role/Nobody/anybody",
    "a newline": f"{ALICE}\n",
    "nothing": "",
}


@pytest.mark.parametrize("arn", UNKNOWN.values(), ids=UNKNOWN)
def test_there_is_no_principal(arn: str) -> None:
    with pytest.raises(UnknownPrincipalError) as refused:
        principals.resolve([ALICE, arn])
    assert refused.value.principal == arn


def test_the_principals_of_a_document_are_found_in_every_form() -> None:
    statements = [
        {"Principal": {"AWS": ALICE, "Service": "kms.amazonaws.com"}},
        {"NotPrincipal": {"AWS": [ROLE, ALICE, 7]}},
        {"Principal": "*"},
        {"Principal": {"Service": ROOT}},
        "no statement",
    ]
    assert principals.named(json.dumps({"Statement": statements})) == [ALICE, ROLE]
    assert principals.named(policy(ROOT)) == [ROOT]
    assert principals.named("[]") == principals.named('{"Statement": null}') == []
    with pytest.raises(ValueError, match="Expecting"):
        principals.named("no JSON")


def test_a_document_whose_principals_are_all_there_is_shown_as_it_was_written() -> None:
    text = '{"Statement":  [{"Principal": {"AWS": ["%s","%s", "*"]}}]}' % (ALICE, ROLE)  # noqa: UP031
    assert principals.shown(text, principals.resolve([ALICE, ROLE])) == text
    assert principals.shown("not even JSON", {}) == "not even JSON"


def test_whoever_is_gone_or_was_remade_is_shown_by_unique_id() -> None:
    text = policy(ALICE, ROLE, SESSION)
    recorded = principals.resolve(principals.named(text))
    User.objects.get(user_id="AIDAALICE").delete()
    Role.objects.get(role_id="AROAADMIN").delete()
    gone = policy("AIDAALICE", "AROAADMIN", "AROAADMIN")  # a session is one of that role, and no namesake's
    assert json.loads(principals.shown(text, recorded)) == json.loads(gone)
    make_alice("AIDANEWALICE")
    make_role("AROANEWADMIN")
    assert json.loads(principals.shown(text, recorded)) == json.loads(gone)


def test_whoever_was_renamed_is_shown_by_the_new_arn_and_an_account_by_its_root() -> None:
    text = policy(ALICE, ACCOUNT)
    recorded = principals.resolve(principals.named(text))
    user = User.objects.get(user_id="AIDAALICE")
    user.user_name, user.path = "alicia", "/"
    user.save()
    make_alice("AIDANEWALICE")
    now = policy(f"arn:aws:iam::{ACCOUNT}:user/alicia", ROOT)
    assert json.loads(principals.shown(text, recorded)) == json.loads(now)


def test_lines_stay_lines() -> None:
    text = json.dumps(json.loads(policy(ACCOUNT)), indent=2)
    assert principals.shown(text, {ACCOUNT: ACCOUNT}) == json.dumps(json.loads(policy(ROOT)), indent=2)


def test_a_decision_is_made_by_the_arns_of_now_and_by_ids_that_nobody_has_of_those_who_are_gone() -> None:
    text = policy(ALICE, ROLE, SESSION)
    recorded = principals.resolve(principals.named(text))
    assert principals.in_force(text, recorded) == (text, recorded)
    user = User.objects.get(user_id="AIDAALICE")
    user.user_name = "alicia"
    user.save()
    make_alice("AIDANEWALICE")
    Role.objects.get(role_id="AROAADMIN").delete()
    make_role("AROANEWADMIN")
    alicia = f"arn:aws:iam::{ACCOUNT}:user/staff/alicia"
    decided, unique_ids = principals.in_force(text, recorded)
    assert json.loads(decided) == json.loads(policy(alicia, ROLE, SESSION))
    assert unique_ids == {alicia: "AIDAALICE", ROLE: "AROAADMIN", SESSION: "AROAADMIN"}
