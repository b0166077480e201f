"""Two accounts with nothing but a user each, for tests of IAM that need no HSM."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from hsmapp import clock, sealing
from kmsapp import demo
from kmsapp.caller import Caller
from kmsapp.errors import KmsError
from kmsapp.models import Account, AuditEvent, InlinePolicy, Role, User
from kmsapp.tests.people import ALICE, CAROL, EVERYTHING, EVERYTHING_DOCUMENT, admit, call

ACCOUNT = demo.ACCOUNT
ROOT = Caller(ACCOUNT, demo.REGION, f"arn:aws:iam::{ACCOUNT}:root", ACCOUNT, principal_type="Root")
SESSION = Caller(
    ACCOUNT,
    demo.REGION,
    f"arn:aws:sts::{ACCOUNT}:assumed-role/ExampleRole/alice",
    "AROAEXAMPLE:alice",
    principal_type="AssumedRole",
    role_arn=f"arn:aws:iam::{ACCOUNT}:role/ExampleRole",
)
ALLOW = {"Effect": "Allow", "Action": "kms:*", "Resource": "*"}
POLICY = json.dumps({"Version": "2012-10-17", "Statement": [ALLOW]})
ADMINISTRATOR = "arn:aws:iam::aws:policy/AdministratorAccess"


def fill(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the accounts, their root users, alice, carol, and a keyring."""
    keyring = sealing.Keyring.from_master_key(bytes(32))
    monkeypatch.setattr(sealing, "keyring", lambda: keyring)
    for caller in (ALICE, CAROL):
        account = Account.objects.create(account_id=caller.account, created_at=clock.now())
        User.objects.create_user(
            account=account, user_name="", user_id=account.pk, is_root=True, created_at=clock.now()
        )
        admit(caller)


def admit_session() -> None:
    """Make the role of SESSION, which may do everything."""
    role = Role.objects.create(
        account_id=ACCOUNT, name="ExampleRole", role_id=SESSION.identity_id, created_at=clock.now()
    )
    InlinePolicy.objects.create(role=role, name=EVERYTHING, document=EVERYTHING_DOCUMENT)


def iam(operation: str, caller: Caller = ALICE, **params: Any) -> dict[str, Any]:
    """Call an IAM operation: `iam("GetUser", UserName="alice")`."""
    return call(f"iam:{operation}", caller, **params)


def trust(*arns: str, **more: Any) -> str:
    """A trust policy."""
    principal: Any = {"AWS": arns[0] if len(arns) == 1 else list(arns)}
    statement = {"Effect": "Allow", "Principal": principal, "Action": "sts:AssumeRole", **more}
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})


def refused(run: Callable[[], object]) -> tuple[str, str]:
    """The code and the message of the answer that a call ends in."""
    with pytest.raises(KmsError) as error:
        run()
    return error.value.code.removesuffix("Exception"), error.value.message


def last_event(name: str) -> dict[str, Any]:
    event: dict[str, Any] = AuditEvent.objects.filter(event_name=name).latest("id").event
    return event
