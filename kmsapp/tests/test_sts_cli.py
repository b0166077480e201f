"""Temporary credentials as people get and use them: with the AWS CLI and boto3 against a running server."""

from __future__ import annotations

import datetime
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from kmsapp.testing import REGION, Casemate

ROLE = "arn:aws:iam::111122223333:role/KMSAdminRole"
KEY_ID = "1234abcd-12ab-34cd-56ef-1234567890ab"
AUDITOR = "arn:aws:iam::111122223333:role/AuditorRole"


def aws(casemate: Casemate, credentials: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    """The AWS CLI with these credentials instead of a person's."""
    environment = casemate.cli_environment() | {
        "AWS_ACCESS_KEY_ID": credentials["AccessKeyId"],
        "AWS_SECRET_ACCESS_KEY": credentials["SecretAccessKey"],
        "AWS_SESSION_TOKEN": credentials["SessionToken"],
    }
    return subprocess.run(
        [str(Path(sys.executable).with_name("aws")), *arguments],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def client(casemate: Casemate, service: str, credentials: dict[str, Any]) -> Any:
    return boto3.client(
        service,
        region_name=REGION,
        endpoint_url=casemate.url,
        aws_access_key_id=credentials["AccessKeyId"],
        aws_secret_access_key=credentials["SecretAccessKey"],
        aws_session_token=credentials["SessionToken"],
        config=Config(retries={"total_max_attempts": 1}),
    )


def assume(casemate: Casemate, person: str = "alice", role: str = ROLE, *more: str) -> dict[str, Any]:
    done = casemate.cli(
        *("sts", "assume-role", "--role-arn", role, "--role-session-name", "from-the-cli", *more), person=person
    )
    assert done.returncode == 0, done.stderr
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def test_a_role_is_assumed_and_used(casemate: Casemate) -> None:
    answer = assume(casemate)
    arn = "arn:aws:sts::111122223333:assumed-role/KMSAdminRole/from-the-cli"
    assert answer["AssumedRoleUser"]["Arn"] == arn
    done = aws(casemate, answer["Credentials"], "sts", "get-caller-identity")
    assert json.loads(done.stdout) == {
        "UserId": answer["AssumedRoleUser"]["AssumedRoleId"],
        "Account": "111122223333",
        "Arn": arn,
    }
    done = aws(casemate, answer["Credentials"], "kms", "list-keys")
    assert json.loads(done.stdout)["Keys"]


def test_a_role_of_another_account_is_assumed_by_whom_both_accounts_let(casemate: Casemate) -> None:
    credentials = assume(casemate, "carol", AUDITOR)["Credentials"]
    assert json.loads(aws(casemate, credentials, "kms", "list-keys").stdout)["Keys"]
    refused = aws(casemate, credentials, "kms", "encrypt", "--key-id", KEY_ID, "--plaintext", "aGk=")
    assert "AccessDeniedException" in refused.stderr
    assert "assumed-role/AuditorRole/from-the-cli is not authorized to perform: kms:Encrypt" in refused.stderr


@pytest.mark.parametrize(("person", "role"), [("mallory", ROLE), ("carol", ROLE), ("mallory", AUDITOR)])
def test_who_is_not_let_is_told_so(casemate: Casemate, person: str, role: str) -> None:
    done = casemate.cli(
        *("sts", "assume-role", "--role-arn", role, "--role-session-name", "from-the-cli"), person=person
    )
    account = casemate.person(person).account
    assert (
        "An error occurred (AccessDenied) when calling the AssumeRole operation: User: "
        f"arn:aws:iam::{account}:user/{person} is not authorized to perform: sts:AssumeRole on resource: {role}"
    ) in done.stderr


def test_credentials_are_of_no_use_without_their_own_token(casemate: Casemate) -> None:
    first, second = (assume(casemate)["Credentials"] for _ in range(2))
    for token in (second["SessionToken"], "x", ""):
        done = aws(casemate, first | {"SessionToken": token}, "kms", "list-keys")
        assert "(UnrecognizedClientException)" in done.stderr, token
        done = aws(casemate, first | {"SessionToken": token}, "sts", "get-caller-identity")
        assert "(InvalidClientTokenId)" in done.stderr, token


def test_credentials_end_when_they_said(casemate: Casemate) -> None:
    credentials = assume(casemate, "alice", ROLE, "--duration-seconds", "900")["Credentials"]
    kms = client(casemate, "kms", credentials)
    assert kms.list_keys()["Keys"]
    # No test waits for a quarter of an hour: its end is moved, as the clock would do it, and no cache is told.
    code = (
        "from kmsapp.models import TemporaryCredential as T; from hsmapp import clock;"
        f"print(T.objects.filter(access_key_id='{credentials['AccessKeyId']}').update(expires_at=clock.now()))"
    )
    assert casemate.manage("shell", "-c", code).split()[-1] == "1"
    expires = datetime.datetime.fromisoformat(credentials["Expiration"])
    assert expires - datetime.datetime.now(datetime.UTC) > datetime.timedelta(minutes=14)
    fresh = assume(casemate, "alice", ROLE, "--duration-seconds", "900")["Credentials"]  # raises the epoch
    assert client(casemate, "kms", fresh).list_keys()["Keys"]
    with pytest.raises(ClientError) as refused:
        kms.list_keys()
    error = refused.value.response["Error"]
    assert error["Code"] == "ExpiredTokenException"
    assert error["Message"] == "The security token included in the request is expired"
    done = aws(casemate, credentials, "sts", "get-caller-identity")
    assert "(ExpiredToken)" in done.stderr


def test_a_users_own_session_calls_kms_but_not_iam(casemate: Casemate) -> None:
    done = casemate.cli("sts", "get-session-token", "--duration-seconds", "900")
    credentials = json.loads(done.stdout)["Credentials"]
    assert json.loads(aws(casemate, credentials, "kms", "list-keys").stdout)["Keys"]
    assert json.loads(aws(casemate, credentials, "sts", "get-caller-identity").stdout)["Arn"].endswith(":user/alice")
    assert "(InvalidClientTokenId)" in aws(casemate, credentials, "iam", "list-users").stderr
    assert "(AccessDenied)" in aws(casemate, credentials, "sts", "get-session-token").stderr


def test_a_root_user_signs_as_the_account_and_assumes_no_role(casemate: Casemate) -> None:
    root = "root of 111122223333"
    identity = json.loads(casemate.cli("sts", "get-caller-identity", person=root).stdout)
    assert identity == {
        "UserId": "111122223333",
        "Account": "111122223333",
        "Arn": "arn:aws:iam::111122223333:root",
    }
    done = casemate.cli("sts", "assume-role", "--role-arn", ROLE, "--role-session-name", "me", person=root)
    assert "(AccessDenied)" in done.stderr
    assert "Roles may not be assumed by root accounts." in done.stderr


def test_a_role_that_is_deleted_ends_its_sessions_on_every_worker(casemate: Casemate) -> None:
    trust = {
        "Version": "2012-10-17",
        "Statement": [
            {"Effect": "Allow", "Principal": {"AWS": "arn:aws:iam::111122223333:root"}, "Action": "sts:AssumeRole"}
        ],
    }
    iam = casemate.boto3("iam")
    arn = iam.create_role(RoleName="ShortLived", AssumeRolePolicyDocument=json.dumps(trust))["Role"]["Arn"]
    sts = client(casemate, "sts", assume(casemate, "alice", arn)["Credentials"])
    for _ in range(20):  # both workers know it
        assert sts.get_caller_identity()["Arn"].endswith("assumed-role/ShortLived/from-the-cli")
    iam.delete_role(RoleName="ShortLived")
    for _ in range(20):
        with pytest.raises(ClientError) as refused:
            sts.get_caller_identity()
        assert refused.value.response["Error"]["Code"] == "InvalidClientTokenId"
