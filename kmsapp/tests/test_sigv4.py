"""SigV4 against AWS's published vectors, against botocore's signer, and against every way of bending a good request.

Vectors: botocore's copy of the AWS test suite (34 requests) and aws-c-auth's (38 signed in the header, and the same 38
presigned).
"""

from __future__ import annotations

import dataclasses
import datetime
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlencode

import botocore.auth
import botocore.awsrequest
import botocore.credentials
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kmsapp.errors import (
    IncompleteSignatureException,
    InvalidSignatureException,
    KmsError,
    MissingAuthenticationTokenException,
    UnrecognizedClientException,
)
from kmsapp.wire import sigv4
from kmsapp.wire.sigv4 import Request

VECTORS = Path(__file__).resolve().parents[2].parent / "shared" / "data" / "sigv4"
SUITE = sorted((VECTORS / "suite").rglob("*.sreq"))
AWS_C_AUTH = sorted((VECTORS / "aws-c-auth" / "v4").glob("*/context.json"))

ACCESS_KEY_ID = "AKIDEXAMPLE"
SECRET = b"wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
NOW = datetime.datetime(2015, 8, 30, 12, 36, tzinfo=datetime.UTC)

# The session token is left out of what is signed: a token that anybody could add or exchange on the way.
REFUSED_BY_DESIGN = {"post-sts-header-after"}


@dataclasses.dataclass(frozen=True)
class Credential:
    secret: bytes = dataclasses.field(repr=False)


def lookup(access_key_id: str, session_token: str | None) -> Credential | None:
    return Credential(SECRET) if access_key_id == ACCESS_KEY_ID else None


def verify(
    request: Request,
    *,
    now: datetime.datetime = NOW,
    window_seconds: int = 300,
    service: str = "service",
    allow_presigned: bool = False,
    normalize_path: bool = True,
) -> sigv4.Verified[Credential]:
    return sigv4.verify(
        request,
        lookup_secret=lookup,
        now=now,
        window_seconds=window_seconds,
        service=service,
        allow_presigned=allow_presigned,
        normalize_path=normalize_path,
    )


def read_request(raw: bytes) -> Request:
    """A request file as a WSGI server would hand it on: one character for each byte, folded lines joined by a space."""
    text = raw.decode("latin-1").replace("\r\n", "\n")
    head, _, body = text.partition("\n\n")
    lines = re.sub(r"\n[ \t]+", " ", head).split("\n")
    method, _, rest = lines[0].partition(" ")
    path, _, query = rest.rpartition(" ")[0].partition("?")
    headers: dict[str, str] = {}
    for line in filter(None, lines[1:]):
        name, _, value = line.partition(":")
        key = name.lower()
        headers[key] = f"{headers[key]},{value.strip()}" if key in headers else value.strip()
    return Request(method, path, query, headers, body.encode("latin-1"))


needs_vectors = pytest.mark.skipif(not VECTORS.is_dir(), reason="the published vectors are not beside the repository")


def good_requests() -> Iterator[tuple[str, Request, bool]]:
    """Name, request, whether its path was normalized: one of ours, and the published ones where they are at hand."""
    yield "our own", signed(region="us-east-1", service="service"), True
    for path in SUITE:
        # The header is taken from its own file: the signature inside one of the request files is not the published one.
        header = path.with_suffix(".authz").read_text().strip()
        yield path.stem, with_header("authorization", header)(read_request(path.read_bytes())), True
    for path in AWS_C_AUTH:
        raw = (path.parent / "header-signed-request.txt").read_bytes()
        yield path.parent.name, read_request(raw), json.loads(path.read_text())["normalize"]


@needs_vectors
def test_every_published_header_signature_is_verified() -> None:
    verified, refused = 0, []
    for name, request, normalize in good_requests():
        if name in REFUSED_BY_DESIGN:
            with pytest.raises(InvalidSignatureException, match="'x-amz-security-token' must be a 'SignedHeader'"):
                verify(request, normalize_path=normalize)
            refused.append(name)
            continue
        assert verify(request, normalize_path=normalize).region == "us-east-1", name
        verified += 1
    print(f"{verified - 1} of 72 published header signatures verified, {len(refused)} refused by design")
    assert (verified, len(refused)) == (71, 2)


@needs_vectors
def test_the_one_request_file_whose_signature_is_not_the_published_one_is_refused() -> None:
    different = []
    for path in SUITE:
        request = read_request(path.read_bytes())
        if request.headers["authorization"] != path.with_suffix(".authz").read_text().strip():
            different.append(path.stem)
            with pytest.raises(InvalidSignatureException, match="The request signature we calculated does not match"):
                verify(request)
    assert different == ["get-vanilla-with-session-token"]


