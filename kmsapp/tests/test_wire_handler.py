"""The stages of the wire over WSGI environs that botocore signed; the operations behind them are played by the test."""

from __future__ import annotations

import logging
from typing import Any
from urllib.parse import urlencode

import pytest
from django.core.handlers.wsgi import WSGIRequest
from django.http import HttpRequest

from kmsapp.caller import Caller
from kmsapp.errors import InvalidCiphertextException, NotFoundException
from kmsapp.tests.wire_requests import (
    ALICE,
    CALLER_IDENTITY,
    FORM,
    JSON,
    SECRET,
    OnlyRead,
    Operations,
    environ_of,
    send,
    signed_environ,
    sts_environ,
)
from kmsapp.wire import handler

# Whose request?

GET = environ_of(b"", "") | {"REQUEST_METHOD": "GET"}
PLAIN_FORM = "application/x-www-form-urlencoded"
WHOSE: dict[str, tuple[dict[str, Any], bool]] = {
    "a target": (environ_of(b"", JSON) | {"HTTP_X_AMZ_TARGET": "TrentService.ListKeys"}, True),
    "an empty target": (environ_of(b"", JSON) | {"HTTP_X_AMZ_TARGET": ""}, True),
    "a signature": (environ_of(b"", "") | {"HTTP_AUTHORIZATION": "AWS4-HMAC-SHA256 x"}, True),
    "a signature on another path": (
        environ_of(b"", "") | {"HTTP_AUTHORIZATION": "AWS4-HMAC-SHA256 x", "PATH_INFO": "/keys"},
        True,
    ),
    "an action": (environ_of(CALLER_IDENTITY, FORM), True),
    "an action of another path": (environ_of(CALLER_IDENTITY, FORM) | {"PATH_INFO": "/sign-in"}, False),
    "a form of the console": (environ_of(b"csrfmiddlewaretoken=x&Action=Delete", PLAIN_FORM), False),
    "a form with an action twice": (environ_of(CALLER_IDENTITY + b"&Action=AssumeRole", FORM), True),
    "a form with an action and no version": (environ_of(b"Action=GetCallerIdentity", FORM), True),
    "a form that is no UTF-8": (environ_of(b"Action=%ff&Version=\xff", PLAIN_FORM), True),
    "a form without an action": (environ_of(b"Version=2011-06-15", PLAIN_FORM), False),
    "a form without a length": (environ_of(CALLER_IDENTITY, FORM) | {"CONTENT_LENGTH": ""}, True),
    "an action in the query": (GET | {"QUERY_STRING": CALLER_IDENTITY.decode()}, True),
    "an action in the query of another path": (
        GET | {"QUERY_STRING": CALLER_IDENTITY.decode(), "PATH_INFO": "/sign-in/"},
        False,
    ),
    "a presigned query": (GET | {"QUERY_STRING": "X-Amz-Signature=0"}, True),
    "an action twice in the query": (GET | {"QUERY_STRING": "Action=a&Action=b&Version=c"}, True),
    "a query of the console": (GET | {"QUERY_STRING": "q=Action&page=2"}, False),
    "a page": (environ_of(b"", "") | {"REQUEST_METHOD": "GET"}, False),
    "another scheme of authorization": (environ_of(b"", "") | {"HTTP_AUTHORIZATION": "Bearer x"}, False),
    "a body that is no form": (environ_of(CALLER_IDENTITY, "text/plain"), False),
}


@pytest.mark.parametrize(("environ", "expected"), WHOSE.values(), ids=WHOSE)
def test_the_wire_is_told_from_the_browser(environ: dict[str, Any], expected: bool) -> None:
    assert handler.is_wire(environ) is expected


def test_a_form_that_is_not_the_wires_reaches_django_whole() -> None:
    form = {"name": "x" * 5000, "Action": "Delete", "csrfmiddlewaretoken": "x"}
    environ = environ_of(urlencode(form).encode(), PLAIN_FORM)
    assert not handler.is_wire(environ)
    request: HttpRequest = WSGIRequest(environ)
    assert request.POST.dict() == form


def test_a_form_larger_than_the_wire_allows_is_left_unread_for_django() -> None:
    environ = environ_of(b"a=" + b"b" * handler.MAX_BODY_BYTES, PLAIN_FORM)
    assert not handler.is_wire(environ)
    assert environ["wsgi.input"].given == 0


# Answers


def test_a_signed_call_reaches_its_operation_with_caller_and_parameters() -> None:
    operations = Operations({"Keys": [], "Truncated": False})
    answer = send(signed_environ(b'{"Limit":5,"Unheard":1}'), operations)
    ((caller, name, params, request_id),) = operations.calls
    assert (name, params) == ("kms:ListKeys", {"Limit": 5})
    assert caller == Caller(
        account="111122223333",
        region="us-west-2",
        principal_arn=ALICE,
        principal_id="AIDAEXAMPLE",
        user_name="alice",
        access_key_id="AKIDALICE",
        via="wire",
        source_ip="192.0.2.7",
        user_agent="aws-cli/1",
    )
    assert answer.status == 200
    assert answer.document == {"Keys": [], "Truncated": False}
    assert answer.headers["content-type"] == JSON
    assert answer.headers["x-amzn-requestid"] == request_id
    assert answer.headers["content-length"] == str(len(answer.body))


