"""Signed requests to the wire handler as WSGI has them, with access keys and operations that a test can look into."""

from __future__ import annotations

import dataclasses
import datetime
import hashlib
import io
import json
from collections.abc import Mapping
from typing import Any

import botocore.auth
import botocore.awsrequest
import botocore.credentials
import botocore.model
import botocore.parsers

from kmsapp import service_models
from kmsapp.caller import Caller
from kmsapp.errors import KmsError
from kmsapp.iam.credentials import Credential
from kmsapp.wire import handler

SECRET = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
ALICE = "arn:aws:iam::111122223333:user/alice"
JSON = "application/x-amz-json-1.1"
FORM = "application/x-www-form-urlencoded; charset=utf-8"
CALLER_IDENTITY = b"Action=GetCallerIdentity&Version=2011-06-15"


# An access key of alice's, one that was switched off, and the temporary one of a session of hers.
_KEY = Credential("AKIDALICE", SECRET.encode(), True, "111122223333", ALICE, "AIDAEXAMPLE", "alice")
TOKEN = "token-of-the-session"
ACCESS_KEYS = {
    "AKIDALICE": _KEY,
    "AKIDSWITCHEDOFF": dataclasses.replace(_KEY, active=False),
    "ASIASESSION": dataclasses.replace(
        _KEY,
        session=7,
        token_sha256=hashlib.sha256(TOKEN.encode()).hexdigest(),
        expires_at=datetime.datetime(2100, 1, 1, tzinfo=datetime.UTC),
    ),
}
ACCESS_KEYS["ASIAEXPIRED"] = dataclasses.replace(
    ACCESS_KEYS["ASIASESSION"], expires_at=datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC)
)


@dataclasses.dataclass
class Operations:
    """Stands behind the wire: keeps what arrived, answers what it was given."""

    answer: Mapping[str, Any] | Exception | None = None
    calls: list[tuple[Caller, str, Mapping[str, Any], str]] = dataclasses.field(default_factory=list)
    refused: list[tuple[Caller, str, str, str]] = dataclasses.field(default_factory=list)

    def __call__(
        self, caller: Caller, name: str, params: Mapping[str, Any], *, request_id: str
    ) -> Mapping[str, Any] | None:
        self.calls.append((caller, name, params, request_id))
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer

    def refuse(self, caller: Caller, name: str, error: KmsError, *, request_id: str) -> None:
        self.refused.append((caller, name, error.code, request_id))


@dataclasses.dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def document(self) -> dict[str, Any]:
        document: dict[str, Any] = json.loads(self.body)
        return document

    def as_botocore_reads_it(self, service: str, operation: str) -> dict[str, Any]:
        model = botocore.model.ServiceModel(service_models.service(service).raw, service)
        parser = botocore.parsers.create_parser(model.resolved_protocol)
        response = {"status_code": self.status, "headers": self.headers, "body": self.body}
        parsed: dict[str, Any] = parser.parse(response, model.operation_model(operation).output_shape)
        return parsed


def signed_environ(
    body: bytes = b"{}",
    *,
    target: str | None = "TrentService.ListKeys",
    service: str = "kms",
    access_key_id: str = "AKIDALICE",
    secret: str = SECRET,
    content_type: str = JSON,
    token: str | None = None,
) -> dict[str, Any]:
    headers = {"Content-Type": content_type} | ({"X-Amz-Target": target} if target is not None else {})
    request = botocore.awsrequest.AWSRequest("POST", "http://127.0.0.1:8000/", headers=headers, data=body)
    credentials = botocore.credentials.Credentials(access_key_id, secret, token)
    botocore.auth.SigV4Auth(credentials, service, "us-west-2").add_auth(request)
    environ = environ_of(body, content_type)
    for name, value in request.headers.items():
        if name.lower() != "content-type":
            environ[f"HTTP_{name.upper().replace('-', '_')}"] = value
    return environ


def environ_of(body: bytes, content_type: str) -> dict[str, Any]:
    return {
        "REQUEST_METHOD": "POST",
        "SCRIPT_NAME": "",
        "PATH_INFO": "/",
        "QUERY_STRING": "",
        "REMOTE_ADDR": "192.0.2.7",
        "SERVER_NAME": "127.0.0.1",
        "SERVER_PORT": "8000",
        "wsgi.input": OnlyRead(body),
        "wsgi.input_terminated": True,
        "wsgi.url_scheme": "http",
        "HTTP_HOST": "127.0.0.1:8000",
        "HTTP_USER_AGENT": "aws-cli/1",
        "HTTP_COOKIE": "sessionid=somebody",
        "CONTENT_TYPE": content_type,
        "CONTENT_LENGTH": str(len(body)),
    }


class OnlyRead:
    """A body as granian gives it: read() and read(n), in pieces, and nothing else."""

    def __init__(self, body: bytes):
        self._body = io.BytesIO(body)
        self.given = 0

    def read(self, size: int = -1) -> bytes:
        piece = self._body.read(min(size, 1000) if size >= 0 else -1)
        self.given += len(piece)
        return piece


def send(environ: dict[str, Any], operations: Operations | None = None) -> Answer:
    started: list[tuple[str, list[tuple[str, str]]]] = []
    behind = operations or Operations()
    seams = handler.Seams(behind, behind.refuse, ACCESS_KEYS.get, lambda: datetime.datetime.now(datetime.UTC))
    body = b"".join(handler.answer(environ, lambda status, headers: started.append((status, headers)), seams))
    ((status, headers),) = started
    return Answer(int(status.partition(" ")[0]), {name.lower(): value for name, value in headers}, body)


def sts_environ(body: bytes = CALLER_IDENTITY, **signing: Any) -> dict[str, Any]:
    return signed_environ(body, target=None, service="sts", content_type=FORM, **signing)