@needs_vectors
def test_every_published_stage_is_reproduced() -> None:
    for path in SUITE:
        request = read_request(path.read_bytes())
        authorization = sigv4.parse_authorization(request)
        canonical = sigv4.canonical_request(request, authorization.signed_headers, sigv4._payload_hash(request))
        published = path.with_suffix(".creq").read_bytes().decode("latin-1").replace("\r\n", "\n")
        assert canonical == published, path.stem
        to_sign = sigv4.string_to_sign("20150830T123600Z", authorization.scope, canonical)
        assert to_sign == path.with_suffix(".sts").read_text().replace("\r\n", "\n"), path.stem
    print(f"{len(SUITE)} canonical requests and strings to sign")
    assert len(SUITE) == 34


def presigned_requests() -> Iterator[tuple[str, Request, bool]]:
    """As good_requests, signed in the query string."""
    yield "our own", presigned(), True
    for path in AWS_C_AUTH:
        raw = (path.parent / "query-signed-request.txt").read_bytes()
        yield path.parent.name, read_request(raw), json.loads(path.read_text())["normalize"]


@needs_vectors
def test_every_published_presigned_request_is_verified_where_such_are_allowed() -> None:
    verified, refused = 0, []
    for name, request, normalize in presigned_requests():
        with pytest.raises(IncompleteSignatureException, match="Presigned requests are not accepted"):
            verify(request)
        if name in REFUSED_BY_DESIGN:
            with pytest.raises(InvalidSignatureException, match="The request signature we calculated does not match"):
                verify(request, allow_presigned=True, normalize_path=normalize)
            refused.append(name)
            continue
        found = verify(request, allow_presigned=True, normalize_path=normalize)
        assert (found.access_key_id, found.region) == (ACCESS_KEY_ID, "us-east-1"), name
        verified += 1
    print(f"{verified - 1} of 38 published presigned requests verified, {len(refused)} refused by design")
    assert (verified, len(refused)) == (38, 1)


# Bent requests

Bend = Callable[[Request], Request]
Requests = Callable[[], Iterator[tuple[str, Request, bool]]]


def with_header(name: str, value: str | None) -> Bend:
    def bend(request: Request) -> Request:
        headers = {key: old for key, old in request.headers.items() if key != name}
        return request._replace(headers=headers if value is None else headers | {name: value})

    return bend


def in_authorization(pattern: str, replacement: str) -> Bend:
    def bend(request: Request) -> Request:
        old = request.headers["authorization"]
        new = re.sub(pattern, replacement, old, count=1)
        assert new != old, pattern
        return with_header("authorization", new)(request)

    return bend


def flip_signature(request: Request) -> Request:
    digit = request.headers["authorization"][-1]
    return in_authorization(".$", "0" if digit != "0" else "1")(request)


def double_authorization(request: Request) -> Request:
    header = request.headers["authorization"]
    return with_header("authorization", f"{header},{header}")(request)


def rename_a_header(request: Request) -> Request:
    # The signed name is asked for, so the same value under another name doesn't help.
    headers = dict(request.headers)
    headers["x-host"] = headers.pop("host")
    return request._replace(headers=headers)


MISSING = MissingAuthenticationTokenException
INCOMPLETE = IncompleteSignatureException
INVALID = InvalidSignatureException

