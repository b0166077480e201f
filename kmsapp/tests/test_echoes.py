"""Whatever is sent, an error message and the audit record repeat a bounded part of it."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from kmsapp import audit, denials, dispatch
from kmsapp.call import Call
from kmsapp.errors import LONGEST_MESSAGE, AccessDeniedException, KmsError
from kmsapp.tests.iam_world import ADMINISTRATOR, POLICY, ROOT, fill, iam, trust
from kmsapp.tests.people import ALICE
from kmsapp.tests.wire_requests import FORM, environ_of, send

pytestmark = pytest.mark.django_db

HUGE = 100_000
ARN = f"arn:aws:iam::{ALICE.account}:user/{'x' * HUGE}"


@pytest.fixture(autouse=True)
def world(monkeypatch: pytest.MonkeyPatch) -> None:
    fill(monkeypatch)


def policy(**statement: Any) -> str:
    whole = {"Effect": "Allow", "Action": "*", "Resource": "*", **statement}
    return json.dumps({"Version": "2012-10-17", "Statement": [whole]})


def made(document: str) -> Any:
    return iam("CreatePolicy", PolicyName="p", PolicyDocument=document)


def simulated(**params: Any) -> Any:
    return iam("SimulateCustomPolicy", **{"PolicyInputList": [POLICY], "ActionNames": ["kms:Decrypt"], **params})


REPEATING: dict[str, Callable[[], Any]] = {
    "a resource": lambda: made(policy(Resource="x" * HUGE)),
    "a partition": lambda: made(policy(Resource=f"arn:{'x' * HUGE}:kms:us-west-2:1:key/1")),
    "a vendor": lambda: made(policy(Action=f"{'é' * HUGE}:x")),
    "a condition key": lambda: made(policy(Condition={"Bool": {ARN: "1"}})),
    "who is trusted": lambda: iam("CreateRole", RoleName="r", AssumeRolePolicyDocument=trust(ARN)),
    "a policy that is simulated": lambda: simulated(PolicyInputList=[policy(Resource="x" * HUGE)]),
    "a policy by its text": lambda: iam("CreatePolicy", PolicyName="p", PolicyDocument="\u0100" * HUGE),
    "a name": lambda: iam("GetUser", UserName="x" * HUGE),
    "a tag": lambda: iam("TagUser", UserName="alice", Tags=[{"Key": "x" * HUGE, "Value": "x"}] * 500),
    "an ARN": lambda: iam("AttachUserPolicy", UserName="alice", PolicyArn=ADMINISTRATOR + "x" * HUGE),
    "keys of a context": lambda: dispatch.call(
        ROOT, "kms:Encrypt", {"KeyId": "x", "Plaintext": b"x", "EncryptionContext": {"x" * HUGE: None}}
    ),
    "a principal that could not call": lambda: dispatch.call(
        ROOT, "console:SimulateKeyAccess", {"KeyId": "x" * HUGE, "PrincipalArn": ARN, "Action": "kms:Decrypt"}
    ),
}


@pytest.mark.parametrize("ask", REPEATING.values(), ids=REPEATING)
def test_a_message_repeats_a_part_of_what_was_sent(ask: Callable[[], Any]) -> None:
    with pytest.raises(KmsError) as error:
        ask()
    assert 0 < len(error.value.message) <= LONGEST_MESSAGE + len("...")
    assert str(error.value) == error.value.message


@pytest.mark.parametrize("body", [b"Action=" + b"<" * 900_000, b"Action=x&Version=" + b"<" * 900_000])
def test_nobody_who_has_not_signed_gets_back_what_they_sent(body: bytes) -> None:
    answer = send(environ_of(body, FORM))
    assert answer.status == 400 and len(answer.body) < 5 * LONGEST_MESSAGE


# https://docs.aws.amazon.com/awscloudtrail/latest/userguide/cloudtrail-event-reference-record-contents.html


def event(parameters: dict[str, Any], error: KmsError | None = None) -> dict[str, Any]:
    call = Call(ALICE, "kms", "Decrypt", {}, "id", read_only=True, audit_parameters=parameters)
    return audit.event(call, error=error)


def test_the_record_holds_no_more_than_cloudtrail_does() -> None:
    assert event({"keyId": "x" * 1000})["requestParameters"] == {"keyId": "x" * 1000}
    shown = event({"encryptionContext": {"a": "x" * HUGE, "b": "x" * HUGE}})["requestParameters"]
    assert shown.pop("originalSize") > 2 * HUGE
    assert shown == {"omitted": True, "reason": "requestParameters too large"}
    assert len(event({}, AccessDeniedException("x" * HUGE))["errorMessage"]) == 1024


def test_a_denial_is_read_from_its_record_however_long_its_resource() -> None:
    resource = f"arn:aws:kms:us-west-2:{ALICE.account}:alias/{'x' * 256}"
    sentence = denials.foreign(Call(ALICE, "kms", "Decrypt", {}, "id", read_only=True), "kms:Decrypt", resource)
    denied = denials.of_event(event({}, sentence))
    assert denied is not None and denied.resource == resource
