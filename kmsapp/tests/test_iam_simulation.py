"""SimulatePrincipalPolicy and SimulateCustomPolicy."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest

from kmsapp.models import User
from kmsapp.tests.iam_world import ACCOUNT, ADMINISTRATOR, fill, iam, refused, trust
from kmsapp.tests.people import CAROL

pytestmark = pytest.mark.django_db

KEY = f"arn:aws:kms:us-west-2:{ACCOUNT}:key/1234abcd-12ab-34cd-56ef-1234567890ab"
ZOE = f"arn:aws:iam::{ACCOUNT}:user/zoe"
STS = f"arn:aws:sts::{ACCOUNT}:assumed-role"


@pytest.fixture(autouse=True)
def world(monkeypatch: pytest.MonkeyPatch) -> None:
    fill(monkeypatch)
    iam("CreateUser", UserName="zoe")


def policy(*statements: Mapping[str, Any]) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": list(statements)}, indent=2)


def statement(
    effect: str, action: str, resource: str = "*", condition: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    made: dict[str, Any] = {"Effect": effect, "Action": action, "Resource": resource}
    return {**made, "Condition": condition} if condition else made


def decisions(answer: dict[str, Any]) -> list[str]:
    return [result["EvalDecision"] for result in answer["EvaluationResults"]]


def principal(*actions: str, source: str = ZOE, **params: Any) -> dict[str, Any]:
    return iam("SimulatePrincipalPolicy", PolicySourceArn=source, ActionNames=list(actions), **params)


def custom(*actions: str, policies: list[str], **params: Any) -> dict[str, Any]:
    return iam("SimulateCustomPolicy", PolicyInputList=policies, ActionNames=list(actions), **params)


def test_each_action_is_tried_on_each_resource() -> None:
    text = policy(statement("Allow", "kms:*", KEY), statement("Deny", "kms:Delete*"))
    answer = custom("kms:Encrypt", "kms:DeleteAlias", policies=[text], ResourceArns=[KEY, f"{KEY}f"])
    results = answer["EvaluationResults"]
    assert [(one["EvalActionName"], one["EvalResourceName"]) for one in results] == [
        ("kms:Encrypt", KEY),
        ("kms:Encrypt", f"{KEY}f"),
        ("kms:DeleteAlias", KEY),
        ("kms:DeleteAlias", f"{KEY}f"),
    ]
    assert decisions(answer) == ["allowed", "implicitDeny", "explicitDeny", "explicitDeny"]
    assert answer["IsTruncated"] is False


def test_a_statement_is_shown_by_where_it_stands() -> None:
    text = policy(statement("Allow", "kms:Decrypt"), statement("Allow", "kms:Encrypt"))
    (result,) = custom("kms:Encrypt", policies=["\n".join(["", text]), text])["EvaluationResults"]
    first, second = result["MatchedStatements"]
    assert (first["SourcePolicyId"], second["SourcePolicyId"]) == ("PolicyInputList.1", "PolicyInputList.2")
    assert second["StartPosition"] == {"Line": 9, "Column": 5}
    assert second["EndPosition"] == {"Line": 13, "Column": 6}
    assert first["StartPosition"]["Line"] == 10
    assert result["EvalResourceName"] == "*"


def test_a_statement_without_a_list_is_shown_by_where_it_stands() -> None:
    text = '{"Version": "2012-10-17",\n "Statement": {"Effect": "Deny", "Action": "*", "Resource": "*"}}'
    (result,) = custom("kms:Encrypt", policies=[text])["EvaluationResults"]
    (shown,) = result["MatchedStatements"]
    assert shown["StartPosition"] == {"Line": 2, "Column": 15} and shown["EndPosition"] == {"Line": 2, "Column": 65}


def test_the_condition_keys_of_policies_are_listed() -> None:
    text = policy(
        statement("Allow", "*", "arn:aws:iam::*:user/${aws:username}", {"Bool": {"aws:SecureTransport": "true"}}),
        statement("Allow", "*", "*", {"StringEquals": {"AWS:USERNAME": "${aws:PrincipalTag/team, 'none'}"}}),
    )
    keys = ["AWS:USERNAME", "aws:PrincipalTag/team", "aws:SecureTransport"]
    assert iam("GetContextKeysForCustomPolicy", PolicyInputList=[text]) == {"ContextKeyNames": keys}
    own = iam("GetContextKeysForPrincipalPolicy", PolicySourceArn=ZOE)
    assert own == {"ContextKeyNames": []}
    iam("PutUserPolicy", UserName="zoe", PolicyName="own", PolicyDocument=text)
    own = iam("GetContextKeysForPrincipalPolicy", PolicySourceArn=ZOE, PolicyInputList=[text])
    assert own == {"ContextKeyNames": keys}


def test_conditions_are_met_by_what_the_call_says_and_what_it_does_not_say_is_told() -> None:
    text = policy(
        statement("Allow", "kms:Encrypt", condition={"StringEquals": {"aws:RequestedRegion": "us-west-2"}}),
        statement("Allow", "kms:Decrypt", f"{KEY}/${{aws:username}}"),
        statement(
            "Allow", "kms:ListKeys", condition={"ForAnyValue:StringEquals": {"kms:EncryptionContextKeys": ["b"]}}
        ),
    )
    answer = custom("kms:Encrypt", "kms:Decrypt", policies=[text])
    missing = [result["MissingContextValues"] for result in answer["EvaluationResults"]]
    assert missing == [["aws:RequestedRegion"], ["aws:username"]] and set(decisions(answer)) == {"implicitDeny"}
    entries = [
        {"ContextKeyName": "AWS:requestedregion", "ContextKeyValues": ["us-west-2"], "ContextKeyType": "string"},
        {"ContextKeyName": "kms:EncryptionContextKeys", "ContextKeyValues": ["a", "b"], "ContextKeyType": "stringList"},
    ]
    answer = custom("kms:Encrypt", "kms:ListKeys", policies=[text], ContextEntries=entries)
    assert decisions(answer) == ["allowed", "allowed"]
    assert [result["MissingContextValues"] for result in answer["EvaluationResults"]] == [[], []]


def test_a_user_has_inline_attached_and_group_policies() -> None:
    iam("CreateGroup", GroupName="KeyUsers")
    iam("AddUserToGroup", GroupName="KeyUsers", UserName="zoe")
    assert decisions(principal("kms:Encrypt")) == ["implicitDeny"]
    allow = policy(statement("Allow", "kms:Encrypt"))
    iam("PutGroupPolicy", GroupName="KeyUsers", PolicyName="own", PolicyDocument=allow)
    iam("PutUserPolicy", UserName="zoe", PolicyName="own", PolicyDocument=allow)
    iam("AttachUserPolicy", UserName="zoe", PolicyArn=ADMINISTRATOR)
    made = iam("CreatePolicy", PolicyName="mine", PolicyDocument=allow)["Policy"]["Arn"]
    iam("AttachGroupPolicy", GroupName="KeyUsers", PolicyArn=made)
    (result,) = principal("kms:Encrypt", PolicyInputList=[allow])["EvaluationResults"]
    found = {(one["SourcePolicyId"], one["SourcePolicyType"]) for one in result["MatchedStatements"]}
    assert found == {
        ("user_zoe_own", "user"),
        ("group_KeyUsers_own", "group"),
        ("AdministratorAccess", "aws-managed"),
        ("mine", "user-managed"),
        ("PolicyInputList.1", None),
    }
    group = f"arn:aws:iam::{ACCOUNT}:group/KeyUsers"
    assert decisions(principal("kms:Encrypt", "iam:GetUser", source=group)) == ["allowed", "implicitDeny"]
    iam("PutUserPolicy", UserName="zoe", PolicyName="no", PolicyDocument=policy(statement("Deny", "kms:*")))
    (result,) = principal("kms:Encrypt")["EvaluationResults"]
    assert result["EvalDecision"] == "explicitDeny"
    assert [one["SourcePolicyId"] for one in result["MatchedStatements"]] == ["user_zoe_no"]


def test_who_the_principal_is_answers_for_its_condition_keys() -> None:
    User.objects.filter(user_name="zoe").update(tags={"team": "ledger"})
    text = policy(
        statement(
            "Allow",
            "kms:Encrypt",
            condition={"StringEquals": {"aws:username": "zoe", "aws:PrincipalTag/team": "${aws:PrincipalTag/team}"}},
        )
    )
    answer = principal("kms:Encrypt", PolicyInputList=[text])
    assert decisions(answer) == ["allowed"] and answer["EvaluationResults"][0]["MissingContextValues"] == []


def test_a_boundary_limits_and_allows_nothing() -> None:
    iam("AttachUserPolicy", UserName="zoe", PolicyArn=ADMINISTRATOR)
    limit = iam("CreatePolicy", PolicyName="limit", PolicyDocument=policy(statement("Allow", "kms:Encrypt")))
    iam("PutUserPermissionsBoundary", UserName="zoe", PermissionsBoundary=limit["Policy"]["Arn"])
    answer = principal("kms:Encrypt", "kms:Decrypt")
    assert decisions(answer) == ["allowed", "implicitDeny"]
    by_boundary = [result["PermissionsBoundaryDecisionDetail"] for result in answer["EvaluationResults"]]
    assert by_boundary == [{"AllowedByPermissionsBoundary": True}, {"AllowedByPermissionsBoundary": False}]
    other = policy(statement("Allow", "kms:Decrypt"), statement("Deny", "kms:Encrypt"))
    answer = principal("kms:Encrypt", "kms:Decrypt", PermissionsBoundaryPolicyInputList=[other])
    assert decisions(answer) == ["explicitDeny", "allowed"]
    (matched,) = answer["EvaluationResults"][0]["MatchedStatements"]
    assert matched["SourcePolicyId"] == "PermissionsBoundaryPolicyInputList.1"


def test_a_resource_policy_decides_with_them() -> None:
    key_policy = policy({**statement("Allow", "kms:Decrypt"), "Principal": {"AWS": ZOE}})
    given: dict[str, Any] = {"ResourcePolicy": key_policy, "ResourceArns": [KEY]}
    answer = principal("kms:Decrypt", "kms:Encrypt", **given)
    assert decisions(answer) == ["allowed", "implicitDeny"]
    (matched,) = answer["EvaluationResults"][0]["MatchedStatements"]
    assert (matched["SourcePolicyId"], matched["SourcePolicyType"]) == ("ResourcePolicy", "resource")
    assert refused(lambda: custom("kms:Decrypt", policies=[policy(statement("Allow", "*"))], **given))[0] == (
        "InvalidInput"
    )
    owner = {"ResourceOwner": f"arn:aws:iam::{CAROL.account}:root"}
    assert decisions(principal("kms:Decrypt", **given, **owner)) == ["implicitDeny"]


def test_a_role_is_simulated_too() -> None:
    iam("CreateRole", RoleName="Deputy", AssumeRolePolicyDocument=trust(ACCOUNT))
    arn = f"arn:aws:iam::{ACCOUNT}:role/Deputy"
    assert decisions(principal("kms:Encrypt", source=arn)) == ["implicitDeny"]
    allow = policy(statement("Allow", "kms:Encrypt", condition={"ArnEquals": {"aws:PrincipalArn": arn}}))
    iam("PutRolePolicy", RoleName="Deputy", PolicyName="own", PolicyDocument=allow)
    assert decisions(principal("kms:Encrypt", source=arn)) == ["allowed"]
    # A role does not call: with a policy of a resource there must be a user who does.
    key_policy = policy({**statement("Deny", "kms:*"), "Principal": {"AWS": ZOE}})
    code, message = refused(lambda: principal("kms:Encrypt", source=arn, ResourcePolicy=key_policy))
    assert (code, message) == ("InvalidInput", "CallerArn is required with a ResourcePolicy.")
    answer = principal("kms:Encrypt", source=arn, ResourcePolicy=key_policy, CallerArn=ZOE)
    assert decisions(answer) == ["explicitDeny"]


def test_results_come_in_pages() -> None:
    text = policy(statement("Allow", "kms:*"))
    asked: dict[str, Any] = {"policies": [text], "ResourceArns": [f"{KEY}{number}" for number in range(3)]}
    first = custom("kms:Encrypt", "kms:Decrypt", **asked, MaxItems=4)
    second = custom("kms:Encrypt", "kms:Decrypt", **asked, MaxItems=4, Marker=first["Marker"])
    assert (len(first["EvaluationResults"]), len(second["EvaluationResults"])) == (4, 2)
    assert refused(lambda: custom("kms:Encrypt", **asked, Marker=first["Marker"]))[0] == "Validation"


REFUSED: dict[str, dict[str, Any]] = {
    "a policy that is none": {"PolicyInputList": ["{"]},
    "an action with a wildcard": {"ActionNames": ["kms:*"]},
    "an action of no service": {"ActionNames": ["Encrypt"]},
    "two boundaries": {"PermissionsBoundaryPolicyInputList": [policy(statement("Allow", "*"))] * 2},
    "a key policy that is none": {"ResourcePolicy": "[]"},
    "a context entry without a name": {"ContextEntries": [{"ContextKeyValues": ["x"]}]},
    "what is not built": {"ResourceHandlingOption": "EC2-VPC-InstanceStore"},
    "the root user": {"PolicySourceArn": f"arn:aws:iam::{ACCOUNT}:root"},
    "a session": {"PolicySourceArn": f"{STS}/zoe/one"},
    "a session without a name": {"PolicySourceArn": f"{STS}/zoe"},
    "a session as IAM's": {"PolicySourceArn": f"{STS}/zoe/one".replace("sts", "iam")},
    "a session that calls": {"CallerArn": f"{STS}/zoe/one"},
    "a session without a name that calls": {"CallerArn": f"{STS}/zoe"},
    "a session as IAM's that calls": {"CallerArn": f"{STS}/zoe/one".replace("sts", "iam")},
    "a role that calls": {"CallerArn": ZOE.replace("user", "role")},
    "the root user who calls": {"CallerArn": f"arn:aws:iam::{ACCOUNT}:root"},
    "a name that calls": {"CallerArn": "zoe"},
    "another account's user": {"PolicySourceArn": CAROL.principal_arn},
}


@pytest.mark.parametrize("params", REFUSED.values(), ids=REFUSED)
def test_input_is_refused(params: dict[str, Any]) -> None:
    good: dict[str, Any] = {"PolicySourceArn": ZOE, "ActionNames": ["kms:Encrypt"]}
    assert refused(lambda: iam("SimulatePrincipalPolicy", **{**good, **params}))[0] == "InvalidInput"


def test_a_principal_that_is_not_there_can_not_be_found() -> None:
    for name in ("nobody", "staff/zoe"):
        answer = refused(lambda name=name: principal("kms:Encrypt", source=f"arn:aws:iam::{ACCOUNT}:user/{name}"))  # type: ignore[misc]
        assert answer[0] == "NoSuchEntity"