BENT: dict[str, tuple[Bend, type[KmsError]]] = {
    "no authorization": (with_header("authorization", None), MISSING),
    "empty authorization": (with_header("authorization", "  "), MISSING),
    "two authorizations": (double_authorization, INCOMPLETE),
    "a bearer token": (with_header("authorization", "Bearer abc"), INCOMPLETE),
    "the algorithm alone": (with_header("authorization", "AWS4-HMAC-SHA256"), INCOMPLETE),
    "algorithm SHA1": (in_authorization("SHA256", "SHA1"), INCOMPLETE),
    "algorithm SigV4a": (in_authorization("AWS4-HMAC-SHA256", "AWS4-ECDSA-P256-SHA256"), INCOMPLETE),
    "algorithm in lower case": (in_authorization("AWS4-HMAC-SHA256", "aws4-hmac-sha256"), INCOMPLETE),
    "no credential": (in_authorization("Credential=[^,]+, ", ""), INCOMPLETE),
    "no signed headers": (in_authorization("SignedHeaders=[^,]+, ", ""), INCOMPLETE),
    "no signature": (in_authorization(", Signature=.*", ""), INCOMPLETE),
    "another access key": (in_authorization("AKIDEXAMPLE", "AKIDEXAMPLF"), UnrecognizedClientException),
    "an access key with a slash": (in_authorization("AKIDEXAMPLE", "AKID/EXAMPLE"), INCOMPLETE),
    "a scope of four parts": (in_authorization("/us-east-1", ""), INCOMPLETE),
    "a scope of another day": (in_authorization("20150830", "20150829"), INVALID),
    "another Region": (in_authorization("us-east-1", "us-east-2"), INVALID),
    "a Region that is none": (in_authorization("us-east-1", "us_east_1"), INVALID),
    "a Region with other digits": (in_authorization("us-east-1", "us-east-\u0661"), INVALID),
    "another service": (in_authorization("/service/", "/kms/"), INVALID),
    "another terminator": (in_authorization("aws4_request", "aws5_request"), INVALID),
    "a digit of the signature": (flip_signature, INVALID),
    "a short signature": (in_authorization(".$", ""), INVALID),
    "a long signature": (in_authorization("$", "0"), INVALID),
    "an empty signature": (in_authorization("Signature=[0-9a-f]+", "Signature="), INCOMPLETE),
    "a signature beyond ASCII": (in_authorization("[0-9a-f]$", "\xe9"), INVALID),
    "host not signed": (in_authorization("host;", ""), INVALID),
    "date not signed": (in_authorization(";x-amz-date", ""), INVALID),
    "signed headers in upper case": (in_authorization("SignedHeaders=[^,]*host", "SignedHeaders=HOST"), INCOMPLETE),
    "signed headers not sorted": (in_authorization("SignedHeaders=", "SignedHeaders=z;"), INCOMPLETE),
    "a signed header twice": (in_authorization("host;", "host;host;"), INCOMPLETE),
    "a signed header that isn't there": (in_authorization("SignedHeaders=", "SignedHeaders=a;"), INVALID),
    "an unsigned target": (with_header("x-amz-target", "TrentService.ScheduleKeyDeletion"), INVALID),
    "a header of tomorrow's AWS that is not signed": (with_header("x-amz-new", "t"), INVALID),
    "another session token": (with_header("x-amz-security-token", "t"), INVALID),
    "a session token in the query": (lambda r: r._replace(query=f"{r.query}&X-Amz-Security-Token=t"), INCOMPLETE),
    "an unsigned payload": (with_header("x-amz-content-sha256", "UNSIGNED-PAYLOAD"), INVALID),
    "a streaming payload": (with_header("x-amz-content-sha256", "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"), INVALID),
    "another host": (with_header("host", "other.example.com"), INVALID),
    "two hosts": (with_header("host", "example.amazonaws.com,example.amazonaws.com"), INVALID),
    "no host": (with_header("host", None), INVALID),
    "a host under another name": (rename_a_header, INVALID),
    "a forged line": (with_header("host", "example.amazonaws.com\nx:y"), INVALID),
    "no date": (with_header("x-amz-date", None), INCOMPLETE),
    "one second later": (with_header("x-amz-date", "20150830T123601Z"), INVALID),
    "six minutes early": (with_header("x-amz-date", "20150830T123000Z"), INVALID),
    "six minutes late": (with_header("x-amz-date", "20150830T124201Z"), INVALID),
    "two dates": (with_header("x-amz-date", "20150830T123600Z,20150830T123600Z"), INCOMPLETE),
    "month 13": (with_header("x-amz-date", "20151330T123600Z"), INVALID),
    "hour 24": (with_header("x-amz-date", "20150830T240000Z"), INCOMPLETE),
    "a leap second": (with_header("x-amz-date", "20150830T235960Z"), INCOMPLETE),
    "an offset": (with_header("x-amz-date", "20150830T123600+00:00"), INCOMPLETE),
    "other digits": (with_header("x-amz-date", "2015083\u0660T123600Z"), INCOMPLETE),
    "another method": (lambda r: r._replace(method="PUT"), INVALID),
    "a longer path": (lambda r: r._replace(path=r.path + "x"), INVALID),
    "a further query parameter": (lambda r: r._replace(query=f"{r.query}&zz=1"), INVALID),
    "credentials in the query too": (lambda r: r._replace(query=f"{r.query}&X-Amz-Credential=a"), INCOMPLETE),
    "encoded credentials in the query": (lambda r: r._replace(query=f"{r.query}&X-Amz-%53ignature=a"), INCOMPLETE),
    "a longer body": (lambda r: r._replace(body=r.body + b"x"), INVALID),
}


