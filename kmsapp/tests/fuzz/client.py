"""Any request, right or wrong, signed by botocore's signer; answers as botocore reads them."""

from __future__ import annotations

import base64
import http.client
import json
from collections.abc import Iterator
from typing import Any, NamedTuple
from urllib.parse import urlencode

import botocore.auth
import botocore.awsrequest
import botocore.credentials
import botocore.model
import botocore.parsers

from kmsapp.testing import REGION, Casemate
from kmsapp.tests.fuzz.published import Service

_JSON = "application/x-amz-json-1.1"
_FORM = "application/x-www-form-urlencoded; charset=utf-8"


class Answer(NamedTuple):
    status: int
    headers: dict[str, str]
    code: str  # "" for a success
    message: str
    body: bytes


class Encoded(NamedTuple):
    """A request as it is signed: the body, and the headers that say what it is."""

    body: bytes
    headers: dict[str, str]


class Client:
    """One person's connection. Not for two threads at once."""

    def __init__(self, casemate: Casemate, person: str):
        who = casemate.person(person)
        self._url = f"{casemate.url}/"
        self._credentials = botocore.credentials.Credentials(who.access_key_id, who.secret_access_key)
        self._connection = http.client.HTTPConnection("127.0.0.1", casemate.server.port, timeout=60)
        self._signers: dict[str, Any] = {}
        self._models: dict[str, Any] = {}

    def send(self, service: Service, operation: str, request: Encoded) -> Answer:
        signed = botocore.awsrequest.AWSRequest("POST", self._url, headers=request.headers, data=request.body)
        self._signer(service.prefix).add_auth(signed)
        response = self._answer(request.body, dict(signed.headers.items()))
        got = {name.lower(): value for name, value in response.getheaders()}
        data = response.read()
        parsed = self._parse(service, operation, {"status_code": response.status, "headers": got, "body": data})
        error = parsed.get("Error", {})
        return Answer(response.status, got, str(error.get("Code", "")), str(error.get("Message", "")), data)

    def _answer(self, body: bytes, headers: dict[str, str]) -> http.client.HTTPResponse:
        try:
            self._connection.request("POST", "/", body=body, headers=headers)
            return self._connection.getresponse()
        except (http.client.RemoteDisconnected, BrokenPipeError, ConnectionResetError):
            self._connection.close()  # the server ends what was idle for long
            self._connection.request("POST", "/", body=body, headers=headers)
            return self._connection.getresponse()

    def _signer(self, prefix: str) -> Any:
        if prefix not in self._signers:
            self._signers[prefix] = botocore.auth.SigV4Auth(self._credentials, prefix, REGION)
        return self._signers[prefix]

    def _parse(self, service: Service, operation: str, response: dict[str, Any]) -> dict[str, Any]:
        if service.prefix not in self._models:
            model = botocore.model.ServiceModel(service.raw, service.prefix)
            self._models[service.prefix] = model, botocore.parsers.create_parser(service.protocol)
        model, parser = self._models[service.prefix]
        parsed: dict[str, Any] = parser.parse(response, model.operation_model(operation).output_shape)
        return parsed


def can_be_sent(service: Service, request: Any) -> bool:
    """A form has no way to say that a structure is there and has no members."""
    if service.protocol == "json" or not request:
        return service.protocol == "json" or request != {}
    inner = request.values() if isinstance(request, dict) else request if isinstance(request, list) else ()
    return all(can_be_sent(service, value) for value in inner)


def encoded(service: Service, operation: str, request: dict[str, Any]) -> Encoded:
    if service.protocol == "json":
        target = f"{service.raw['metadata']['targetPrefix']}.{operation}"
        return Encoded(json.dumps(request, default=_base64).encode(), {"Content-Type": _JSON, "X-Amz-Target": target})
    fields = [("Action", operation), ("Version", service.raw["metadata"]["apiVersion"]), *_fields("", request)]
    return Encoded(urlencode(fields).encode(), {"Content-Type": _FORM})


def _base64(value: object) -> str:
    assert isinstance(value, bytes), type(value)
    return base64.b64encode(value).decode()


def _fields(name: str, value: Any) -> Iterator[tuple[str, str]]:
    """The fields of a form: Tags.member.1.Key. A list of nothing is an empty field, as botocore sends it."""
    match value:
        case None:
            return
        case dict():
            for member, inner in value.items():
                yield from _fields(f"{name}.{member}" if name else member, inner)
        case []:
            yield name, ""
        case list():
            for number, inner in enumerate(value, 1):
                yield from _fields(f"{name}.member.{number}", inner)
        case bool():
            yield name, str(value).lower()
        case bytes():
            yield name, _base64(value)
        case _:
            yield name, str(value)
