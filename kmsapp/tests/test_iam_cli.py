"""IAM by the real AWS CLI and boto3 against the running server: people and policies from nothing to nothing."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from kmsapp.testing import Casemate

DOCUMENT = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "iam:Get*", "Resource": "*"}]}


def aws(casemate: Casemate, *arguments: str) -> Any:
    """What `aws iam …` prints, from JSON; None if nothing."""
    done = casemate.cli("iam", *arguments)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout) if done.stdout.strip() else None


def refused(done: subprocess.CompletedProcess[str], code: str, operation: str) -> str:
    """The message of the error that the AWS CLI printed."""
    assert done.returncode != 0
    _, found, message = done.stderr.strip().partition(f"An error occurred ({code}) when calling the {operation} ")
    assert found, done.stderr
    return message.partition(": ")[2]


def answer_to(client: Any) -> str:
    """Who the client's user is, as it is told itself, or the code of the error."""
    try:
        return str(client.get_user()["User"]["UserName"])
    except ClientError as error:
        return str(error.response["Error"]["Code"])


def test_a_user_with_a_key_and_a_policy_lives_and_ends(casemate: Casemate, tmp_path: Path) -> None:
    document = tmp_path / "policy.json"
    document.write_text(json.dumps(DOCUMENT, indent=2))
    user = aws(casemate, "create-user", "--user-name", "erin", "--path", "/staff/", "--tags", "Key=team,Value=a b")
    assert user["User"]["Arn"] == f"arn:aws:iam::{casemate.account}:user/staff/erin"
    assert user["User"]["Tags"] == [{"Key": "team", "Value": "a b"}]
    key = aws(casemate, "create-access-key", "--user-name", "erin")["AccessKey"]
    erin = boto3.client(
        "iam",
        region_name="eu-central-1",
        endpoint_url=casemate.url,
        aws_access_key_id=key["AccessKeyId"],
        aws_secret_access_key=key["SecretAccessKey"],
        config=Config(retries={"total_max_attempts": 1}),
    )
    assert answer_to(erin) == "AccessDenied"

    made = aws(casemate, "create-policy", "--policy-name", "GetEverything", "--policy-document", f"file://{document}")
    arn = made["Policy"]["Arn"]
    aws(casemate, "attach-user-policy", "--user-name", "erin", "--policy-arn", arn)
    attached = aws(casemate, "list-attached-user-policies", "--user-name", "erin")["AttachedPolicies"]
    assert attached == [{"PolicyName": "GetEverything", "PolicyArn": arn}]
    assert answer_to(erin) == "erin"
    version = aws(casemate, "get-policy-version", "--policy-arn", arn, "--version-id", "v1")["PolicyVersion"]
    assert version["Document"] == DOCUMENT and version["IsDefaultVersion"] is True

    conflict = refused(casemate.cli("iam", "delete-policy", "--policy-arn", arn), "DeleteConflict", "DeletePolicy")
    assert conflict.endswith("Cannot delete a policy attached to entities.")
    aws(casemate, "detach-user-policy", "--user-name", "erin", "--policy-arn", arn)
    assert answer_to(erin) == "AccessDenied"
    aws(casemate, "delete-policy", "--policy-arn", arn)
    conflict = refused(casemate.cli("iam", "delete-user", "--user-name", "erin"), "DeleteConflict", "DeleteUser")
    assert conflict.endswith("Cannot delete entity, must delete access keys first.")
    aws(casemate, "delete-access-key", "--user-name", "erin", "--access-key-id", key["AccessKeyId"])
    assert answer_to(erin) == "InvalidClientTokenId"
    aws(casemate, "delete-user", "--user-name", "erin")
    missing = refused(casemate.cli("iam", "get-user", "--user-name", "erin"), "NoSuchEntity", "GetUser")
    assert missing.endswith("The user with name erin cannot be found.")


def test_a_role_and_a_group_with_inline_policies_by_boto3(casemate: Casemate) -> None:
    iam = casemate.boto3("iam")
    trust = {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Effect": "Allow",
                "Principal": {"AWS": f"arn:aws:iam::{casemate.account}:user/bob"},
                "Action": "sts:AssumeRole",
            }
        ],
    }
    role = iam.create_role(RoleName="Deputy", AssumeRolePolicyDocument=json.dumps(trust))["Role"]
    assert role["AssumeRolePolicyDocument"] == trust
    iam.put_role_policy(RoleName="Deputy", PolicyName="own", PolicyDocument=json.dumps(DOCUMENT))
    assert iam.get_role_policy(RoleName="Deputy", PolicyName="own")["PolicyDocument"] == DOCUMENT
    iam.create_group(GroupName="Night-shift")
    iam.add_user_to_group(GroupName="Night-shift", UserName="bob")
    pages = iam.get_paginator("list_groups_for_user").paginate(UserName="bob", PaginationConfig={"PageSize": 1})
    assert [group["GroupName"] for page in pages for group in page["Groups"]] == ["KeyUsers", "Night-shift"]
    with pytest.raises(iam.exceptions.MalformedPolicyDocumentException):
        iam.put_role_policy(RoleName="Deputy", PolicyName="bad", PolicyDocument="{")
    with pytest.raises(iam.exceptions.EntityAlreadyExistsException) as taken:
        iam.create_group(GroupName="NIGHT-SHIFT")
    assert taken.value.response["ResponseMetadata"]["HTTPStatusCode"] == 409
    with pytest.raises(ClientError) as invalid:
        iam.create_user(UserName="a/b")
    assert invalid.value.response["Error"]["Code"] == "ValidationError"
    assert "SummaryMap" in iam.get_account_summary() and iam.get_account_summary()["SummaryMap"]["UsersQuota"] == 5000
    iam.remove_user_from_group(GroupName="Night-shift", UserName="bob")
    iam.delete_group(GroupName="Night-shift")
    iam.delete_role_policy(RoleName="Deputy", PolicyName="own")
    iam.delete_role(RoleName="Deputy")
    assert {found["RoleName"] for found in iam.list_roles()["Roles"]}.isdisjoint({"Deputy"})


def test_the_simulator_says_what_the_server_decides(casemate: Casemate) -> None:
    key = f"arn:aws:kms:us-west-2:{casemate.account}:key/1234abcd-12ab-34cd-56ef-1234567890ab"
    arguments = ("--action-names", "kms:ListKeys", "kms:DescribeKey", "--resource-arns", key)
    for person, decision in (("alice", "allowed"), ("mallory", "implicitDeny")):
        arn = f"arn:aws:iam::{casemate.account}:user/{person}"
        shown = aws(casemate, "simulate-principal-policy", "--policy-source-arn", arn, *arguments)["EvaluationResults"]
        assert [result["EvalDecision"] for result in shown] == [decision, decision]
        assert (casemate.cli("kms", "list-keys", person=person).returncode == 0) is (decision == "allowed")
