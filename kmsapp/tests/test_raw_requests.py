"""Signed requests that were tampered with, byte by byte over a socket, against the running server.

The cases are those by which other servers were broken: unsigned targets, unsigned payloads, credentials in two places,
paths that skip the check, headers that come twice or under another spelling.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlencode, urlsplit
from urllib.request import Request as UrlRequest
from urllib.request import urlopen

import botocore.model
import botocore.parsers
import pytest

from kmsapp import service_models
from kmsapp.testing import Casemate
from kmsapp.tests.raw_http import Raw, send, signed
from kmsapp.tests.server_logs import no_bug

FORM = "application/x-www-form-urlencoded; charset=utf-8"
IDENTITY = {"Action": "GetCallerIdentity", "Version": "2011-06-15"}
INVALID, INCOMPLETE = "InvalidSignatureException", "IncompleteSignatureException"
MISSING, UNKNOWN = "MissingAuthenticationTokenException", "UnknownOperationException"
BY_HTTP = ""  # the server itself refuses what is no HTTP, without AWS's name


@pytest.fixture(autouse=True)
def the_server_meets_no_bug_of_its_own(casemate: Casemate) -> Iterator[None]:
    with no_bug(casemate):
        yield


def twice(name: str) -> Callable[[Raw], Raw]:
    return lambda good: good.with_line(name, good.value(name))


def value(name: str, text: str) -> Callable[[Raw], Raw]:
    return lambda good: good.with_value(name, text)


def line(name: str, text: str, *, first: bool = False) -> Callable[[Raw], Raw]:
    return lambda good: good.with_line(name, text, first=first)


def unsigned(name: str) -> Callable[[Raw], Raw]:
    """The header stays and is struck from SignedHeaders."""

    def bend(good: Raw) -> Raw:
        header = good.value("Authorization")
        bent = header.replace(f";{name}", "").replace(f"={name};", "=")
        assert bent != header
        return good.with_value("Authorization", bent)

    return bend


def part(**changed: Any) -> Callable[[Raw], Raw]:
    return lambda good: dataclasses.replace(good, **changed)


def shorter(good: Raw) -> Raw:
    return good.with_value("Content-Length", "1")


def chunked(good: Raw) -> Raw:
    plain = good.without("Content-Length").with_line("Transfer-Encoding", "chunked")
    return dataclasses.replace(plain, body=b"3\r\n{ }\r\n0\r\n\r\n")


def renamed(name: str, other: str) -> Callable[[Raw], Raw]:
    return lambda good: good.without(name).with_line(other, good.value(name))


DELETE = "TrentService.ScheduleKeyDeletion"
CASES: dict[str, tuple[Callable[[Raw], Raw], str]] = {
    # 1. What is acted on must be signed.
    "another target": (value("X-Amz-Target", DELETE), INVALID),
    "a target that is not signed": (unsigned("x-amz-target"), INVALID),
    "a host that is not signed": (unsigned("host"), INVALID),
    "a date that is not signed": (unsigned("x-amz-date"), INVALID),
    "a content type that is not signed": (unsigned("content-type"), INVALID),
    "a session token that is not signed": (line("X-Amz-Security-Token", "token"), INVALID),
    # 2. The payload is bound.
    "another body": (part(body=b"[]"), INVALID),
    "a body cut short by its length": (shorter, INVALID),
    "a chunked body": (chunked, INVALID),
    "UNSIGNED-PAYLOAD": (line("X-Amz-Content-Sha256", "UNSIGNED-PAYLOAD"), INVALID),
    "a streamed payload": (line("X-Amz-Content-Sha256", "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"), INVALID),
    "a streamed payload with a trailer": (
        line("X-Amz-Content-Sha256", "STREAMING-UNSIGNED-PAYLOAD-TRAILER"),
        INVALID,
    ),
    "a trailer": (line("X-Amz-Trailer", "x-amz-checksum-crc32"), INVALID),
    # 3. Credentials stand in one place.
    "credentials in the query too": (part(target="/?X-Amz-Credential=AKIA%2F20260101%2Fus-west-2"), INCOMPLETE),
    "a signature in the query too": (part(target="/?X-Amz-Signature=00"), INCOMPLETE),
    "the same, spelt otherwise": (part(target="/?x-amz-%73ignature=00"), INCOMPLETE),
    "a token in the query": (part(target="/?X-Amz-Security-Token=t"), INCOMPLETE),
    "a query that was not signed": (part(target="/?Action=GetCallerIdentity&Version=2011-06-15"), INVALID),
    # 4. No path leads around the check.
    "another path": (part(target="/keys/"), UNKNOWN),
    "two slashes": (part(target="//"), UNKNOWN),
    "a dot": (part(target="/."), UNKNOWN),
    "an encoded slash": (part(target="/%2f"), UNKNOWN),
    "GET": (part(method="GET"), UNKNOWN),
    "PUT": (part(method="PUT"), UNKNOWN),
    "a method of nobody's": (part(method="BREW"), UNKNOWN),
    # 5. Nothing counts twice.
    "two authorizations": (twice("Authorization"), INCOMPLETE),
    "two dates": (twice("X-Amz-Date"), INCOMPLETE),
    "two targets": (twice("X-Amz-Target"), UNKNOWN),
    "two hosts": (twice("Host"), INVALID),
    "two hosts, the other first": (line("Host", "evil.example", first=True), INVALID),
    "another content type": (value("Content-Type", FORM), INVALID),
    "another content type behind it": (line("Content-Type", FORM), ""),
    "another content type before it": (line("Content-Type", FORM, first=True), INVALID),
    "another target with underscores": (line("X_Amz_Target", DELETE), INVALID),
    "another target with underscores before it": (line("X_Amz_Target", DELETE, first=True), ""),
    "the target with underscores alone": (renamed("X-Amz-Target", "X_Amz_Target"), ""),
    "another date with underscores": (line("X_Amz_Date", "20260101T000000Z"), INVALID),
    "a forwarded host": (
        lambda good: good.with_value("Host", "evil.example").with_line("X-Forwarded-Host", good.value("Host")),
        INVALID,
    ),
    "a folded header": (value("X-Amz-Target", "TrentService.ListKeys\r\n x"), BY_HTTP),
    "a NUL in a header": (value("X-Amz-Target", "TrentService.ListKeys\0"), BY_HTTP),
    "a space before the colon": (renamed("X-Amz-Target", "X-Amz-Target "), BY_HTTP),
    "no host": (lambda good: good.without("Host"), INVALID),
    "no authorization": (lambda good: good.without("Authorization"), MISSING),
    "the authorization of a proxy": (renamed("Authorization", "Proxy-Authorization"), MISSING),
}
# The server keeps one value, the last of X-Amz-Target and the first of Content-Type: what counts is what was signed.
HARMLESS = {
    "another target with underscores before it",
    "the target with underscores alone",
    "another content type behind it",
}


def test_requests_that_were_tampered_with_are_refused(casemate: Casemate) -> None:
    assert send(casemate, signed(casemate)).status == 200, "the request itself is good"
    counts: Counter[str] = Counter()
    for name, (bend, code) in CASES.items():
        answer = send(casemate, bend(signed(casemate)))
        if name in HARMLESS:
            assert answer.status == 200 and "Keys" in answer.document, (name, answer)
            counts["harmless"] += 1
            continue
        assert (answer.status, answer.code) == (400, code), (name, answer)
        counts[code or "refused by HTTP"] += 1
    print(f"{counts.total()} tampered requests: {dict(counts)}")


PATHS = ["/", "/?x=1", "//", "/keys/", "/keys", "/sign-in/", "/admin/", "/healthz", "/static/console/mark.svg", "/none"]
METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"]
TYPES = ["application/x-amz-json-1.1", FORM, "text/plain", "multipart/form-data; boundary=x", ""]


def test_no_address_method_or_content_type_leads_around_a_wrong_signature(casemate: Casemate) -> None:
    counts: Counter[str] = Counter()
    for target in PATHS:
        for method in METHODS:
            for content_type in TYPES:
                forged = signed(casemate, secret="x" * 40, Content_Type=content_type)
                answer = send(casemate, dataclasses.replace(forged, method=method, target=target))
                code = "" if method == "HEAD" else answer.code
                assert 400 <= answer.status < 500, (target, method, content_type, answer)
                assert method == "HEAD" or code in {INVALID, UNKNOWN}, (target, method, content_type, answer)
                counts[code or "HEAD"] += 1
    print(f"{counts.total()} forged requests over {len(PATHS)} addresses: {dict(counts)}")


UNSIGNED_FORMS = {
    b"Action=GetCallerIdentity&Version=2011-06-15": "MissingAuthenticationToken",
    b"Action=GetCallerIdentity": "InvalidAction",
    b"Action=": "InvalidAction",
    b"Action=GetCallerIdentity&Version=2011-06-15&Action=AssumeRole": "MalformedInput",
    b"Action=%ff&Version=2011-06-15": "MalformedInput",
    b"Action=\xff&Version=2011-06-15": "MalformedInput",
}


def test_forms_without_a_signature_are_answered_by_aws_s_names_and_by_no_page(casemate: Casemate) -> None:
    host = ("Host", casemate.url.partition("//")[2])
    for body, code in UNSIGNED_FORMS.items():
        answer = send(casemate, Raw((host, ("Content-Type", FORM), ("Content-Length", str(len(body)))), body))
        assert f"<Code>{code}</Code>".encode() in answer.body, (body, answer)
        if body.isascii():  # the server takes no other address
            answer = send(casemate, Raw((host,), b"", "GET", f"/?{body.decode()}"))
            assert f"<Code>{code}</Code>".encode() in answer.body, (body, answer)


# Presigned


def presigned(casemate: Casemate, service: str, operation: str) -> str:
    client = casemate.boto3(service)
    url: str = client.generate_presigned_url(operation, ExpiresIn=60, HttpMethod="GET")
    return url


def identity_of(url: str, **headers: str) -> dict[str, Any]:
    with urlopen(UrlRequest(url, headers=headers)) as answer:  # noqa: S310  the server's own address
        model = botocore.model.ServiceModel(service_models.service("sts").raw, "sts")
        shape = model.operation_model("GetCallerIdentity").output_shape
        response = {"status_code": answer.status, "headers": answer.headers, "body": answer.read()}
        parsed: dict[str, Any] = botocore.parsers.create_parser(model.resolved_protocol).parse(response, shape)
    return parsed


def test_whoever_holds_a_presigned_url_of_sts_learns_who_signed_it(casemate: Casemate) -> None:
    url = presigned(casemate, "sts", "get_caller_identity")
    assert identity_of(url)["Arn"] == f"arn:aws:iam::{casemate.account}:user/alice"
    assert identity_of(url, Cookie="casemate_session=x")["Arn"].endswith("/alice"), "cookies are ignored"


PRESIGNED: dict[str, tuple[Callable[[str], str], str]] = {
    "nothing signed": (lambda query: urlencode(IDENTITY), "MissingAuthenticationToken"),
    "another action": (lambda query: query.replace("GetCallerIdentity", "GetSessionToken"), "SignatureDoesNotMatch"),
    "an action more": (lambda query: f"{query}&Action=AssumeRole", "MalformedInput"),
    "a longer life": (lambda query: query.replace("Expires=60", "Expires=6000"), "SignatureDoesNotMatch"),
    "no life": (lambda query: query.replace("X-Amz-Expires=60&", ""), "IncompleteSignature"),
    "another access key": (lambda query: query.replace("Credential=AKIA", "Credential=AKIB"), "InvalidClientTokenId"),
    "a token more": (lambda query: f"{query}&X-Amz-Security-Token=t", "InvalidClientTokenId"),
    "two signatures": (lambda query: f"{query}&X-Amz-Signature=00", "MalformedInput"),
}


def test_presigned_urls_that_were_tampered_with_are_refused(casemate: Casemate) -> None:
    query = urlsplit(presigned(casemate, "sts", "get_caller_identity")).query
    host = (("Host", casemate.url.partition("//")[2]),)
    assert send(casemate, Raw(host, b"", "GET", f"/?{query}")).status == 200
    for name, (bend, code) in PRESIGNED.items():
        bent = bend(query)
        assert bent != query, name
        answer = send(casemate, Raw(host, b"", "GET", f"/?{bent}"))
        assert 400 <= answer.status < 500 and f"<Code>{code}</Code>".encode() in answer.body, (name, answer)
    signed_twice = signed(casemate, b"", service="sts", X_Amz_Target="", Content_Type="")
    both = dataclasses.replace(signed_twice.without("Content-Length"), method="GET", target=f"/?{query}")
    answer = send(casemate, both)
    assert b"<Code>IncompleteSignature</Code>" in answer.body, answer
    print(f"{len(PRESIGNED) + 1} tampered presigned requests refused")


def test_presigned_calls_of_kms_are_refused(casemate: Casemate) -> None:
    query = urlsplit(presigned(casemate, "kms", "list_keys")).query
    host = (("Host", casemate.url.partition("//")[2]),)
    target = ("X-Amz-Target", "TrentService.ListKeys")
    content_type = ("Content-Type", "application/x-amz-json-1.1")
    answers = {
        "opened in a browser": Raw(host, b"", "GET", f"/?{query}"),
        "with its headers": Raw((*host, target, content_type), b"", "GET", f"/?{query}"),
        "posted": Raw((*host, target, content_type, ("Content-Length", "2")), b"{}", "POST", f"/?{query}"),
        "as the query protocol": Raw(host, b"", "GET", f"/?{query}&Action=ListKeys&Version=2014-11-01"),
    }
    said = {name: send(casemate, request) for name, request in answers.items()}
    assert {name: answer.status for name, answer in said.items()} == dict.fromkeys(said, 400)
    assert b"Presigned requests are not accepted" in said["posted"].body