def refusals(bent: dict[str, tuple[Bend, type[KmsError]]], requests: Requests, *, allow_presigned: bool) -> int:
    """Bend every request in every way, and see that each is refused by the right name; return how many were."""
    refused = 0
    for name, request, normalize in requests():
        if name in REFUSED_BY_DESIGN:
            continue
        for case, (bend, error) in bent.items():
            with pytest.raises(KmsError) as raised:
                verify(bend(request), normalize_path=normalize, allow_presigned=allow_presigned)
            assert type(raised.value) is error, (name, case, raised.value)
            refused += 1
    print(f"{len(bent)} ways to bend each of {refused // len(bent)} requests: {refused} refused by AWS's name")
    return refused


def test_every_bent_request_is_refused() -> None:
    requests = 71 if VECTORS.is_dir() else 1
    assert refusals(BENT, good_requests, allow_presigned=False) == len(BENT) * requests


# Bent presigned requests


def in_query(pattern: str, replacement: str) -> Bend:
    def bend(request: Request) -> Request:
        query = re.sub(pattern, replacement, request.query, count=1)
        assert query != request.query, pattern
        return request._replace(query=query)

    return bend


def in_query_value(name: str, value: str) -> Bend:
    return in_query(f"X-Amz-{name}=[^&]*", f"X-Amz-{name}={value}")


def without_parameter(name: str) -> Bend:
    return in_query(f"&?X-Amz-{name}=[^&]*", "")


def add_parameter(text: str) -> Bend:
    return lambda request: request._replace(query=f"{request.query}&{text}")


def flip_query_signature(request: Request) -> Request:
    digit = re.findall("X-Amz-Signature=(.)", request.query)[0]
    return in_query("X-Amz-Signature=.", f"X-Amz-Signature={'0' if digit != '0' else '1'}")(request)


def other_token(request: Request) -> Request:
    query = re.sub("&X-Amz-Security-Token=[^&]*", "", request.query)
    return request._replace(query=f"{query}&X-Amz-Security-Token=t")


BENT_PRESIGNED: dict[str, tuple[Bend, type[KmsError]]] = {
    "a header beside it": (with_header("authorization", "AWS4-HMAC-SHA256 Credential=a"), INCOMPLETE),
    "any authorization beside it": (with_header("authorization", "Bearer abc"), INCOMPLETE),
    "a date in a header": (with_header("x-amz-date", "20150830T123600Z"), INCOMPLETE),
    "a token in a header": (with_header("x-amz-security-token", "t"), INCOMPLETE),
    "an unsigned target": (with_header("x-amz-target", "TrentService.ListKeys"), INVALID),
    "an unsigned payload": (with_header("x-amz-content-sha256", "UNSIGNED-PAYLOAD"), INVALID),
    "no algorithm": (without_parameter("Algorithm"), INCOMPLETE),
    "no credential": (without_parameter("Credential"), INCOMPLETE),
    "no date": (without_parameter("Date"), INCOMPLETE),
    "no expiry": (without_parameter("Expires"), INCOMPLETE),
    "no signed headers": (without_parameter("SignedHeaders"), INCOMPLETE),
    "no signature": (without_parameter("Signature"), INCOMPLETE),
    "algorithm SigV4a": (in_query_value("Algorithm", "AWS4-ECDSA-P256-SHA256"), INCOMPLETE),
    "an empty algorithm": (in_query_value("Algorithm", ""), INCOMPLETE),
    "another access key": (in_query("AKIDEXAMPLE", "AKIDEXAMPLF"), UnrecognizedClientException),
    "an access key with a slash": (in_query("AKIDEXAMPLE", "AKID%2FEXAMPLE"), INCOMPLETE),
    "a scope of four parts": (in_query("%2Fus-east-1", ""), INCOMPLETE),
    "a scope of another day": (in_query("%2F20150830", "%2F20150829"), INVALID),
    "another Region": (in_query("us-east-1", "us-east-2"), INVALID),
    "another service": (in_query("%2Fservice%2F", "%2Fkms%2F"), INVALID),
    "another terminator": (in_query("aws4_request", "aws5_request"), INVALID),
    "a digit of the signature": (flip_query_signature, INVALID),
    "a short signature": (in_query("X-Amz-Signature=.", "X-Amz-Signature="), INVALID),
    "a long signature": (in_query("X-Amz-Signature=", "X-Amz-Signature=0"), INVALID),
    "two signatures": (add_parameter("X-Amz-Signature=0"), INCOMPLETE),
    "two credentials, one spelt otherwise": (add_parameter("X-Amz-%43redential=a"), INCOMPLETE),
    "another token": (other_token, INVALID),
    "host not signed": (in_query("SignedHeaders=[^&]*", "SignedHeaders=accept"), INVALID),
    "signed headers in upper case": (in_query("SignedHeaders=[^&]*", "SignedHeaders=HOST"), INCOMPLETE),
    "a signed header twice": (in_query("SignedHeaders=[^&]*", "SignedHeaders=host%3Bhost"), INCOMPLETE),
    "a signed header that isn't there": (in_query("SignedHeaders=", "SignedHeaders=a%3B"), INVALID),
    "no seconds": (in_query_value("Expires", "0"), INCOMPLETE),
    "more than seven days": (in_query_value("Expires", "604801"), INCOMPLETE),
    "a life of less than nothing": (in_query_value("Expires", "-1"), INCOMPLETE),
    "a life in other digits": (in_query_value("Expires", "%D9%A3600"), INCOMPLETE),
    "another life": (in_query_value("Expires", "3601"), INVALID),
    "one second later": (in_query_value("Date", "20150830T123601Z"), INVALID),
    "six minutes early": (in_query_value("Date", "20150830T123000Z"), INVALID),
    "six minutes late": (in_query_value("Date", "20150830T124201Z"), INVALID),
    "hour 24": (in_query_value("Date", "20150830T240000Z"), INCOMPLETE),
    "an offset": (in_query_value("Date", "20150830T123600%2B00%3A00"), INCOMPLETE),
    "another host": (with_header("host", "other.example.com"), INVALID),
    "another method": (lambda r: r._replace(method="PUT"), INVALID),
    "a longer path": (lambda r: r._replace(path=r.path + "x"), INVALID),
    "a further query parameter": (add_parameter("Action=AssumeRole"), INVALID),
    "a longer body": (lambda r: r._replace(body=r.body + b"x"), INVALID),
}