def test_cloudhsm_is_called_by_its_iam_prefix_and_its_own_signing_name() -> None:
    operations = Operations({"Clusters": []})
    environ = signed_environ(target="BaldrApiService.DescribeClusters", service="cloudhsm")
    assert send(environ, operations).document == {"Clusters": []}
    assert operations.calls[0][1] == "cloudhsm:DescribeClusters"
    crossed = signed_environ(target="BaldrApiService.DescribeClusters", service="kms")
    assert send(crossed).document["Message"] == "Credential should be scoped to correct service: 'cloudhsm'."


def test_an_operation_without_output_answers_an_empty_body() -> None:
    answer = send(signed_environ(b'{"AliasName":"alias/a","TargetKeyId":"b"}', target="TrentService.CreateAlias"))
    assert (answer.status, answer.body, answer.headers["content-length"]) == (200, b"", "0")


def test_caller_identity_is_answered_in_xml() -> None:
    identity = {"UserId": "AIDAEXAMPLE", "Account": "111122223333", "Arn": f"{ALICE}<&>\x01"}
    operations = Operations(identity)
    answer = send(sts_environ(), operations)
    assert operations.calls[0][1:3] == ("sts:GetCallerIdentity", {})
    assert answer.headers["content-type"] == "text/xml"
    read = answer.as_botocore_reads_it("sts", "GetCallerIdentity")
    assert read.pop("ResponseMetadata")["RequestId"] == answer.headers["x-amzn-requestid"]
    assert read == identity | {"Arn": f"{ALICE}<&>\N{REPLACEMENT CHARACTER}"}


def test_nested_parameters_of_a_form_arrive_as_values() -> None:
    form = {
        "Action": "AssumeRole",
        "Version": "2011-06-15",
        "RoleArn": "arn:aws:iam::111122223333:role/x",
        "DurationSeconds": "900",
        "Tags.member.1.Key": "a",
        "Tags.member.1.Value": "b",
        "Tags.member.2.Key": "c",
        "TransitiveTagKeys.member.1": "a",
    }
    operations = Operations()
    send(sts_environ(urlencode(form).encode()), operations)
    assert operations.calls[0][2] == {
        "RoleArn": "arn:aws:iam::111122223333:role/x",
        "DurationSeconds": 900,
        "Tags": [{"Key": "a", "Value": "b"}, {"Key": "c"}],
        "TransitiveTagKeys": ["a"],
    }


# Refusals


def test_an_error_of_an_operation_is_answered_as_it_is() -> None:
    answer = send(signed_environ(), Operations(NotFoundException("Key 'x' does not exist")))
    assert answer.status == 400
    assert answer.document == {"__type": "NotFoundException", "message": "Key 'x' does not exist"}
    assert send(signed_environ(), Operations(InvalidCiphertextException())).document == {
        "__type": "InvalidCiphertextException"
    }
    assert answer.as_botocore_reads_it("kms", "ListKeys")["Error"]["Code"] == "NotFoundException"


@pytest.mark.django_db  # a bug of ours rolls back what it left open
def test_a_bug_of_ours_is_logged_and_shows_only_its_request_id(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.ERROR):
        answer = send(signed_environ(), Operations(RuntimeError("a detail of ours")))
    assert answer.status == 500
    assert answer.document["__type"] == "KMSInternalException"
    assert answer.headers["x-amzn-requestid"] in answer.document["message"]
    assert b"detail" not in answer.body
    assert answer.headers["x-amzn-requestid"] in caplog.text
    assert "a detail of ours" in caplog.text
    assert SECRET not in caplog.text


@pytest.mark.django_db  # a bug of ours rolls back what it left open
def test_an_answer_that_is_not_the_models_is_a_bug_and_never_leaves() -> None:
    answer = send(signed_environ(), Operations({"Secret": "x"}))
    assert answer.document["__type"] == "KMSInternalException"


@pytest.mark.parametrize(
    "target", ["", "ListKeys", "TrentService", "TrentService.", "TrentService.Nope", "Trent.ListKeys"]
)
def test_an_unknown_target_is_an_unknown_operation(target: str) -> None:
    answer = send(signed_environ(target=target))
    assert (answer.status, answer.document) == (
        400,
        {"__type": "com.amazon.coral.service#UnknownOperationException"},
    )


@pytest.mark.parametrize(
    ("part", "value"), [("REQUEST_METHOD", "GET"), ("REQUEST_METHOD", "PUT"), ("PATH_INFO", "/keys")]
)
def test_only_post_to_the_root_is_an_operation(part: str, value: str) -> None:
    answer = send(signed_environ() | {part: value}, Operations({}))
    assert answer.document["__type"].endswith("#UnknownOperationException")


