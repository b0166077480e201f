"""Requests that no client would send, against the running server: AWS's error of that name, and never a 500."""

from __future__ import annotations

import datetime
import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hsmapp import clock
from kmsapp.testing import ROOT, Casemate
from kmsapp.tests.refusals import refusal
from kmsapp.tests.server_logs import no_bug
from kmsapp.tests.signed_http import CONTENT_TYPE, post, send

PAYLOADS = ROOT.parent / "shared" / "data" / "payloads"
DEMO_KEY = "1234abcd-12ab-34cd-56ef-1234567890ab"


@pytest.fixture(autouse=True)
def the_server_meets_no_bug_of_its_own(casemate: Casemate) -> Iterator[None]:
    with no_bug(casemate):
        yield


BODIES: dict[str, tuple[bytes, str]] = {
    "an open bracket": (b"{", "SerializationException"),
    "no JSON": (b"Action=ListKeys", "SerializationException"),
    "NaN": (b'{"Limit": NaN}', "SerializationException"),
    "Infinity": (b'{"Limit": -Infinity}', "SerializationException"),
    "a number past all doubles": (b'{"Limit": 1e999}', "SerializationException"),
    "a number of 10,000 digits": (b'{"Limit": ' + b"9" * 10_000 + b"}", "SerializationException"),
    "a number with a fraction": (b'{"Limit": 1.5}', "SerializationException"),
    "text for a number": (b'{"Limit": "1"}', "SerializationException"),
    "100,000 nested lists": (b"[" * 100_000 + b"]" * 100_000, "SerializationException"),
    "100,000 nested objects": (b'{"a":' * 100_000 + b"1" + b"}" * 100_000, "SerializationException"),
    "100,000 open brackets": (b'{"Marker": ' + b"[" * 100_000, "SerializationException"),
    "a list": (b"[]", "SerializationException"),
    "null": (b"null", "SerializationException"),
    "a string": (b'"ListKeys"', "SerializationException"),
    "no UTF-8": (b'{"Marker": "\xff"}', "SerializationException"),
    "UTF-16": ('{"Limit": 1}'.encode("utf-16"), "SerializationException"),
    "a byte order mark": (b'\xef\xbb\xbf{"Limit": 1}', "SerializationException"),
    "a member twice": (b'{"Limit": 1, "Limit": 2}', "SerializationException"),
    "a NUL": (b'{"Marker": "\\u0000"}', "ValidationException"),
    "a lone surrogate": (b'{"Marker": "\\ud800"}', "ValidationException"),
    "a marker of somebody else's": (b'{"Marker": "AAAA"}', "InvalidMarkerException"),
    "10 MB": (b'{"Marker": "' + b"x" * 10_000_000 + b'"}', "RequestEntityTooLargeException"),
}


@pytest.mark.parametrize(("body", "code"), BODIES.values(), ids=BODIES)
def test_a_bad_body_is_refused_by_name(casemate: Casemate, body: bytes, code: str) -> None:
    answer = post(casemate, body)
    assert (answer.code, answer.status) == (code, 413 if code.startswith("RequestEntity") else 400), answer.body[:500]
    assert len(answer.body) < 1000, "an answer does not repeat what was sent"


def test_a_bad_signature_is_refused(casemate: Casemate) -> None:
    cases = {
        "another secret": post(casemate, b"{}", secret="x" * 40),
        "another service": post(casemate, b"{}", service="sts"),
        "body changed after signing": _changed_body(casemate),
        "header changed after signing": post(casemate, b"{}", after_signing={"X-Amz-Date": "20260101T000000Z"}),
    }
    assert {name: (answer.status, answer.code) for name, answer in cases.items()} == dict.fromkeys(
        cases, (400, "InvalidSignatureException")
    )


def _changed_body(casemate: Casemate) -> Any:
    sent: dict[str, str] = {}
    answer = post(casemate, b'{"Limit": 1}', target="TrentService.ListKeys", sent=sent)
    assert answer.status == 200, "the request itself is good"
    return send(casemate, b'{"Limit": 2}', sent)


@pytest.mark.parametrize("minutes", [-60 * 24 * 365, -16, -6, 6, 16], ids=lambda minutes: f"{minutes} minutes")
def test_a_stale_or_future_date_is_refused(casemate: Casemate, minutes: int) -> None:
    answer = post(casemate, b"{}", at=clock.now() + datetime.timedelta(minutes=minutes))
    assert (answer.status, answer.code) == (400, "InvalidSignatureException")
    assert b"Signature expired" in answer.body or b"Signature not yet current" in answer.body
    near = post(casemate, b"{}", at=clock.now() + datetime.timedelta(minutes=4 if minutes > 0 else -4))
    assert near.status == 200