def test_every_bent_presigned_request_is_refused() -> None:
    requests = 38 if VECTORS.is_dir() else 1
    assert refusals(BENT_PRESIGNED, presigned_requests, allow_presigned=True) == len(BENT_PRESIGNED) * requests


@pytest.mark.parametrize("place", ["header", "query string"])
def test_a_session_token_must_be_signed_and_reaches_the_lookup(place: str) -> None:
    """https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html"""
    given: list[str | None] = []

    def keep(access_key_id: str, session_token: str | None) -> Credential:
        given.append(session_token)
        return Credential(SECRET)

    def proved(request: Request) -> bool:
        try:
            sigv4.verify(
                request, lookup_secret=keep, now=NOW, window_seconds=300, service="service", allow_presigned=True
            )
        except InvalidSignatureException:
            return False
        return True

    if place == "header":
        good, added = signed(service="service", token="a+b/c="), with_header("x-amz-security-token", "other")
    else:
        good, added = presigned(token="a+b/c="), in_query_value("Security-Token", "other")
    assert proved(good) and given == ["a+b/c="]
    assert not proved(added(good))
    without = with_header("x-amz-security-token", None) if place == "header" else without_parameter("Security-Token")
    assert not proved(without(good))
    unsigned = signed(service="service") if place == "header" else presigned()
    add = with_header("x-amz-security-token", "t") if place == "header" else add_parameter("X-Amz-Security-Token=t")
    assert not proved(add(unsigned))


def test_a_presigned_request_lives_as_long_as_it_says_and_no_longer_than_the_window() -> None:
    """STS takes a presigned request for 15 minutes, however long it says."""
    for life, lives_seconds in ((60, 60), (90, 90), (900, 900), (604800, 900)):
        request = presigned(service="sts", expires=life)

        def verified_after(seconds: int, request: Request = request) -> None:
            later = NOW + datetime.timedelta(seconds=seconds)
            verify(request, service="sts", now=later, window_seconds=900, allow_presigned=True)

        verified_after(lives_seconds)
        verified_after(-900)
        with pytest.raises(InvalidSignatureException, match=r"^Signature expired: 20150830T123600Z is now"):
            verified_after(lives_seconds + 1)
        with pytest.raises(InvalidSignatureException, match=r"^Signature not yet current"):
            verified_after(-901)


def test_an_access_key_that_nobody_has_is_as_much_work_as_a_wrong_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    def steps(request: Request) -> list[str]:
        done = []
        for name in ("canonical_request", "signing_key", "string_to_sign", "signature"):
            real = getattr(sigv4, name)

            def noted(
                *arguments: object, name: str = name, real: Callable[..., object] = real, **named: object
            ) -> object:
                done.append(name)
                return real(*arguments, **named)

            monkeypatch.setattr(sigv4, name, noted)
        with pytest.raises(KmsError):
            verify(request, service="kms")
        monkeypatch.undo()
        return done

    assert steps(signed(key="AKIDUNKNOWN")) == steps(signed(secret=b"guess")) != []


