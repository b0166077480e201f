"""Temporary keys on the wire: with their token, with none, with another's, after their end."""

from __future__ import annotations

import pytest

from kmsapp.tests.wire_requests import TOKEN, Operations, send, signed_environ, sts_environ

INVALID = (
    "UnrecognizedClientException",
    "InvalidClientTokenId",
    "The security token included in the request is invalid.",
)
EXPIRED = ("ExpiredTokenException", "ExpiredToken", "The security token included in the request is expired")
CASES: dict[str, tuple[str, str | None, tuple[str, str, str] | None]] = {
    "a session's key with its token": ("ASIASESSION", TOKEN, None),
    "a session's key without a token": ("ASIASESSION", None, INVALID),
    "a session's key with another token": ("ASIASESSION", TOKEN + "x", INVALID),
    "a session's key with a part of its token": ("ASIASESSION", TOKEN[:-1], INVALID),
    "a session's key with a token of no ASCII": ("ASIASESSION", "t\u00f6ken", INVALID),
    "a user's key with a token": ("AKIDALICE", TOKEN, INVALID),
    "an expired key with its token": ("ASIAEXPIRED", TOKEN, EXPIRED),
    # Who has not the token is not told whether the session has expired.
    "an expired key with another token": ("ASIAEXPIRED", "x", INVALID),
    "an unknown key": ("ASIAUNKNOWN", TOKEN, INVALID),
}


@pytest.mark.parametrize(("access_key_id", "token", "refusal"), CASES.values(), ids=CASES)
def test_a_temporary_key_needs_its_token(
    access_key_id: str, token: str | None, refusal: tuple[str, str, str] | None
) -> None:
    operations = Operations({"Keys": [], "Truncated": False})
    answer = send(signed_environ(b"{}", access_key_id=access_key_id, token=token), operations)
    if refusal is None:
        assert answer.status == 200
        assert [call[0].session for call in operations.calls] == [7]
        return
    code, query_code, text = refusal
    assert (answer.status, answer.document["__type"], answer.document["message"]) == (400, code, text)
    by_query = send(sts_environ(access_key_id=access_key_id, token=token))
    error = by_query.as_botocore_reads_it("sts", "GetCallerIdentity")["Error"]
    assert (by_query.status, error["Code"], error["Message"]) == (403, query_code, text)
    assert not operations.calls


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_the_caller_knows_whether_the_way_was_secure(scheme: str) -> None:
    operations = Operations({"Keys": [], "Truncated": False})
    send(signed_environ() | {"wsgi.url_scheme": scheme}, operations)
    assert [call[0].is_secure for call in operations.calls] == [scheme == "https"]
