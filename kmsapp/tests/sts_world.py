"""Two accounts with users, a root user and roles, without HSMs: what tests of STS begin with."""

from __future__ import annotations

import json
import secrets
from dataclasses import dataclass
from typing import Any

from hsmapp import clock
from kmsapp import dispatch, ids
from kmsapp.caller import Caller
from kmsapp.iam import credentials
from kmsapp.models import Account, InlinePolicy, Role, User

REGION = "us-west-2"


def allow(*, action: str | list[str] = "sts:AssumeRole", effect: str = "Allow", **elements: Any) -> dict[str, Any]:
    return {"Effect": effect, "Action": action, **elements}


def document(*statements: dict[str, Any]) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": list(statements)})


@dataclass(frozen=True)
class World:
    account: str
    other: str

    def user(self, name: str, *statements: dict[str, Any], account: str = "", **fields: Any) -> User:
        row = User.objects.create(
            account_id=account or self.account,
            user_name=name,
            user_id=ids.new_user_id(),
            created_at=clock.now(),
            **fields,
        )
        if statements:
            InlinePolicy.objects.create(user=row, name="own", document=document(*statements))
        return row

    def root(self) -> User:
        root = User.root_of(self.account, created_at=clock.now())
        root.save()
        return root

    def role(self, name: str, *statements: dict[str, Any], **fields: Any) -> Role:
        return Role.objects.create(
            account_id=self.account,
            name=name,
            role_id=ids.new_role_id(),
            trust_policy=document(*statements),
            created_at=clock.now(),
            **fields,
        )


def world() -> World:
    """Accounts of the test's own: caches are keyed by account and outlive a test's rolled-back database."""
    made = World(*(f"{secrets.randbelow(10**12):012}" for _ in range(2)))
    for account_id in (made.account, made.other):
        Account.objects.create(account_id=account_id, created_at=clock.now())
    return made


def caller(user: User) -> Caller:
    """The user by an access key that is found as the wire finds it."""
    access_key_id, _ = credentials.create_access_key(user)
    return caller_of_key(access_key_id)


def caller_of_key(access_key_id: str) -> Caller:
    found = credentials.find(access_key_id)
    assert found is not None
    return Caller(
        account=found.account,
        region=REGION,
        principal_arn=found.principal_arn,
        principal_id=found.principal_id,
        user_name=found.user_name,
        access_key_id=access_key_id,
        source_ip="192.0.2.7",
        principal_type=found.principal_type,
        role_arn=found.role_arn,
        session=found.session,
        session_began_at=found.session_began_at,
        source_identity=found.source_identity,
    )


def assume(who: Caller, role: Role | str, **params: Any) -> dict[str, Any]:
    arn = role if isinstance(role, str) else role.arn
    return dispatch.call(who, "sts:AssumeRole", {"RoleArn": arn, "RoleSessionName": "a-session", **params})


def assumed(who: Caller, role: Role, **params: Any) -> Caller:
    """The session that `who` begins."""
    return caller_of_key(assume(who, role, **params)["Credentials"]["AccessKeyId"])