def test_the_content_type_need_not_be_signed_and_what_decides_must() -> None:
    assert verify(signed(left_out=frozenset({"content-type"})), service="kms")
    with pytest.raises(InvalidSignatureException):
        verify(with_header("content-type", "text/plain")(signed()), service="kms")
    for name in ("host", "x-amz-date", "x-amz-target"):
        with pytest.raises(InvalidSignatureException, match=f"'{name}' must be a 'SignedHeader'"):
            verify(signed(left_out=frozenset({name})), service="kms")


# What AWS says

EMPTY_BODY = b"{}"
HEADERS = {
    "host": "127.0.0.1:8000",
    "content-type": "application/x-amz-json-1.1",
    "x-amz-target": "TrentService.ListKeys",
}


def signed(
    body: bytes = EMPTY_BODY,
    *,
    secret: bytes = SECRET,
    date: str = "20150830T123600Z",
    token: str | None = None,
    left_out: frozenset[str] = frozenset(),
    **scope: str,
) -> Request:
    """A request for kms in us-west-2 that our own stages sign, so that each of its parts can be chosen.

    left_out: headers that are sent and not signed.
    """
    headers = HEADERS | {"x-amz-date": date} | ({} if token is None else {"x-amz-security-token": token})
    names = tuple(sorted(headers.keys() - left_out))
    request = Request("POST", "/", "", headers, body)
    day, region, service = scope.get("day", date[:8]), scope.get("region", "us-west-2"), scope.get("service", "kms")
    terminator = scope.get("terminator", "aws4_request")
    canonical = sigv4.canonical_request(request, names, sigv4._payload_hash(request))
    text = sigv4.string_to_sign(date, f"{day}/{region}/{service}/{terminator}", canonical)
    proof = sigv4.signature(sigv4.signing_key(secret, day, region, service), text)
    credential = f"{scope.get('key', ACCESS_KEY_ID)}/{day}/{region}/{service}/{terminator}"
    header = f"AWS4-HMAC-SHA256 Credential={credential}, SignedHeaders={';'.join(names)}, Signature={proof}"
    return with_header("authorization", header)(request)


def presigned(*, service: str = "service", expires: int = 3600, token: str | None = None) -> Request:
    """A request that our own stages presign for us-east-1."""
    date, region = "20150830T123600Z", "us-east-1"
    scope = f"{date[:8]}/{region}/{service}/aws4_request"
    parameters = {
        "Action": "GetCallerIdentity",
        "X-Amz-Algorithm": "AWS4-HMAC-SHA256",
        "X-Amz-Credential": f"{ACCESS_KEY_ID}/{scope}",
        "X-Amz-Date": date,
        "X-Amz-Expires": str(expires),
        "X-Amz-SignedHeaders": "host",
    } | ({} if token is None else {"X-Amz-Security-Token": token})
    request = Request("GET", "/", urlencode(parameters), {"host": "127.0.0.1:8000"}, b"")
    canonical = sigv4.canonical_request(request, ("host",), sigv4._payload_hash(request))
    key = sigv4.signing_key(SECRET, date[:8], region, service)
    proof = sigv4.signature(key, sigv4.string_to_sign(date, scope, canonical))
    return request._replace(query=f"{request.query}&X-Amz-Signature={proof}")


def authorized_by(header: str) -> Request:
    return with_header("authorization", header)(signed())


