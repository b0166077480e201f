"""Signed requests that no client would send: any body, any header, any date, byte by byte."""

from __future__ import annotations

import base64
import datetime
import http.client
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from unittest import mock

import botocore.auth
import botocore.awsrequest
import botocore.credentials

from kmsapp.testing import REGION, Casemate

CONTENT_TYPE = "application/x-amz-json-1.1"
# These differ from answer to answer by nature.
_UNIQUE = {"x-amzn-requestid", "date"}


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def code(self) -> str:
        """The error's name without its namespace; empty if there is none."""
        try:
            document = json.loads(self.body)
        except ValueError:
            return ""
        return str(document.get("__type", "")).rpartition("#")[2]

    @property
    def document(self) -> dict[str, Any]:
        """The JSON object of the body."""
        document: dict[str, Any] = json.loads(self.body)
        return document

    @property
    def comparable_headers(self) -> tuple[tuple[str, str], ...]:
        return tuple(sorted((name, value) for name, value in self.headers.items() if name not in _UNIQUE))


def post(
    casemate: Casemate,
    body: bytes | Mapping[str, Any],
    *,
    operation: str = "ListKeys",
    person: str = "alice",
    target: str | None = None,
    service: str = "kms",
    secret: str = "",
    at: datetime.datetime | None = None,
    after_signing: Mapping[str, str] | None = None,
    sent: dict[str, str] | None = None,
) -> Answer:
    """Sign and send a request.

    body: bytes as they are, or parameters. after_signing: headers put on or replaced. sent: gets the headers sent.
    """
    data = body if isinstance(body, bytes) else json.dumps(body, default=_blob).encode()
    who = casemate.person(person)
    headers = {"Content-Type": CONTENT_TYPE, "X-Amz-Target": target or f"TrentService.{operation}"}
    request = botocore.awsrequest.AWSRequest("POST", casemate.url + "/", headers=headers, data=data)
    credentials = botocore.credentials.Credentials(who.access_key_id, secret or who.secret_access_key)
    signer = botocore.auth.SigV4Auth(credentials, service, REGION)
    _sign(signer, request, at)
    all_headers = {**dict(request.headers.items()), **(after_signing or {})}
    if sent is not None:
        sent.update(all_headers)
    return send(casemate, data, all_headers)


def _sign(signer: Any, request: Any, at: datetime.datetime | None) -> None:
    if at is None:
        signer.add_auth(request)
        return
    # botocore takes the time from the clock; a stale signature needs another one.
    with mock.patch.object(botocore.auth, "get_current_datetime", return_value=at):
        signer.add_auth(request)


def send(casemate: Casemate, body: bytes, headers: Mapping[str, str]) -> Answer:
    """Send as it is."""
    connection = http.client.HTTPConnection("127.0.0.1", casemate.server.port, timeout=30)
    try:
        connection.request("POST", "/", body=body, headers=dict(headers))
        answer = connection.getresponse()
        return Answer(answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read())
    finally:
        connection.close()


def _blob(value: object) -> str:
    if not isinstance(value, bytes):
        raise TypeError(type(value))
    return base64.b64encode(value).decode()
