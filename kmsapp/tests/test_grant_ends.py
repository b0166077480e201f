"""RetireGrant and RevokeGrant: by whom, which grant, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest

from hsmapp import epochs
from kmsapp import demo, ids
from kmsapp.caller import Caller
from kmsapp.errors import (
    AccessDeniedException,
    DryRunOperationException,
    InvalidArnException,
    InvalidGrantIdException,
    KmsError,
    NotFoundException,
)
from kmsapp.errors import ValidationException as Invalid
from kmsapp.models import Grant, KmsKey
from kmsapp.tests.grant_world import ACCOUNT, ARN, CAROLS_ACCOUNT, KEY, create, give_policy, listed, rows
from kmsapp.tests.people import CAROL, MALLORY, call

__all__ = ["rows"]
pytestmark = pytest.mark.usefixtures("rows")


BY_GRANT = {"GranteePrincipal": CAROL.principal_arn, "RetiringPrincipal": CAROL.principal_arn}
AS_GRANTEE = {"GranteePrincipal": CAROL.principal_arn, "Operations": ["Decrypt", "RetireGrant"]}
TO_ACCOUNT = {"RetiringPrincipal": CAROLS_ACCOUNT}
OWN_ROOT = Caller(demo.ACCOUNT, demo.REGION, f"{ACCOUNT}:root", demo.ACCOUNT, principal_type="Root")
CAROLS_ROOT = Caller(demo.OTHER_ACCOUNT, demo.REGION, CAROLS_ACCOUNT, demo.OTHER_ACCOUNT, principal_type="Root")
# who asks, the grant, the Effect of an IAM policy of theirs about kms:RetireGrant, whether they may
RETIRERS: dict[str, tuple[Caller, dict[str, Any], str, bool]] = {
    "the retiring principal": (CAROL, {"RetiringPrincipal": CAROL.principal_arn}, "", True),
    "the retiring principal, denied by IAM": (CAROL, {"RetiringPrincipal": CAROL.principal_arn}, "Deny", False),
    "the grantee with RetireGrant": (CAROL, AS_GRANTEE, "", True),
    "the grantee with RetireGrant, denied by IAM": (CAROL, AS_GRANTEE, "Deny", False),
    "the grantee without": (CAROL, {"GranteePrincipal": CAROL.principal_arn}, "Allow", False),
    "another account": (CAROL, {}, "Allow", False),
    "another account's root user": (CAROLS_ROOT, {}, "", False),
    "root of the issuing account": (OWN_ROOT, BY_GRANT, "", True),
    "somebody of the issuing account": (MALLORY, BY_GRANT, "", False),
    "somebody of the issuing account, by IAM": (MALLORY, BY_GRANT, "Allow", True),
    "root of a named account": (CAROLS_ROOT, TO_ACCOUNT, "", True),
    "somebody of a named account": (CAROL, TO_ACCOUNT, "", False),
    "somebody of a named account, by IAM": (CAROL, TO_ACCOUNT, "Allow", True),
}


@pytest.mark.parametrize("how", ["pair", "token"])
@pytest.mark.parametrize(("caller", "asked", "effect", "allowed"), RETIRERS.values(), ids=RETIRERS)
def test_who_retires_a_grant(caller: Caller, asked: dict[str, Any], effect: str, allowed: bool, how: str) -> None:
    made = create(**asked)
    if effect:
        give_policy(caller, effect, "kms:RetireGrant")
    given = {"KeyId": ARN, "GrantId": made["GrantId"]} if how == "pair" else {"GrantToken": made["GrantToken"]}
    if allowed:
        assert call("RetireGrant", caller, **given) == {}
    else:
        with pytest.raises(AccessDeniedException):
            call("RetireGrant", caller, **given)
    assert Grant.objects.exists() is not allowed


def test_another_account_is_not_told_which_keys_and_grants_there_are() -> None:
    made, texts = create(), set()
    for key, grant_id in (
        (ARN, made["GrantId"]),
        (ARN, ids.new_grant_id()),
        (ARN.replace("1234abcd", "00000000"), made["GrantId"]),
    ):
        with pytest.raises(AccessDeniedException) as raised:
            call("RetireGrant", CAROL, KeyId=key, GrantId=grant_id)
        texts.add(raised.value.message.replace(key, "<key>"))
    assert len(texts) == 1 and Grant.objects.count() == 1


REFUSED_ENDS: dict[str, tuple[str, dict[str, Any], type[KmsError]]] = {
    "no such grant": ("RevokeGrant", {"KeyId": KEY, "GrantId": "0" * 64}, NotFoundException),
    "no grant id": ("RevokeGrant", {"KeyId": KEY, "GrantId": "0" * 63}, InvalidGrantIdException),
    "a grant id in capitals": ("RevokeGrant", {"KeyId": KEY, "GrantId": "A" * 64}, InvalidGrantIdException),
    "no key": ("RevokeGrant", {"KeyId": KEY.replace("1", "2"), "GrantId": "0" * 64}, NotFoundException),
    "an alias": ("RevokeGrant", {"KeyId": "alias/ExampleKey", "GrantId": "0" * 64}, NotFoundException),
    "nothing to retire": ("RetireGrant", {}, Invalid),
    "no grant to retire": ("RetireGrant", {"KeyId": ARN}, Invalid),
    "no key to retire on": ("RetireGrant", {"GrantId": "0" * 64}, Invalid),
    "token and pair": ("RetireGrant", {"KeyId": ARN, "GrantId": "0" * 64, "GrantToken": "x"}, Invalid),
    "no such grant to retire": ("RetireGrant", {"KeyId": ARN, "GrantId": "0" * 64}, NotFoundException),
    "no grant id to retire": ("RetireGrant", {"KeyId": ARN, "GrantId": "x"}, InvalidGrantIdException),
    "no ARN": ("RetireGrant", {"KeyId": "arn:aws:kms", "GrantId": "0" * 64}, InvalidArnException),
    "another Region": (
        "RetireGrant",
        {"KeyId": ARN.replace(demo.REGION, "eu-west-1"), "GrantId": "0" * 64},
        NotFoundException,
    ),
}


@pytest.mark.parametrize(("operation", "asked", "error"), REFUSED_ENDS.values(), ids=REFUSED_ENDS)
def test_ends_that_are_refused_end_nothing(operation: str, asked: dict[str, Any], error: type[KmsError]) -> None:
    create()
    with pytest.raises(error):
        call(operation, **asked)
    assert len(listed()) == 1


def test_a_dry_run_ends_nothing() -> None:
    made = create()
    pair = {"KeyId": ARN, "GrantId": made["GrantId"], "DryRun": True}
    for operation, asked in (
        ("RevokeGrant", pair),
        ("RetireGrant", pair),
        ("RetireGrant", {"GrantToken": made["GrantToken"], "DryRun": True}),
    ):
        with pytest.raises(DryRunOperationException):
            call(operation, **asked)
    assert len(listed()) == 1


def test_the_grant_of_another_key_is_not_revoked() -> None:
    made, key = create(), KmsKey.objects.get(key_id=KEY)
    key.pk, key.material, key.key_id = None, None, ids.new_key_id()
    key.save(force_insert=True)
    epochs.raise_epoch(demo.ACCOUNT)
    for operation in ("RevokeGrant", "RetireGrant"):
        with pytest.raises(NotFoundException):
            call(operation, KeyId=key.key_id, GrantId=made["GrantId"])
    assert listed(KeyId=key.key_id) == [] and len(listed()) == 1