ALL_MISSING = (
    "Authorization header requires 'Credential' parameter. Authorization header requires 'Signature' parameter."
    " Authorization header requires 'SignedHeaders' parameter. Authorization header requires existence of either a"
    " 'X-Amz-Date' or a 'Date' header. Authorization=AWS4-HMAC-SHA256 X=1"
)
SENTENCES: dict[str, tuple[Request, type[KmsError], str]] = {
    "nothing signed": (with_header("authorization", None)(signed()), MISSING, "Missing Authentication Token"),
    "no equal sign": (
        authorized_by("AWS4-HMAC-SHA256 Credential"),
        INCOMPLETE,
        "'Credential' not a valid key=value pair (missing equal-sign) in Authorization header:"
        " 'AWS4-HMAC-SHA256 Credential'.",
    ),
    "all pieces missing": (
        with_header("x-amz-date", None)(authorized_by("AWS4-HMAC-SHA256 X=1")),
        INCOMPLETE,
        ALL_MISSING,
    ),
    "unknown key": (
        signed(key="AKIDUNKNOWN"),
        UnrecognizedClientException,
        "The security token included in the request is invalid.",
    ),
    "wrong secret": (
        signed(secret=b"guess"),
        INVALID,
        "The request signature we calculated does not match the signature you provided. Check your AWS Secret Access"
        " Key and signing method. Consult the service documentation for details.",
    ),
    "too old": (
        signed(date="20150830T123059Z"),
        INVALID,
        "Signature expired: 20150830T123059Z is now earlier than 20150830T123100Z (20150830T123600Z - 5 min.)",
    ),
    "from the future": (
        signed(date="20150830T124101Z"),
        INVALID,
        "Signature not yet current: 20150830T124101Z is still later than 20150830T124100Z (20150830T123600Z + 5 min.)",
    ),
    "another day in the scope": (
        signed(day="20150829"),
        INVALID,
        "Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP: '20150829' !="
        " '20150830', from '20150830T123600Z'.",
    ),
    "no Region": (signed(region="west"), INVALID, "Credential should be scoped to a valid region, not 'west'."),
    "another service": (signed(service="sts"), INVALID, "Credential should be scoped to correct service: 'kms'."),
    "another terminator": (
        signed(terminator="x"),
        INVALID,
        "Credential should be scoped with a valid terminator: 'aws4_request', not 'x'.",
    ),
}


@pytest.mark.parametrize(("request_", "error", "sentence"), SENTENCES.values(), ids=SENTENCES)
def test_refusals_are_said_in_the_words_of_aws(request_: Request, error: type[KmsError], sentence: str) -> None:
    with pytest.raises(error) as raised:
        verify(request_, service="kms")
    assert raised.value.message == sentence


def test_the_window_is_closed_at_its_ends_and_wider_for_sts() -> None:
    assert verify(signed(date="20150830T123100Z"), service="kms").access_key_id == ACCESS_KEY_ID
    assert verify(signed(date="20150830T124100Z"), service="kms").access_key_id == ACCESS_KEY_ID
    early = signed(date="20150830T122100Z", service="sts")
    assert verify(early, service="sts", window_seconds=900).region == "us-west-2"
    with pytest.raises(InvalidSignatureException, match=r"- 15 min\.\)"):
        verify(signed(date="20150830T122059Z", service="sts"), service="sts", window_seconds=900)


def test_a_date_header_serves_where_x_amz_date_is_missing() -> None:
    for date in ("20150830T123600Z", "Sun, 30 Aug 2015 12:36:00 GMT", "Sun, 30 Aug 2015 14:36:00 +0200"):
        request = Request("POST", "/", "", {"host": "h", "date": date}, b"")
        canonical = sigv4.canonical_request(request, ("date", "host"), sigv4._payload_hash(request))
        text = sigv4.string_to_sign("20150830T123600Z", "20150830/us-west-2/kms/aws4_request", canonical)
        proof = sigv4.signature(sigv4.signing_key(SECRET, "20150830", "us-west-2", "kms"), text)
        header = f"Credential=AKIDEXAMPLE/20150830/us-west-2/kms/aws4_request,SignedHeaders=date;host,Signature={proof}"
        assert verify(with_header("authorization", f"AWS4-HMAC-SHA256 {header}")(request), service="kms")


def test_a_date_header_that_is_no_date_is_refused() -> None:
    scope = "20150830/us-west-2/kms/aws4_request"
    header = f"AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/{scope},SignedHeaders=date;host,Signature=0"
    for date in ("soon", "Sun, 99 Aug 2015 12:36:00 GMT", "1", ",", "Fri, 31 Dec 9999 23:59:59 -2359"):
        request = Request("POST", "/", "", {"host": "h", "date": date, "authorization": header}, b"")
        with pytest.raises(IncompleteSignatureException, match="Date must be in ISO-8601 'basic format'"):
            verify(request, service="kms")


def test_no_refusal_holds_the_secret_or_the_right_signature() -> None:
    good = signed()
    right = sigv4.parse_authorization(good).signature
    for request in (flip_signature(good), signed(secret=b"guess"), good._replace(body=b"x")):
        with pytest.raises(KmsError) as raised:
            verify(request, service="kms")
        assert right not in raised.value.message
        assert SECRET.decode() not in repr(raised.value)


# Signing keys


def test_signing_keys_are_kept_only_once_proved_and_are_bounded() -> None:
    keys = sigv4.SigningKeys(size=3)
    authorization = sigv4.parse_authorization(signed())
    key, _ = keys.get(authorization, SECRET)
    assert key == sigv4.signing_key(SECRET, "20150830", "us-west-2", "kms")
    assert len(keys) == 0
    for region in ("us-east-1", "us-east-2", "us-west-1", "us-west-2"):
        _, remember = keys.get(authorization._replace(region=region), SECRET)
        remember()
    assert len(keys) == 3


