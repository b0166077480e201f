"""Nobody does anything in IAM without a policy that allows it, and whoever may not look learns nothing."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from kmsapp import service_models
from kmsapp.caller import Caller
from kmsapp.models import ManagedPolicy, Role, User
from kmsapp.registry import OPERATIONS
from kmsapp.tests.iam_world import ACCOUNT, ADMINISTRATOR, POLICY, fill, iam, refused, trust
from kmsapp.tests.people import MALLORY

pytestmark = pytest.mark.django_db

GIVEN: dict[str, Any] = {
    "AccessKeyId": "AKIA" + "A" * 16,
    "ActionNames": ["kms:Encrypt"],
    "AssumeRolePolicyDocument": trust(ACCOUNT),
    "Description": "x",
    "GroupName": "KeyUsers",
    "NewPassword": "Correct-horse-8",
    "OldPassword": "Correct-horse-7",
    "Password": "Correct-horse-7",
    "PermissionsBoundary": ADMINISTRATOR,
    "PolicyArn": ADMINISTRATOR,
    "PolicyDocument": POLICY,
    "PolicyInputList": [POLICY],
    "PolicyName": "own",
    "PolicySourceArn": f"arn:aws:iam::{ACCOUNT}:user/alice",
    "RoleName": "Deputy",
    "Status": "Inactive",
    "TagKeys": ["a"],
    "Tags": [{"Key": "a", "Value": "b"}],
    "UserName": "alice",
    "VersionId": "v1",
}
BUILT = [name.removeprefix("iam:") for name in OPERATIONS if name.startswith("iam:")]


@pytest.fixture(autouse=True)
def mallory(monkeypatch: pytest.MonkeyPatch) -> Caller:
    fill(monkeypatch)
    iam("CreateGroup", GroupName="KeyUsers")
    iam("CreateRole", RoleName="Deputy", AssumeRolePolicyDocument=trust(ACCOUNT))
    made = iam("CreateUser", UserName="mallory")["User"]
    return replace(MALLORY, principal_id=made["UserId"])


def params_of(operation: str) -> dict[str, Any]:
    """Values that are right for what the operation requires, and a user where one can be named."""
    shape = service_models.service("iam").operation(operation).input
    return {name: GIVEN[name] for name in shape.parts if name in (*shape.required, "UserName", "Password")}


def test_whoever_has_no_policy_may_do_nothing(mallory: Caller) -> None:
    for operation in BUILT:
        code, message = refused(lambda name=operation: iam(name, mallory, **params_of(name)))  # type: ignore[misc]
        assert code == "AccessDenied", (operation, message)
        expected = f"User: {mallory.principal_arn} is not authorized to perform: iam:{operation} on resource: "
        assert message.startswith(expected), message
        assert message.endswith(f"because no identity-based policy allows the iam:{operation} action")
    assert len(BUILT) > 80
    print(f"{len(BUILT)} operations of IAM refused")


def test_whoever_may_not_look_is_not_told_what_there_is(mallory: Caller) -> None:
    answers = {
        refused(lambda name=name: iam("GetUser", mallory, UserName=name))[1].replace(name, "…")  # type: ignore[misc]
        for name in ("alice", "nobody")
    }
    assert len(answers) == 1


def test_a_policy_on_one_user_allows_that_one_only(mallory: Caller) -> None:
    statement = {"Effect": "Allow", "Action": "iam:*", "Resource": "arn:aws:iam::*:user/${aws:username}"}
    document = json.dumps({"Version": "2012-10-17", "Statement": statement})
    iam("PutUserPolicy", UserName="mallory", PolicyName="self", PolicyDocument=document)
    assert iam("GetUser", mallory)["User"]["UserName"] == "mallory"
    iam("CreateAccessKey", mallory)
    for operation in ("GetUser", "CreateAccessKey", "DeleteUser"):
        answer = refused(lambda name=operation: iam(name, mallory, UserName="alice"))  # type: ignore[misc]
        assert answer[0] == "AccessDenied"
    assert refused(lambda: iam("UpdateUser", mallory, UserName="mallory", NewUserName="root"))[0] == "AccessDenied"
    assert User.objects.filter(user_name="mallory").exists()


CONDITIONS: dict[str, tuple[dict[str, Any], str, dict[str, Any], dict[str, Any]]] = {
    "only with a boundary": (
        {"StringEquals": {"iam:PermissionsBoundary": ADMINISTRATOR}},
        "CreateUser",
        {"UserName": "a", "PermissionsBoundary": ADMINISTRATOR},
        {"UserName": "b"},
    ),
    "only a certain policy": (
        {"ArnEquals": {"iam:PolicyARN": ADMINISTRATOR}},
        "AttachRolePolicy",
        {"RoleName": "Deputy", "PolicyArn": ADMINISTRATOR},
        {"RoleName": "Deputy", "PolicyArn": ADMINISTRATOR.replace("Administrator", "PowerUser")},
    ),
    "only what is tagged": (
        {"StringEquals": {"aws:ResourceTag/team": "ledger"}},
        "DeleteRole",
        {"RoleName": "Tagged"},
        {"RoleName": "Deputy"},
    ),
    "only with a tag": (
        {"StringEquals": {"aws:RequestTag/team": "ledger"}},
        "CreateUser",
        {"UserName": "a", "Tags": [{"Key": "team", "Value": "ledger"}]},
        {"UserName": "b", "Tags": [{"Key": "team", "Value": "sales"}]},
    ),
}


@pytest.mark.parametrize(("condition", "operation", "allowed", "denied"), CONDITIONS.values(), ids=CONDITIONS)
def test_a_condition_is_asked(
    mallory: Caller, condition: dict[str, Any], operation: str, allowed: dict[str, Any], denied: dict[str, Any]
) -> None:
    tags = [{"Key": "team", "Value": "ledger"}]
    iam("CreateRole", RoleName="Tagged", AssumeRolePolicyDocument=trust(ACCOUNT), Tags=tags)
    statement = {"Effect": "Allow", "Action": f"iam:{operation}", "Resource": "*", "Condition": condition}
    document = json.dumps({"Version": "2012-10-17", "Statement": statement})
    iam("PutUserPolicy", UserName="mallory", PolicyName="own", PolicyDocument=document)
    assert refused(lambda: iam(operation, mallory, **denied))[0] == "AccessDenied"
    iam(operation, mallory, **allowed)


def test_nothing_of_another_account_is_reached(mallory: Caller) -> None:
    before = (User.objects.count(), Role.objects.count(), ManagedPolicy.objects.count())
    for operation in BUILT:
        if "PolicySourceArn" in params_of(operation):
            theirs = {"PolicySourceArn": "arn:aws:iam::444455556666:user/carol"}
            answer = refused(lambda name=operation, more=theirs: iam(name, **{**params_of(name), **more}))  # type: ignore[misc]
            assert answer[0] == "InvalidInput"
    assert before == (User.objects.count(), Role.objects.count(), ManagedPolicy.objects.count())
