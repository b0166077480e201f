"""A9: a key policy that keeps the caller from changing it again is refused, unless the caller bypasses the check.

Over the wire. What is no policy at all: test_malformed_key_policies.py.
https://docs.aws.amazon.com/kms/latest/APIReference/API_PutKeyPolicy.html
"""

from __future__ import annotations

from typing import Any

import pytest

from kmsapp.testing import Casemate
from kmsapp.tests.refusals import Refusal, refusal
from kmsapp.tests.remains import nothing_remains
from kmsapp.tests.wire_world import ACCOUNT, DENIED, IN_STORE, OTHER_ACCOUNT, ROOT, World, allow, document, to, where

LOCKED_OUT = Refusal(
    "MalformedPolicyDocumentException",
    "The new key policy will not allow you to update the key policy in the future.",
    400,
)
ALICE, BOB = (f"arn:aws:iam::{ACCOUNT}:user/{name}" for name in ("alice", "bob"))
PUT = "kms:PutKeyPolicy"
PLAIN = document(to(ROOT))
BYPASS = "kms:BypassPolicyLockoutSafetyCheck"

# What alice puts, whose own policies allow her everything.
EXCLUDING: dict[str, list[dict[str, Any]]] = {
    "names somebody else": [to(BOB)],
    "leaves it to another account": [to(OTHER_ACCOUNT)],
    "allows her everything but that": [to(ALICE, ["kms:Get*", "kms:Create*", "kms:Encrypt"])],
    "allows the account everything but that": [to(ROOT, ["kms:Get*", "kms:List*"])],
    "allows her where she is not": [to(ALICE, **where("IpAddress", "aws:SourceIp", "203.0.113.0/24"))],
    "allows the account where she is not": [to(ROOT, **where("IpAddress", "aws:SourceIp", "203.0.113.0/24"))],
    "allows the account over TLS": [to(ROOT, **where("Bool", "aws:SecureTransport", "true"))],
    "allows her until a day that is past": [
        to(ALICE, **where("DateLessThan", "aws:CurrentTime", "2020-01-01T00:00:00Z"))
    ],
    "denies it to her": [to(ROOT), to(ALICE, PUT, effect="Deny")],
    "denies it to everyone": [to(ROOT), to("*", PUT, effect="Deny")],
    "denies it to all but bob": [to(ROOT), allow(PUT, effect="Deny", NotPrincipal={"AWS": [BOB, ACCOUNT]})],
    "is about another key": [to(ROOT, Resource=f"arn:aws:kms:us-west-2:{ACCOUNT}:key/{'0' * 36}")],
    "allows her in a statement without a resource": [
        {"Effect": "Allow", "Principal": {"AWS": ALICE}, "Action": "kms:*"},
        to(BOB),
    ],
}
KEEPING: dict[str, list[dict[str, Any]]] = {
    "leaves it to the account": [to(ROOT)],
    "names her": [to(ALICE, PUT), to(BOB, "kms:Encrypt")],
    "names everyone": [to("*")],
    "allows her where she is": [to(ALICE, **where("IpAddress", "aws:SourceIp", "127.0.0.0/8"))],
    "denies it to another": [to(ROOT), to(BOB, PUT, effect="Deny")],
}


@pytest.fixture(scope="module")
def world(casemate: Casemate) -> World:
    return World.of(casemate)


def policy_of(world: World, key_arn: str) -> str:
    return str(world.kms.get_key_policy(KeyId=key_arn)["Policy"])


def is_denied(found: Refusal | None) -> bool:
    return found is not None and found.code == DENIED


@pytest.mark.parametrize("statements", EXCLUDING.values(), ids=EXCLUDING)
def test_a_policy_that_excludes_the_caller_is_refused_unless_the_check_is_bypassed(
    world: World, statements: list[dict[str, Any]]
) -> None:
    policy, key_arn = document(*statements), world.key()
    before = policy_of(world, key_arn)
    for sent in ({}, {"BypassPolicyLockoutSafetyCheck": False}):
        assert refusal(world.kms.put_key_policy, KeyId=key_arn, Policy=policy, **sent) == LOCKED_OUT
    with nothing_remains(world.casemate):
        assert refusal(world.kms.create_key, **IN_STORE, Policy=policy) == LOCKED_OUT
    assert policy_of(world, key_arn) == before
    bypassed = {"Policy": policy, "BypassPolicyLockoutSafetyCheck": True}
    world.kms.put_key_policy(KeyId=key_arn, **bypassed)
    # It was meant: she is locked out.
    assert is_denied(refusal(world.kms.put_key_policy, KeyId=key_arn, Policy=before))
    assert world.kms.create_key(**IN_STORE, **bypassed)["KeyMetadata"]["Enabled"]


