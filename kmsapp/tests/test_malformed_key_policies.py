"""A9: a text that is no key policy changes nothing, and one made to be slow is refused or decided at once.

Over the wire. What the reader of policies makes of some 110 more texts: test_policy_documents.py.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from kmsapp.testing import Casemate
from kmsapp.tests.refusals import refusal
from kmsapp.tests.remains import nothing_remains, query
from kmsapp.tests.wire_world import ACCOUNT, DENIED, IN_STORE, World, document, key_policy, to, where

MALFORMED = "MalformedPolicyDocumentException"
BOB = f"arn:aws:iam::{ACCOUNT}:user/bob"
PLAIN = key_policy()
WILD = "*?" * 5000
# A text that is gone through again and again would take minutes and hours.
AT_MOST_SECONDS = 5.0


def of_size(size: int) -> str:
    text = PLAIN[:-1] + ', "Id": ""}'
    return text[:-2] + "x" * (size - len(text)) + text[-2:]


TEXTS: dict[str, tuple[str, str]] = {
    "no JSON": ("{", MALFORMED),
    "an effect twice": (PLAIN.replace('"Effect"', '"Effect": "Deny", "Effect"', 1), MALFORMED),
    "the statements twice": (PLAIN[:-1] + ', "Statement": []}', MALFORMED),
    "32,769 bytes": (of_size(32_769), "LimitExceededException"),
    "131,073 bytes": (of_size(131_073), "ValidationException"),
    "32,000 brackets": ("[" * 16_000 + "]" * 16_000, MALFORMED),
    "a number of 20,000 digits": (PLAIN.replace('"2012-10-17"', "1" * 20_000), MALFORMED),
    "no principal": (document({"Effect": "Allow", "Action": "kms:*", "Resource": "*"}), MALFORMED),
    "a user that is not there": (key_policy(to(BOB + "x")), MALFORMED),
    "a group": (key_policy(to(f"arn:aws:iam::{ACCOUNT}:group/KeyUsers")), MALFORMED),
    "wildcards for a principal": (key_policy(to(WILD)), MALFORMED),
    "an unknown operator": (key_policy(to(BOB, **where(WILD, "aws:username", "x"))), MALFORMED),
    "ForAllValues of one value": (
        key_policy(to(BOB, **where("ForAllValues:StringEquals", "aws:RequestTag/a", "b"))),
        MALFORMED,
    ),
}


@pytest.fixture(scope="module")
def world(casemate: Casemate) -> World:
    return World.of(casemate)


@pytest.fixture(scope="module")
def key(world: World) -> str:
    return world.key()


@pytest.mark.parametrize(("text", "code"), TEXTS.values(), ids=TEXTS)
def test_what_is_no_policy_changes_nothing_and_is_recorded(world: World, key: str, text: str, code: str) -> None:
    kms = world.casemate.boto3("kms", parameter_validation=False)
    world.kms.put_key_policy(KeyId=key, Policy=PLAIN)
    before, records = state(world, key), refusals_recorded(world.casemate, code)
    calls: dict[str, Callable[[], Any]] = {
        "PutKeyPolicy": lambda: refusal(kms.put_key_policy, KeyId=key, Policy=text),
        "CreateKey": lambda: refusal(kms.create_key, **IN_STORE, Policy=text),
    }
    with nothing_remains(world.casemate):
        for call in calls.values():
            started = time.monotonic()
            found = call()
            assert time.monotonic() - started < AT_MOST_SECONDS
            assert (found.code, found.status) == (code, 400), found
    assert state(world, key) == before
    world.casemate.wait_until(
        lambda: refusals_recorded(world.casemate, code) - records == dict.fromkeys(calls, 1), "both records"
    )


def state(world: World, key: str) -> tuple[str, int]:
    """The key's policy, and the account's epoch, which any change raises."""
    epoch = query(world.casemate, "SELECT number FROM hsmapp_epoch WHERE account = ?", ACCOUNT)[0][0]
    return world.kms.get_key_policy(KeyId=key)["Policy"], epoch


def refusals_recorded(casemate: Casemate, code: str) -> Counter[str]:
    """How many calls of each name the records have that were refused so; a job copies them from its files."""
    found = "SELECT event_name, count(*) FROM kmsapp_auditevent WHERE error_code = ? GROUP BY event_name"
    return Counter(dict(query(casemate, found, code)))


PATTERNS: dict[str, dict[str, Any]] = {
    "actions": {"Action": ["kms:" + WILD, "kms:DescribeKey"]},
    "an action": {"Action": "kms:" + WILD},
    "a resource": {"Resource": WILD + "x"},
    "a condition": where("StringLike", "aws:PrincipalArn", WILD + "x"),
    "a condition on an ARN": where("ArnLike", "aws:PrincipalArn", f"arn:aws:iam::*:{WILD}x"),
    "letters between": where("StringLike", "aws:PrincipalArn", "*a?" * 3_300 + "!"),
}


@pytest.mark.parametrize("elements", PATTERNS.values(), ids=PATTERNS)
def test_a_pattern_of_ten_thousand_characters_is_taken_and_decided_at_once(
    world: World, key: str, elements: dict[str, Any]
) -> None:
    policy = key_policy(to("*", **elements))
    mallory = world.casemate.boto3("kms", "mallory")
    calls: list[Callable[[], Any]] = [
        lambda: refusal(world.kms.put_key_policy, KeyId=key, Policy=policy),
        *[lambda: refusal(mallory.describe_key, KeyId=key)] * 2,
    ]
    took = []
    for call in calls:
        started = time.monotonic()
        found = call()
        took.append(time.monotonic() - started)
        assert found is None or found.code == DENIED, found
    print(f"put in {took[0] * 1000:.0f} ms, decided in {took[1] * 1000:.0f} and {took[2] * 1000:.0f} ms")
    assert max(took) < AT_MOST_SECONDS
