"""Signed calls by the thousand: a connection for each caller, and no more work for a request than it needs.

Written from https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html and the two
protocols, because botocore takes longer for a request than the server. Its own requests are in the other tests.
"""

from __future__ import annotations

import base64
import datetime
import functools
import hashlib
import hmac
import http.client
import json
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from html import unescape
from typing import Any
from urllib.parse import urlencode

from kmsapp.testing import REGION

_TARGETS = {"kms": "TrentService", "cloudhsm": "BaldrApiService"}
_VERSIONS = {"sts": "2011-06-15", "iam": "2010-05-08"}
IDLE_SECONDS = 0.5  # a server may close a connection that carried nothing for so long
_ELEMENT = re.compile(r"<(\w+)>([^<]*)</\1>")


@dataclass(frozen=True)
class Credentials:
    access_key_id: str
    secret: str = field(repr=False)


@dataclass(frozen=True)
class Answer:
    status: int
    code: str  # "" for a success
    message: str
    shape: tuple[str, ...]  # names of its headers and members
    found: dict[str, str]  # texts of the answer by the name of their member, wherever they are
    document: Any  # of a JSON service


class Wire:
    """One caller's connection. Not for two threads at once."""

    def __init__(self, port: int, credentials: Credentials | None):
        self._host, self._credentials = f"127.0.0.1:{port}", credentials
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        self._used = time.monotonic()

    def call(self, operation: str, params: dict[str, Any]) -> Answer:
        """Call "service:Operation". Bytes are blobs."""
        service, _, name = operation.partition(":")
        if service in _TARGETS:
            body = json.dumps(params, default=_blob).encode()
            headers = {"Content-Type": "application/x-amz-json-1.1", "X-Amz-Target": f"{_TARGETS[service]}.{name}"}
        else:
            fields = {"Action": name, "Version": _VERSIONS[service], **dict(_flattened("", params))}
            body = urlencode(fields).encode()
            headers = {"Content-Type": "application/x-www-form-urlencoded; charset=utf-8"}
        if self._credentials is not None:
            headers |= _signed(self._credentials, service, self._host, headers, body)
        if time.monotonic() - self._used > IDLE_SECONDS:
            self._connection.close()  # the next request opens another
        self._connection.request("POST", "/", body=body, headers=headers)
        response = self._connection.getresponse()
        names = tuple(sorted(name.lower() for name, _ in response.getheaders()))
        self._used = time.monotonic()
        return (_json if service in _TARGETS else _xml)(response.status, names, response.read().decode())


def _blob(value: object) -> str:
    if not isinstance(value, bytes):
        raise TypeError(type(value))
    return base64.b64encode(value).decode()


def _flattened(name: str, value: Any) -> Iterator[tuple[str, str]]:
    """The fields of a query request: Tags.member.1.Key."""
    if isinstance(value, dict):
        for member, inner in value.items():
            yield from _flattened(f"{name}.{member}" if name else member, inner)
    elif isinstance(value, list):
        for number, inner in enumerate(value, 1):
            yield from _flattened(f"{name}.member.{number}", inner)
    else:
        yield name, str(value).lower() if isinstance(value, bool) else str(value)


def _signed(known: Credentials, service: str, host: str, headers: dict[str, str], body: bytes) -> dict[str, str]:
    now = datetime.datetime.now(datetime.UTC).strftime("%Y%m%dT%H%M%SZ")
    signing = {name.lower(): value for name, value in headers.items()} | {"host": host, "x-amz-date": now}
    names = ";".join(sorted(signing))
    lines = "".join(f"{name}:{signing[name]}\n" for name in sorted(signing))
    canonical = f"POST\n/\n\n{lines}\n{names}\n{hashlib.sha256(body).hexdigest()}"
    scope = f"{now[:8]}/{REGION}/{service}/aws4_request"
    to_sign = f"AWS4-HMAC-SHA256\n{now}\n{scope}\n{hashlib.sha256(canonical.encode()).hexdigest()}"
    signature = hmac.new(_signing_key(known.secret, scope), to_sign.encode(), "sha256").hexdigest()
    credential = f"Credential={known.access_key_id}/{scope}"
    authorization = f"AWS4-HMAC-SHA256 {credential}, SignedHeaders={names}, Signature={signature}"
    return {"X-Amz-Date": now, "Authorization": authorization}


@functools.lru_cache(maxsize=256)
def _signing_key(secret: str, scope: str) -> bytes:
    key = f"AWS4{secret}".encode()
    for part in scope.split("/"):
        key = hmac.digest(key, part.encode(), "sha256")
    return key


def _json(status: int, headers: tuple[str, ...], text: str) -> Answer:
    document = json.loads(text) if text else {}
    code = str(document.get("__type", "")).rpartition("#")[2] if status >= 300 else ""
    message = document.get("message") or document.get("Message") or ""
    found = {name: value for name, value in document.items() if isinstance(value, str)}
    return Answer(status, code, message if code else "", (*headers, *sorted(document)), found, document)


def _xml(status: int, headers: tuple[str, ...], text: str) -> Answer:
    found = {name: unescape(value) for name, value in _ELEMENT.findall(text)}
    code, message = (found["Code"], found.get("Message", "")) if status >= 300 else ("", "")
    return Answer(status, code, message, (*headers, *sorted(found)), found, None)