def test_a_changed_secret_never_meets_the_old_signing_key() -> None:
    keys = sigv4.SigningKeys()
    authorization = sigv4.parse_authorization(signed())
    _, remember = keys.get(authorization, SECRET)
    remember()
    assert keys.get(authorization, b"new")[0] == sigv4.signing_key(b"new", "20150830", "us-west-2", "kms")


# Headers that were read before


def test_what_a_proved_header_said_proves_no_other_signature() -> None:
    good = signed()
    verify(good, service="kms")
    assert sigv4.PROVED_HEADERS.find(good.headers["authorization"]) == sigv4.parse_authorization(good)
    for bent in (flip_signature(good), good._replace(body=b"x"), signed(secret=b"guess")):
        assert sigv4.PROVED_HEADERS.find(bent.headers["authorization"]) is not None
        with pytest.raises(InvalidSignatureException, match="does not match"):
            verify(bent, service="kms")
    verify(good, service="kms")


def test_a_proved_header_is_judged_anew_each_time() -> None:
    good = signed()
    verify(good, service="kms")
    with pytest.raises(InvalidSignatureException, match="Signature expired"):
        verify(good, service="kms", now=NOW + datetime.timedelta(minutes=6))
    with pytest.raises(InvalidSignatureException, match="scoped to correct service"):
        verify(good, service="sts")
    with pytest.raises(InvalidSignatureException, match="'x-amz-more' must be a 'SignedHeader'"):
        verify(with_header("x-amz-more", "unsigned")(good), service="kms")
    with pytest.raises(IncompleteSignatureException, match="existence of either"):
        verify(with_header("x-amz-date", None)(good), service="kms")


def test_headers_are_kept_only_once_proved_and_are_bounded() -> None:
    known = sigv4.ProvedHeaders(size=3)
    authorization = sigv4.parse_authorization(signed())
    for region in ("us-east-1", "us-east-2", "us-west-1", "us-west-2"):
        assert known.find(authorization.header.replace("us-west-2", region)) is None
        known.remember(authorization._replace(header=authorization.header.replace("us-west-2", region)))
        assert len(known) <= 3
    assert known.find(authorization.header) == authorization


def test_a_header_whose_signature_is_not_last_is_read_each_time() -> None:
    known = sigv4.ProvedHeaders()
    algorithm, _, rest = signed().headers["authorization"].partition(" ")
    turned = authorized_by(f"{algorithm} {', '.join(reversed(rest.split(', ')))}")
    assert verify(turned, service="kms").region == "us-west-2"
    known.remember(sigv4.parse_authorization(turned))
    assert len(known) == 0


# botocore as the other side


def signed_by_botocore(body: bytes, target: str, region: str, token: str | None) -> Request:
    request = botocore.awsrequest.AWSRequest(
        method="POST",
        url="http://127.0.0.1:8000/",
        data=body,
        headers={"X-Amz-Target": target, "Content-Type": "application/x-amz-json-1.1"},
    )
    credentials = botocore.credentials.Credentials(ACCESS_KEY_ID, SECRET.decode(), token)
    botocore.auth.SigV4Auth(credentials, "kms", region).add_auth(request)
    headers = {name.lower(): value for name, value in request.headers.items()}
    return Request("POST", "/", "", headers | {"host": "127.0.0.1:8000", "user-agent": "x"}, body)


@settings(max_examples=150, deadline=None, derandomize=True)
@given(
    body=st.binary(max_size=200),
    target=st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=40),
    region=st.sampled_from(["us-west-2", "us-gov-west-1", "ap-southeast-3"]),
    token=st.none() | st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=40),
    position=st.integers(0, 10_000),
)
def test_what_botocore_signs_is_verified_and_one_changed_bit_is_not(
    body: bytes, target: str, region: str, token: str | None, position: int
) -> None:
    request = signed_by_botocore(body, target, region, token)
    now = datetime.datetime.now(datetime.UTC)
    assert verify(request, now=now, service="kms").region == region
    if body:
        changed = bytearray(body)
        changed[position % len(body)] ^= 1 << position % 8
        with pytest.raises(InvalidSignatureException):
            verify(request._replace(body=bytes(changed)), now=now, service="kms")
    with pytest.raises(InvalidSignatureException):
        verify(with_header("x-amz-target", target + "x")(request), now=now, service="kms")
