"""Identities and keys of a running server, made over the wire, and clients that sign as them."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import boto3
from botocore.config import Config

from kmsapp.testing import REGION, Casemate

STORE = "cks-1234567890abcdef0"
IN_STORE = {"Origin": "AWS_CLOUDHSM", "CustomKeyStoreId": STORE}
ACCOUNT, OTHER_ACCOUNT = "111122223333", "444455556666"
ROOT = f"arn:aws:iam::{ACCOUNT}:root"
DENIED = "AccessDeniedException"


@dataclass(frozen=True)
class User:
    """An access key and whose it is."""

    name: str
    arn: str
    access_key_id: str
    secret: str = field(repr=False)
    token: str | None = field(default=None, repr=False)  # of a session


@dataclass(frozen=True)
class World:
    """alice administers the first account, its root user the other one."""

    casemate: Casemate
    kms: Any
    iam: Any
    iam_of_other: Any

    @classmethod
    def of(cls, casemate: Casemate) -> World:
        other = casemate.boto3("iam", person=f"root of {OTHER_ACCOUNT}")
        return cls(casemate, casemate.boto3("kms"), casemate.boto3("iam"), other)

    def user(self, *statements: dict[str, Any], iam: Any = None, tags: Iterable[dict[str, str]] = ()) -> User:
        """A user with an access key and, if there are statements, an inline policy of that name: "own"."""
        iam, name = iam or self.iam, new_name()
        made = iam.create_user(UserName=name, Tags=list(tags))["User"]
        if statements:
            iam.put_user_policy(UserName=name, PolicyName="own", PolicyDocument=document(*statements))
        return self.with_access_key(name, made["Arn"], iam=iam)

    def with_access_key(self, name: str, arn: str, *, iam: Any = None) -> User:
        key = (iam or self.iam).create_access_key(UserName=name)["AccessKey"]
        return User(name, arn, key["AccessKeyId"], key["SecretAccessKey"])

    def role(self, *trusted: str) -> tuple[str, str]:
        """Name and ARN of a role that trusts the ARNs: the first account, if none are given, and so alice."""
        name = new_name()
        made = self.iam.create_role(RoleName=name, AssumeRolePolicyDocument=trust(*trusted or [ROOT]))
        return name, str(made["Role"]["Arn"])

    def session(self, role_arn: str) -> User:
        """A session of the role, which alice begins."""
        begun = self.casemate.boto3("sts").assume_role(RoleArn=role_arn, RoleSessionName="session")
        made = begun["Credentials"]
        arn = begun["AssumedRoleUser"]["Arn"]
        return User("", arn, made["AccessKeyId"], made["SecretAccessKey"], made["SessionToken"])

    def client(self, user: User, service: str = "kms") -> Any:
        """A boto3 client that signs as the user, and leaves it to the server to check parameters."""
        return boto3.client(
            service,
            region_name=REGION,
            endpoint_url=self.casemate.url,
            aws_access_key_id=user.access_key_id,
            aws_secret_access_key=user.secret,
            aws_session_token=user.token,
            config=Config(retries={"total_max_attempts": 1}, parameter_validation=False),
        )

    def key(self, *statements: dict[str, Any], **params: Any) -> str:
        """A key of the first account, whose policy leaves it to IAM, with further statements; its ARN."""
        made = self.kms.create_key(**IN_STORE, Policy=key_policy(*statements), **params)
        return str(made["KeyMetadata"]["Arn"])

    def managed_policy(self, text: str) -> str:
        made = self.iam.create_policy(PolicyName=new_name(), PolicyDocument=text)
        return str(made["Policy"]["Arn"])


def new_name() -> str:
    return f"test-{secrets.token_hex(6)}"


def document(*statements: dict[str, Any]) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": list(statements)})


def allow(action: str | list[str], resource: str = "*", *, effect: str = "Allow", **elements: Any) -> dict[str, Any]:
    return {"Effect": effect, "Action": action, "Resource": resource, **elements}


def to(principal: str, action: str | list[str] = "kms:*", **elements: Any) -> dict[str, Any]:
    """A statement of a key policy. principal: an ARN, an account, or "*"."""
    return allow(action, Principal={"AWS": principal}, **elements)


def key_policy(*statements: dict[str, Any]) -> str:
    """The policy that leaves it to IAM, with further statements."""
    return document(to(ROOT), *statements)


def trust(*arns: str) -> str:
    return document({"Effect": "Allow", "Principal": {"AWS": list(arns)}, "Action": "sts:AssumeRole"})


def where(operator: str, key: str, *values: str) -> dict[str, Any]:
    """The element of a statement that makes it depend on a condition key."""
    return {"Condition": {operator: {key: list(values)}}}
