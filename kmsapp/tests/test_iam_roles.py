"""Roles and whom they trust."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import unquote

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from kmsapp.models import Role
from kmsapp.tests.iam_world import ACCOUNT, ADMINISTRATOR, POLICY, fill, iam, refused, trust
from kmsapp.tests.people import ALICE, CAROL

pytestmark = pytest.mark.django_db

ROOT_ARN = f"arn:aws:iam::{ACCOUNT}:root"
ZOE = f"arn:aws:iam::{ACCOUNT}:user/zoe"


@pytest.fixture(autouse=True)
def world(monkeypatch: pytest.MonkeyPatch) -> None:
    fill(monkeypatch)


def make(name: str = "Deputy", document: str = trust(ROOT_ARN), **params: Any) -> dict[str, Any]:
    made: dict[str, Any] = iam("CreateRole", RoleName=name, AssumeRolePolicyDocument=document, **params)["Role"]
    return made


def trusted(name: str = "Deputy") -> Any:
    shown = json.loads(unquote(iam("GetRole", RoleName=name)["Role"]["AssumeRolePolicyDocument"]))
    return shown["Statement"][0]["Principal"]["AWS"]


def test_a_role_is_made_shown_changed_and_deleted() -> None:
    made = make(Path="/jobs/", Description="does it", MaxSessionDuration=7200, Tags=[{"Key": "a", "Value": "b"}])
    assert made["Arn"] == f"arn:aws:iam::{ACCOUNT}:role/jobs/Deputy" and made["RoleId"].startswith("AROA")
    assert iam("GetRole", RoleName="deputy")["Role"] == {**made, "RoleLastUsed": {}}
    (listed,) = iam("ListRoles", PathPrefix="/jobs/")["Roles"]
    assert "Tags" not in listed and listed["AssumeRolePolicyDocument"] == made["AssumeRolePolicyDocument"]
    assert iam("UpdateRole", RoleName="Deputy", Description="else") == {}
    changed = iam("GetRole", RoleName="Deputy")["Role"]
    assert (changed["Description"], changed["MaxSessionDuration"]) == ("else", 3600)
    assert iam("UpdateRoleDescription", RoleName="Deputy", Description="more")["Role"]["Description"] == "more"
    iam("DeleteRole", RoleName="Deputy")
    missing = ("NoSuchEntity", "The role with name Deputy cannot be found.")
    assert refused(lambda: iam("GetRole", RoleName="Deputy")) == missing
    assert refused(lambda: iam("GetRole", CAROL, RoleName="Deputy"))[0] == "NoSuchEntity"


def test_documents_in_answers_are_url_encoded() -> None:
    document = trust(ROOT_ARN, Sid="a b/c~d")
    encoded = make(document=document)["AssumeRolePolicyDocument"]
    assert unquote(encoded) == document and "%20" in encoded and "%2F" in encoded and "~" in encoded
    assert not set(encoded) & set(' +/"{}:')


def test_names_are_unique_without_regard_to_case() -> None:
    make()
    assert refused(lambda: make("DEPUTY")) == ("EntityAlreadyExists", "Role with name DEPUTY already exists.")


REFUSED = {
    "no JSON": ("{", "This policy contains invalid Json"),
    "a number that is none": (trust(ROOT_ARN)[:-1] + ', "x": NaN}', "Syntax errors in policy."),
    "nested without end": ("[" * 100_000, "This policy contains invalid Json"),
    "no statement": ('{"Version": "2012-10-17"}', "Syntax errors in policy."),
    "no effect": (trust(ROOT_ARN, Effect="Maybe"), "Syntax errors in policy."),
    "a list": ("[]", "Syntax errors in policy."),
    "a resource": (trust(ROOT_ARN, Resource="*"), "Has prohibited field Resource"),
    "no principal": (trust(ROOT_ARN, Principal={}), "Policy contains a statement with no principal."),
    "a user that is not there": (trust(ROOT_ARN, ZOE), f'Invalid principal in policy: "AWS":"{ZOE}"'),
    "a group": (
        trust(f"arn:aws:iam::{ACCOUNT}:group/x"),
        f'Invalid principal in policy: "AWS":"arn:aws:iam::{ACCOUNT}:group/x"',
    ),
}


@pytest.mark.parametrize(("document", "message"), REFUSED.values(), ids=REFUSED)
def test_a_trust_policy_is_refused_with(document: str, message: str) -> None:
    make("Other")
    asked: dict[str, Any] = {"RoleName": "Other", "PolicyDocument": document}
    answers = {refused(lambda: make(document=document)), refused(lambda: iam("UpdateAssumeRolePolicy", **asked))}
    assert answers == {("MalformedPolicyDocument", message)}
    assert Role.objects.filter(account_id=ACCOUNT).count() == 1 and trusted("Other") == ROOT_ARN


def test_a_trust_policy_has_a_largest_size_without_its_white_space() -> None:
    make(document=trust(ROOT_ARN) + " " * 5000)
    long = refused(lambda: make("Other", trust(ROOT_ARN, Sid="x" * 2048)))
    assert long == ("LimitExceeded", "Cannot exceed quota for ACLSizePerRole: 2048")


def test_whom_a_role_trusts_is_noted_by_unique_id() -> None:
    zoe_id = iam("CreateUser", UserName="zoe")["User"]["UserId"]
    make("Base")
    base = f"arn:aws:iam::{ACCOUNT}:role/Base"
    make(document=trust(ZOE, ACCOUNT))
    assert trusted() == [ZOE, ROOT_ARN]
    iam("UpdateUser", UserName="zoe", NewUserName="zora")
    assert trusted() == [f"{ZOE[:-3]}zora", ROOT_ARN]
    iam("DeleteUser", UserName="zora")
    iam("CreateUser", UserName="zoe")
    assert trusted() == [zoe_id, ROOT_ARN]
    listed = {role["RoleName"]: unquote(role["AssumeRolePolicyDocument"]) for role in iam("ListRoles")["Roles"]}
    assert zoe_id in listed["Deputy"] and ROOT_ARN in listed["Base"]
    put_again = unquote(iam("GetRole", RoleName="Deputy")["Role"]["AssumeRolePolicyDocument"])
    answer = refused(lambda: iam("UpdateAssumeRolePolicy", RoleName="Deputy", PolicyDocument=put_again))
    assert answer == ("MalformedPolicyDocument", f'Invalid principal in policy: "AWS":"{zoe_id}"')
    iam("UpdateAssumeRolePolicy", RoleName="Deputy", PolicyDocument=trust(base, ALICE.principal_arn))
    assert trusted() == [base, ALICE.principal_arn]


def test_a_role_with_policies_is_not_deleted() -> None:
    make()
    assert iam("ListInstanceProfilesForRole", RoleName="Deputy") == {"InstanceProfiles": [], "IsTruncated": False}
    iam("AttachRolePolicy", RoleName="Deputy", PolicyArn=ADMINISTRATOR)
    assert refused(lambda: iam("DeleteRole", RoleName="Deputy"))[1].endswith("must detach all policies first.")
    iam("DetachRolePolicy", RoleName="Deputy", PolicyArn=ADMINISTRATOR)
    iam("PutRolePolicy", RoleName="Deputy", PolicyName="own", PolicyDocument=POLICY)
    assert refused(lambda: iam("DeleteRole", RoleName="Deputy"))[1].endswith("must delete policies first.")


def test_tags_come_and_go() -> None:
    make()
    iam("TagRole", RoleName="Deputy", Tags=[{"Key": "a", "Value": "1"}, {"Key": "b", "Value": "2"}])
    iam("UntagRole", RoleName="Deputy", TagKeys=["A"])
    assert iam("ListRoleTags", RoleName="Deputy") == {"Tags": [{"Key": "b", "Value": "2"}], "IsTruncated": False}


def test_a_list_takes_as_many_queries_for_many_roles_as_for_one() -> None:
    make("first", trust(ROOT_ARN, ALICE.principal_arn))
    with CaptureQueriesContext(connection) as few:
        iam("ListRoles")
    for number in range(9):
        make(f"role{number}", trust(ALICE.principal_arn))
    with CaptureQueriesContext(connection) as many:
        assert len(iam("ListRoles")["Roles"]) == 10
    assert len(many) == len(few)
