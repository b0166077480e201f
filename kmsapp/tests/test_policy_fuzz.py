"""Whatever is thrown at it: parsing ends in a policy or a PolicyError, and evaluating in a decision."""

from __future__ import annotations

import json
import random
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kmsapp.policy import documents, explanation
from kmsapp.policy.conditions import _NEGATED, _POSITIVE
from kmsapp.policy.documents import Document, Kind, parse
from kmsapp.policy.errors import PolicyError
from kmsapp.policy.evaluation import Named, Outcome, Policies, Request, evaluate
from kmsapp.tests.test_policy_cases import LINES

TEXTS = st.text(st.characters(exclude_categories=()), max_size=12)
NAMES = st.sampled_from(
    [*documents._ELEMENTS, "Version", "Id", "Statement", "AWS", "Service", "StringLike", "ForAllValues:Bool", "aws:x"]
)
WORDS = st.sampled_from(
    ["Allow", "Deny", "2012-10-17", "*", "kms:*", "arn:aws:iam::111122223333:root", "true", "${aws:username}", "${"]
)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXTS | WORDS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES | TEXTS, inner, max_size=4),
    max_leaves=12,
)
FUZZ = settings(
    max_examples=600,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


def parsed(text: str, kind: Kind) -> Document | None:
    try:
        return parse(text, kind)
    except PolicyError as error:
        assert error.aws_message and error.detail and error.line >= 1 and error.column >= 1
        return None


@FUZZ
@given(st.text(st.characters(exclude_categories=()) | st.sampled_from('{}[]",:\\u'), max_size=60))
def test_any_text(text: str) -> None:
    for kind in Kind:
        parsed(text, kind)


@FUZZ
@given(VALUES)
def test_any_json(value: Any) -> None:
    for kind in Kind:
        parsed(json.dumps(value), kind)


def test_policies_with_characters_changed() -> None:
    """10,000 policies of the cases, each with one to three changes."""
    chance = random.Random(1)  # noqa: S311
    found = [json.dumps(json.loads(line)["keyPolicy"], indent=1) for line in LINES]
    policies = [policy for policy in found if policy != "null"]
    taken = 0
    for _ in range(10_000):
        characters = list(chance.choice(policies))
        for _ in range(chance.randint(1, 3)):
            place = chance.randrange(len(characters))
            characters[place : place + chance.randint(0, 3)] = chance.choice(
                ['"', "{", "}", "[", "]", ",", ":", "*", "?", "${", "\\", "\\ud800", "\0", "é", "1e9", "null", ""]
            )
        taken += parsed("".join(characters), Kind.KEY) is not None
    print(f"10,000 changed policies: {taken} taken, the others refused")
    assert 100 < taken < 9_900


OPERATORS = st.builds(
    lambda quantifier, operator, if_exists: f"{quantifier}{operator}{if_exists}",
    st.sampled_from(["", "ForAllValues:", "ForAnyValue:"]),
    st.sampled_from([*_POSITIVE, *_NEGATED]),
    st.sampled_from(["", "IfExists"]),
)
KEYS = st.sampled_from(["aws:username", "AWS:USERNAME", "aws:SourceIp", "kms:ResourceAliases", "aws:CurrentTime"])
# Values that some operator takes: numbers, dates, addresses, base64, ARNs, variables.
TIMES = ["2027-03-01T12:00:00Z", "9999-12-31T23:59:59-23:59", "0001-01-01T00:00:00+23:59"]
VARIABLES = ["${aws:username}", "${aws:username, 'x'}", "${*}"]
PLAUSIBLE = st.sampled_from(
    [*TIMES, *VARIABLES, "1", "-1e999", "10.0.0.0/8", "::/0", "AAAA", "true", "arn:aws:iam::*:user/*", "a*?", ""]
)
CONTEXT_VALUES = PLAUSIBLE | TEXTS | st.lists(PLAUSIBLE | TEXTS, max_size=3)
STATEMENTS = st.fixed_dictionaries(
    {
        "Effect": st.sampled_from(["Allow", "Deny"]),
        "Action": st.sampled_from(["kms:*", "kms:Decrypt", ["kms:De?rypt", "s3:*"]]),
        "Resource": st.sampled_from(["*", "arn:aws:kms:*:*:key/${aws:username}", "arn:aws:kms:us-west-2:*"]),
        "Condition": st.dictionaries(
            OPERATORS, st.dictionaries(KEYS, PLAUSIBLE | st.lists(PLAUSIBLE, max_size=2), max_size=2), max_size=2
        ),
    }
)


def document(statements: list[dict[str, Any]], kind: Kind, **more: Any) -> Document | None:
    return parsed(json.dumps({"Version": "2012-10-17", "Statement": [one | more for one in statements]}), kind)


@FUZZ
@given(
    st.lists(STATEMENTS, min_size=1, max_size=3),
    st.lists(STATEMENTS, min_size=1, max_size=3),
    st.dictionaries(KEYS | TEXTS, CONTEXT_VALUES, max_size=6),
    st.sampled_from(["arn:aws:iam::111122223333:user/alice", "arn:aws:sts::111122223333:assumed-role/App/s", "", "x:"]),
    TEXTS,
)
def test_any_request(
    own: list[dict[str, Any]], others: list[dict[str, Any]], context: dict[str, Any], principal: str, resource: str
) -> None:
    key_policy = document(own, Kind.KEY, Principal={"AWS": ["111122223333", "arn:aws:iam::111122223333:user/alice"]})
    found = document(others, Kind.IDENTITY)
    named = [Named("p", found)] if found else []
    request = Request(principal, "", "111122223333", "kms:Decrypt", resource, "111122223333", context)
    policies = Policies(key_policy, named, named[0] if named else None, named)
    decision = evaluate(request, policies)
    assert decision.outcome in Outcome
    assert len(explanation.path(decision)) == 6
    if named and not decision.is_allowed:
        explanation.access_denied(decision)
