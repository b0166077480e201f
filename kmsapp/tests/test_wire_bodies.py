"""Bodies of the wire: how much is read, what a wrong length does, and forms that no client sends."""

from __future__ import annotations

import json

import pytest

from kmsapp.tests.wire_requests import (
    CALLER_IDENTITY,
    OnlyRead,
    Operations,
    send,
    signed_environ,
    sts_environ,
)
from kmsapp.wire import handler


def test_a_body_is_read_to_its_length_and_one_without_a_length_to_its_end() -> None:
    body = json.dumps({"Description": "x" * 20_000}).encode()
    for length in (str(len(body)), ""):
        operations = Operations({})
        environ = signed_environ(body, target="TrentService.CreateKey") | {"CONTENT_LENGTH": length}
        assert send(environ, operations).status == 200
        assert operations.calls[0][2] == {"Description": "x" * 20_000}


def test_a_body_over_the_limit_is_refused_and_read_away() -> None:
    body = b"x" * (handler.MAX_BODY_BYTES + 1)
    for length in (str(len(body)), ""):
        environ = signed_environ(body) | {"CONTENT_LENGTH": length}
        answer = send(environ)
        assert (answer.status, answer.document["__type"]) == (413, "RequestEntityTooLargeException")
        assert environ["wsgi.input"].given == len(body)


def test_a_body_at_the_limit_is_parsed() -> None:
    frame = len(json.dumps({"Description": ""}))
    body = json.dumps({"Description": "x" * (handler.MAX_BODY_BYTES - frame)}).encode()
    assert len(body) == handler.MAX_BODY_BYTES
    assert send(signed_environ(body, target="TrentService.CreateKey"), Operations({})).status == 200


def test_a_body_cut_short_does_not_fit_its_signature() -> None:
    environ = signed_environ(b'{"Limit":5}') | {"wsgi.input": OnlyRead(b'{"Lim')}
    assert send(environ).document["__type"] == "InvalidSignatureException"


@pytest.mark.parametrize("length", ["-1", "x", "\u0661", "1e3"])
def test_a_length_that_is_none_counts_as_absent(length: str) -> None:
    assert send(signed_environ() | {"CONTENT_LENGTH": length}).status == 200


def test_a_length_that_is_wrong_does_not_fit_the_signature_or_the_limit() -> None:
    short = send(signed_environ() | {"CONTENT_LENGTH": "0"})
    assert short.document["__type"] == "InvalidSignatureException"
    # Longer than the body: what is there is read, and it is what was signed.
    assert send(signed_environ() | {"CONTENT_LENGTH": "9" * 5000}).status == 200


def test_a_form_with_a_field_twice_or_too_many_fields_is_refused() -> None:
    many = CALLER_IDENTITY + b"".join(b"&a%d=b" % i for i in range(1000))
    for body in (CALLER_IDENTITY + b"&Action=AssumeRole", many, CALLER_IDENTITY + b"&a=\xff"):
        answer = send(sts_environ(body))
        assert answer.as_botocore_reads_it("sts", "GetCallerIdentity")["Error"]["Code"] == "MalformedInput"