def test_an_unknown_action_is_said_with_its_version() -> None:
    answer = send(sts_environ(b"Action=Nope&Version=2011-06-15"))
    read = answer.as_botocore_reads_it("sts", "GetCallerIdentity")["Error"]
    assert (answer.status, read["Code"]) == (400, "InvalidAction")
    assert read["Message"] == "Could not find operation Nope for version 2011-06-15"


def without(environ: dict[str, Any], name: str) -> dict[str, Any]:
    return {key: value for key, value in environ.items() if key != name}


MISMATCH = (
    "The request signature we calculated does not match the signature you provided. Check your AWS Secret Access Key"
    " and signing method. Consult the service documentation for details."
)
# (what signs, JSON: code and message, query: code, status and message)
AUTHENTICATION = {
    "no authorization": (
        lambda environ: without(environ, "HTTP_AUTHORIZATION"),
        ("MissingAuthenticationTokenException", "Missing Authentication Token"),
        ("MissingAuthenticationToken", 403, "Request is missing Authentication Token"),
    ),
    "an unreadable header": (
        lambda environ: environ | {"HTTP_AUTHORIZATION": "AWS4-HMAC-SHA256 x"},
        (
            "com.amazon.coral.service#IncompleteSignatureException",
            "'x' not a valid key=value pair (missing equal-sign) in Authorization header: 'AWS4-HMAC-SHA256 x'.",
        ),
        (
            "IncompleteSignature",
            400,
            "'x' not a valid key=value pair (missing equal-sign) in Authorization header: 'AWS4-HMAC-SHA256 x'.",
        ),
    ),
    "another body": (
        lambda environ: environ | {"wsgi.input": OnlyRead(b"x" * int(environ["CONTENT_LENGTH"]))},
        ("InvalidSignatureException", MISMATCH),
        None,
    ),
    "another host": (
        lambda environ: environ | {"HTTP_HOST": "localhost:8000"},
        ("InvalidSignatureException", MISMATCH),
        ("SignatureDoesNotMatch", 403, MISMATCH),
    ),
}


@pytest.mark.parametrize(("bend", "json_says", "query_says"), AUTHENTICATION.values(), ids=AUTHENTICATION)
def test_both_protocols_refuse_in_their_own_words(bend: Any, json_says: Any, query_says: Any) -> None:
    operations = Operations({})
    answer = send(bend(signed_environ()), operations)
    assert (answer.status, answer.document) == (400, {"__type": json_says[0], "message": json_says[1]})
    if query_says:
        answer = send(bend(sts_environ()), operations)
        read = answer.as_botocore_reads_it("sts", "GetCallerIdentity")
        assert (read["Error"]["Code"], answer.status, read["Error"]["Message"]) == query_says
        assert read["ResponseMetadata"]["RequestId"] == answer.headers["x-amzn-requestid"]
    assert operations.calls == []


@pytest.mark.parametrize("access_key_id", ["AKIDNOBODY", "AKIDSWITCHEDOFF", "AKID\xe9", "A" * 500])
def test_an_unknown_key_and_a_switched_off_one_are_answered_alike(access_key_id: str) -> None:
    answer = send(signed_environ(access_key_id=access_key_id))
    assert answer.document == {
        "__type": "UnrecognizedClientException",
        "message": "The security token included in the request is invalid.",
    }
    answer = send(sts_environ(access_key_id=access_key_id))
    assert answer.status == 403
    assert answer.as_botocore_reads_it("sts", "GetCallerIdentity")["Error"]["Code"] == "InvalidClientTokenId"


def test_an_unsigned_target_or_one_spelt_with_underscores_changes_nothing() -> None:
    # A header X_Amz_Target overwrites X-Amz-Target in WSGI; what then arrives is not what was signed.
    replaced = signed_environ(target="TrentService.ListKeys") | {
        "HTTP_X_AMZ_TARGET": "TrentService.ScheduleKeyDeletion"
    }
    assert send(replaced).document["__type"] == "InvalidSignatureException"
    added = sts_environ() | {"HTTP_X_AMZ_TARGET": "TrentService.ScheduleKeyDeletion"}
    answer = send(added)
    assert answer.document == {
        "__type": "InvalidSignatureException",
        "message": "'x-amz-target' must be a 'SignedHeader' in the AWS Authorization.",
    }


def test_authentication_comes_before_anything_that_knows_the_body() -> None:
    assert send(signed_environ(b"[", secret="guess")).document["__type"] == "InvalidSignatureException"
    operations = Operations()
    answer = send(signed_environ(b"["), operations)
    assert answer.document["__type"] == "SerializationException"
    ((caller, name, code, request_id),) = operations.refused
    assert (caller.principal_arn, name, code) == (ALICE, "kms:ListKeys", "SerializationException")
    assert request_id == answer.headers["x-amzn-requestid"]