@pytest.mark.parametrize("statements", KEEPING.values(), ids=KEEPING)
def test_a_policy_that_keeps_the_caller_is_taken(world: World, statements: list[dict[str, Any]]) -> None:
    policy, key_arn = document(*statements), world.key()
    for _ in range(2):
        world.kms.put_key_policy(KeyId=key_arn, Policy=policy)
    world.kms.put_key_policy(KeyId=key_arn, Policy=PLAIN)
    world.kms.create_key(**IN_STORE, Policy=policy)


def test_the_callers_own_right_counts_where_the_policy_leaves_it_to_the_account(world: World) -> None:
    deputy = world.user(allow("kms:CreateKey"))
    kms = world.client(deputy)
    assert refusal(kms.create_key, **IN_STORE, Policy=PLAIN) == LOCKED_OUT
    key_arn = world.key(to(deputy.arn, PUT))
    assert refusal(kms.put_key_policy, KeyId=key_arn, Policy=PLAIN) == LOCKED_OUT
    named = document(to(ROOT), to(deputy.arn, PUT))
    kms.put_key_policy(KeyId=key_arn, Policy=named)
    kms.create_key(**IN_STORE, Policy=named)
    more = document(allow(["kms:CreateKey", PUT]))
    world.iam.put_user_policy(UserName=deputy.name, PolicyName="own", PolicyDocument=more)
    kms.create_key(**IN_STORE, Policy=PLAIN)
    kms.put_key_policy(KeyId=key_arn, Policy=PLAIN)


def test_a_root_user_can_not_put_another_user_in_the_place_of_the_account(world: World) -> None:
    kms, key_arn = world.casemate.boto3("kms", person=f"root of {ACCOUNT}"), world.key()
    others = document(to(BOB))
    assert refusal(kms.put_key_policy, KeyId=key_arn, Policy=others) == LOCKED_OUT
    assert refusal(kms.create_key, **IN_STORE, Policy=others) == LOCKED_OUT
    kms.put_key_policy(KeyId=key_arn, Policy=document(to(ROOT), to(BOB)))


def test_a_session_that_locks_its_role_out_is_refused(world: World) -> None:
    _, role = world.role()
    kms, key_arn = world.client(world.session(role)), world.key(to(role, PUT))
    assert refusal(kms.put_key_policy, KeyId=key_arn, Policy=PLAIN) == LOCKED_OUT
    kms.put_key_policy(KeyId=key_arn, Policy=document(to(ROOT), to(role, PUT)))


# Further statements for a user, and which calls they allow: one that does not send the flag, sends false, sends true.
# https://docs.aws.amazon.com/kms/latest/developerguide/conditions-kms.html
BY_THE_FLAG: dict[str, tuple[list[dict[str, Any]], str]] = {
    "denied with the flag set": ([{}, {"effect": "Deny", **where("Bool", BYPASS, "true")}], "++-"),
    "denied with the flag": ([{}, {"effect": "Deny", **where("Null", BYPASS, "false")}], "+--"),
    "allowed with the flag set": ([where("Bool", BYPASS, "true")], "--+"),
    "allowed without the flag": ([where("Null", BYPASS, "true")], "+--"),
}
SENT: tuple[dict[str, Any], ...] = (
    {},
    {"BypassPolicyLockoutSafetyCheck": False},
    {"BypassPolicyLockoutSafetyCheck": True},
)


@pytest.mark.parametrize(("elements", "allowed"), BY_THE_FLAG.values(), ids=BY_THE_FLAG)
def test_a_key_policy_says_who_may_bypass_the_check(world: World, elements: list[dict[str, Any]], allowed: str) -> None:
    user = world.user()
    statements = [to(user.arn, PUT, **one) for one in elements]
    kms, key_arn = world.client(user), world.key(*statements)
    policy = policy_of(world, key_arn)
    found = [refusal(kms.put_key_policy, KeyId=key_arn, Policy=policy, **sent) for sent in SENT]
    assert "".join("-" if is_denied(one) else "+" for one in found) == allowed


@pytest.mark.parametrize(("elements", "allowed"), BY_THE_FLAG.values(), ids=BY_THE_FLAG)
def test_an_iam_policy_says_who_may_make_keys_without_the_check(
    world: World, elements: list[dict[str, Any]], allowed: str
) -> None:
    user = world.user(allow(PUT), *(allow("kms:CreateKey", **one) for one in elements))
    kms = world.client(user)
    found = [refusal(kms.create_key, **IN_STORE, Policy=PLAIN, **sent) for sent in SENT]
    assert "".join("-" if is_denied(one) else "+" for one in found) == allowed