TARGETS = {
    "an operation AWS has not": ("TrentService.MakeTea", "UnknownOperationException"),
    "a service AWS has not": ("Teapot.ListKeys", "UnknownOperationException"),
    "no operation": ("TrentService", "UnknownOperationException"),
    "empty after the point": ("TrentService.", "UnknownOperationException"),
    "a name of ours": ("TrentService.CreateKeyWithAlias", "UnknownOperationException"),
    "another case": ("TrentService.listkeys", "UnknownOperationException"),
    "an attribute of Python's": ("TrentService.__class__", "UnknownOperationException"),
    "an operation not built": ("TrentService.ReplicateKey", "UnsupportedOperationException"),
}


@pytest.mark.parametrize(("target", "code"), TARGETS.values(), ids=TARGETS)
def test_an_unknown_target_is_refused_by_name(casemate: Casemate, target: str, code: str) -> None:
    body = {"KeyId": DEMO_KEY, "ReplicaRegion": "eu-central-1"} if code.startswith("Unsupported") else {}
    answer = post(casemate, body, target=target)
    assert (answer.status, answer.code) == (400, code), answer.body


UNSIGNED: dict[str, tuple[dict[str, str], str]] = {
    "no signature": ({}, "MissingAuthenticationTokenException"),
    "half a signature": ({"Authorization": "AWS4-HMAC-SHA256 Credential=x"}, "IncompleteSignatureException"),
    "an unknown access key": (
        {
            "Authorization": "AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/{date}/us-west-2/kms/aws4_request, "
            "SignedHeaders=content-type;host;x-amz-date;x-amz-target, Signature=" + "0" * 64,
            "X-Amz-Date": "{date}T{time}Z",
        },
        "UnrecognizedClientException",
    ),
}


@pytest.mark.parametrize(("headers", "code"), UNSIGNED.values(), ids=UNSIGNED)
def test_a_request_without_a_right_signature_is_refused_by_name(
    casemate: Casemate, headers: dict[str, str], code: str
) -> None:
    now = clock.now()
    filled = {name: text.format(date=f"{now:%Y%m%d}", time=f"{now:%H%M%S}") for name, text in headers.items()}
    answer = send(casemate, b"{}", {"X-Amz-Target": "TrentService.ListKeys", "Content-Type": CONTENT_TYPE, **filled})
    assert (answer.status, answer.code) == (400, code), answer.body


def json_files() -> list[Path]:
    return sorted((PAYLOADS / "JSONTestSuite" / "test_parsing").glob("*.json"))


@pytest.mark.parametrize("name", ["JSONTestSuite"] if json_files() else [])
def test_every_file_of_the_json_test_suite_gets_an_answer_on_purpose(casemate: Casemate, name: str) -> None:
    """Its n_ files are no JSON: SerializationException. The others are JSON or may be, hardly ever an object."""
    counts: Counter[str] = Counter()
    for file in json_files():
        answer = post(casemate, file.read_bytes())
        counts[answer.code or "accepted"] += 1
        if file.name.startswith("n_"):
            # A body of no bytes is no parameters: AWS takes it as {}.
            wanted = "" if file.stat().st_size == 0 else "SerializationException"
            assert (answer.code, answer.status) == (wanted, 400 if wanted else 200), file.name
        assert answer.status < 500, file.name
    print(f"{name}: {counts.total()} bodies: {dict(counts)}")


def naughty_strings() -> list[str]:
    file = PAYLOADS / "blns.json"
    return json.loads(file.read_text()) if file.exists() else []


@pytest.mark.parametrize("name", ["big list of naughty strings"] if naughty_strings() else [])
def test_naughty_strings_are_refused_or_kept_as_they_are(casemate: Casemate, name: str) -> None:
    kms = casemate.boto3("kms", parameter_validation=False)
    counts: Counter[str] = Counter()
    for text in naughty_strings():
        refused = refusal(kms.describe_key, KeyId=text)
        assert refused is not None and refused.status == 400, text
        counts[refused.code] += 1
        context = {"text": text, text: "key"}
        refused = refusal(kms.encrypt, KeyId=DEMO_KEY, Plaintext=b"x", EncryptionContext=context)
        if refused is not None:
            assert (refused.code, refused.status) == ("ValidationException", 400), text
            continue
        blob = kms.encrypt(KeyId=DEMO_KEY, Plaintext=b"x", EncryptionContext=context)["CiphertextBlob"]
        assert kms.decrypt(CiphertextBlob=blob, EncryptionContext=context)["Plaintext"] == b"x"
        counts["round trips as an encryption context"] += 1
    print(f"{name}: {len(naughty_strings())} strings: {dict(counts)}")
