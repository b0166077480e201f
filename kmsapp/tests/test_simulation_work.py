"""One simulation keeps no web worker for long: what it may be given, and pages that end early."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from kmsapp.iam.simulation_work import MOST_CHARACTERS
from kmsapp.tests.iam_world import fill, iam, refused

pytestmark = pytest.mark.django_db

MOST_SECONDS = 3.0  # of processor time; the slowest takes less than one, without anybody else
ALLOW: dict[str, Any] = {"Effect": "Allow", "Action": "*", "Resource": "*"}
LONG = "a" * 2000


@pytest.fixture(autouse=True)
def world(monkeypatch: pytest.MonkeyPatch) -> None:
    fill(monkeypatch)


def policy(*statements: dict[str, Any]) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": list(statements)}, separators=(",", ":"))


def largest(statement: dict[str, Any]) -> str:
    """A policy of as many of these statements as one of the model's size can have."""
    return policy(*[statement] * (131_000 // (len(policy(statement)) - 37)))


def where(operator: str, *values: str) -> dict[str, Any]:
    return {**ALLOW, "Condition": {operator: {"aws:a": list(values)}}}


def of(resource: str) -> dict[str, Any]:
    return {**ALLOW, "Resource": resource}


def given(*values: str) -> list[dict[str, Any]]:
    return [{"ContextKeyName": "aws:a", "ContextKeyValues": list(values), "ContextKeyType": "stringList"}]


def simulate(*policies: str, actions: int = 1, **params: Any) -> dict[str, Any]:
    names = [f"kms:A{number}" for number in range(actions)]
    return iam("SimulateCustomPolicy", PolicyInputList=list(policies), ActionNames=names, **params)


SLOW: dict[str, tuple[list[str], dict[str, Any]]] = {
    "statements that all apply": ([largest(ALLOW)] * 2, {}),
    "patterns of actions": ([policy({**ALLOW, "Action": [f"kms:*{n}b" for n in range(8000)]})] * 2, {}),
    "patterns of long resources": (
        [largest(of("arn:aws:kms:*:1:a*b"))] * 2,
        {"ResourceArns": [f"arn:aws:kms:x:1:{LONG}"] * 90},
    ),
    "addresses": (
        [policy(where("IpAddress", *[f"10.{n % 250}.{n // 250}.0/24" for n in range(7000)]))] * 2,
        {"ContextEntries": given("::1")},
    ),
    "parts of ARNs": (
        [policy(where("ArnLike", *[f"arn:aws:kms:*:{n}:*" for n in range(5000)]))] * 2,
        {"ContextEntries": given(f"arn:aws:kms:us-west-2:1:{LONG}")},
    ),
}


@pytest.mark.parametrize(("policies", "params"), SLOW.values(), ids=SLOW)
def test_a_page_ends_in_time(policies: list[str], params: dict[str, Any]) -> None:
    began = time.process_time()
    answer = simulate(*policies, actions=900, MaxItems=1000, **params)
    spent = time.process_time() - began
    assert spent < MOST_SECONDS
    assert 0 < len(answer["EvaluationResults"]) < 900 and answer["IsTruncated"]
    print(f"{len(answer['EvaluationResults'])} results in {spent:.1f} s")


TOO_MUCH: dict[str, tuple[list[str], dict[str, Any]]] = {
    "three policies of the model's size": ([largest(ALLOW)] * 3, {}),
    "question marks in long resources": (
        [largest(of("arn:aws:kms:*:1:a?b*c"))] * 2,
        {"ResourceArns": [f"arn:aws:kms:x:1:{LONG}"]},
    ),
    "question marks and a long value": ([largest(where("StringLike", "*a?b"))], {"ContextEntries": given(LONG * 250)}),
    "many values": ([largest(where("ForAnyValue:StringLike", "*ab*ac"))], {"ContextEntries": given(*["a" * 20] * 900)}),
    "variables that are long": (
        [policy(*[of(f"arn:aws:kms:x:1:{n}*${{aws:a}}") for n in range(1200)])],
        {"ContextEntries": given(LONG * 50)},
    ),
}


@pytest.mark.parametrize(("policies", "params"), TOO_MUCH.values(), ids=TOO_MUCH)
def test_what_is_too_much_at_once_is_refused(policies: list[str], params: dict[str, Any]) -> None:
    began = time.process_time()
    code, message = refused(lambda: simulate(*policies, **params))
    assert code == "InvalidInput" and ("too much work" in message or str(MOST_CHARACTERS) in message)
    assert time.process_time() - began < MOST_SECONDS


def test_pages_that_ended_early_have_every_result_once() -> None:
    found: list[str] = []
    marker: dict[str, str] = {}
    text, pages = policy(*[ALLOW] * 1000), 0
    while True:
        answer = simulate(text, actions=60, MaxItems=1000, **marker)
        found += [result["EvalActionName"] for result in answer["EvaluationResults"]]
        pages += 1
        if not answer["IsTruncated"]:
            break
        marker = {"Marker": answer["Marker"]}
    assert found == [f"kms:A{number}" for number in range(60)] and pages > 1


def test_what_people_ask_is_on_one_page() -> None:
    statement = {**ALLOW, "Action": "kms:A*", "Resource": ["arn:aws:kms:us-west-2:111122223333:key/*"]}
    resources = [f"arn:aws:kms:us-west-2:111122223333:key/{number}" for number in range(10)]
    answer = simulate(*[policy(*[statement] * 5)] * 10, actions=10, ResourceArns=resources)
    assert len(answer["EvaluationResults"]) == 100 and not answer["IsTruncated"]
