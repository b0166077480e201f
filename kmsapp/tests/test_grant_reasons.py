"""A grant that almost covers a call: the simulator says what it lacks, to those who may list the key's grants."""

from __future__ import annotations

from typing import Any

import pytest

from kmsapp.models import InlinePolicy, User
from kmsapp.tests.grant_world import ACCOUNT, ARN, KEY, TOPIC, create, rows
from kmsapp.tests.people import ALICE, MALLORY, call

__all__ = ["rows"]
pytestmark = pytest.mark.usefixtures("rows")

EQUALS: dict[str, Any] = {"Constraints": {"EncryptionContextEquals": {"team": "ledger", "stage": "prod"}}}
SUBSET: dict[str, Any] = {"Constraints": {"EncryptionContextSubset": {"stage": "prod"}}}
# What the grant to mallory says, what she would do and with which context, and the sentence behind "Grant <id> ".
REASONS: dict[str, tuple[dict[str, Any], str, dict[str, str], str]] = {
    "another context": (
        EQUALS,
        "Decrypt",
        {"stage": "prod"},
        "allows Decrypt, but only with the encryption context stage = prod, team = ledger.",
    ),
    "a context without a pair": (
        SUBSET,
        "Decrypt",
        {"team": "ledger"},
        "allows Decrypt, but only with an encryption context that has stage = prod.",
    ),
    "another operation": (
        {"Operations": ["Encrypt", "Decrypt"]},
        "DescribeKey",
        {},
        "is for Decrypt, Encrypt, not for DescribeKey.",
    ),
    "a service's resource": (
        {"Constraints": {"SourceArn": TOPIC}},
        "Decrypt",
        {},
        f"allows Decrypt, but only when an AWS service calls for {TOPIC}.",
    ),
    "a whole account": (
        {"GranteePrincipal": f"{ACCOUNT}:root"},
        "Decrypt",
        {},
        "allows Decrypt to the whole account, but an IAM policy must allow it to the caller, too.",
    ),
    "a grant of looser grants": (
        {"Operations": ["CreateGrant", "Decrypt"], **SUBSET},
        "CreateGrant",
        {},
        "allows CreateGrant, but only of grants for what it allows, under its constraints or stricter ones.",
    ),
}


def grants_step(action: str, context: dict[str, str]) -> dict[str, Any]:
    asked = {"KeyId": KEY, "PrincipalArn": MALLORY.principal_arn, "Action": f"kms:{action}"}
    answer = call("console:SimulateKeyAccess", ALICE, **asked, EncryptionContext=context)
    assert answer["Outcome"] == "implicitDeny"
    step: dict[str, Any] = answer["Steps"][-1]
    assert (step["Kind"], step["State"]) == ("grants", "failed")
    return step


@pytest.mark.parametrize(("grant", "action", "context", "reason"), REASONS.values(), ids=REASONS)
def test_the_simulator_says_what_a_grant_lacks(
    grant: dict[str, Any], action: str, context: dict[str, str], reason: str
) -> None:
    made = create(**{"GranteePrincipal": MALLORY.principal_arn, **grant})
    assert grants_step(action, context)["Sentence"] == f"Grant {made['GrantId']} {reason}"


def test_grants_to_others_are_not_told_of() -> None:
    create(**EQUALS)
    assert grants_step("Decrypt", {})["Sentence"] == "No grant covers the caller."


def test_those_that_allow_it_come_first_and_few_are_told() -> None:
    for _ in range(4):
        create(GranteePrincipal=MALLORY.principal_arn, Operations=["Encrypt"])
    made = create(GranteePrincipal=MALLORY.principal_arn, **EQUALS)
    sentence = grants_step("Decrypt", {})["Sentence"]
    assert sentence.startswith(f"Grant {made['GrantId']} allows Decrypt") and sentence.count("Grant ") == 3


def test_who_may_not_list_grants_is_not_told_what_they_say() -> None:
    create(GranteePrincipal=MALLORY.principal_arn, **EQUALS)
    document = """{"Version": "2012-10-17", "Statement":
        {"Effect": "Deny", "Action": "kms:ListGrants", "Resource": "*"}}"""
    InlinePolicy.objects.create(user=User.objects.get(user_id=ALICE.principal_id), name="no", document=document)
    assert grants_step("Decrypt", {})["Sentence"] == "No grant covers the caller."


def test_the_denial_itself_tells_nothing_of_it() -> None:
    create(GranteePrincipal=MALLORY.principal_arn, Operations=["DescribeKey"], **EQUALS)
    with pytest.raises(Exception, match="because no identity-based policy allows") as denied:
        call("ListGrants", MALLORY, KeyId=ARN)
    assert "ledger" not in str(denied.value) and "Grant " not in str(denied.value)
