"""Requests as bytes on a socket: header lines in any number, order and spelling, which no HTTP client would send."""

from __future__ import annotations

import dataclasses
import http.client
import socket
from typing import Any

import botocore.auth
import botocore.awsrequest
import botocore.credentials

from kmsapp.testing import REGION, Casemate
from kmsapp.tests.signed_http import CONTENT_TYPE, Answer

Line = tuple[str, str]


@dataclasses.dataclass(frozen=True)
class Raw:
    """A request before it is written; each `with_…` gives another one."""

    lines: tuple[Line, ...]
    body: bytes = b"{}"
    method: str = "POST"
    target: str = "/"

    def value(self, name: str) -> str:
        return next(value for known, value in self.lines if known.lower() == name.lower())

    def without(self, name: str) -> Raw:
        return dataclasses.replace(self, lines=tuple(line for line in self.lines if line[0].lower() != name.lower()))

    def with_line(self, name: str, value: str, *, first: bool = False) -> Raw:
        """One line more; nothing is taken away."""
        line = ((name, value),)
        return dataclasses.replace(self, lines=line + self.lines if first else self.lines + line)

    def with_value(self, name: str, value: str) -> Raw:
        """The header with another value, at the end."""
        return self.without(name).with_line(name, value)

    def written(self) -> bytes:
        lines = [f"{self.method} {self.target} HTTP/1.1", *(f"{name}: {value}" for name, value in self.lines)]
        return "\r\n".join([*lines, "Connection: close", "", ""]).encode("latin-1") + self.body


def signed(casemate: Casemate, body: bytes = b"{}", *, service: str = "kms", secret: str = "", **headers: str) -> Raw:
    """A good request of alice's: ListKeys, unless `headers` (with underscores) say otherwise; None leaves one out."""
    who = casemate.person("alice")
    wanted = {"Content-Type": CONTENT_TYPE, "X-Amz-Target": "TrentService.ListKeys"}
    wanted |= {name.replace("_", "-"): value for name, value in headers.items()}
    kept = {name: value for name, value in wanted.items() if value}
    request = botocore.awsrequest.AWSRequest("POST", casemate.url + "/", headers=kept, data=body)
    credentials = botocore.credentials.Credentials(who.access_key_id, secret or who.secret_access_key)
    signer: Any = botocore.auth.SigV4Auth(credentials, service, REGION)
    signer.add_auth(request)
    host = casemate.url.partition("//")[2]
    lines = [("Host", host), *request.headers.items(), ("Content-Length", str(len(body)))]
    return Raw(tuple(lines), body)


def send(casemate: Casemate, request: Raw | bytes, *, seconds: float = 10.0) -> Answer:
    """Write it and read the answer. Status 0: the server closed the connection without one."""
    data = request if isinstance(request, bytes) else request.written()
    method = "POST" if isinstance(request, bytes) else request.method
    with socket.create_connection(("127.0.0.1", casemate.server.port), timeout=seconds) as connection:
        connection.sendall(data)
        response = http.client.HTTPResponse(connection, method=method)
        try:
            response.begin()
        except (http.client.RemoteDisconnected, http.client.BadStatusLine, ConnectionResetError):
            return Answer(0, {}, b"")
        return Answer(response.status, {name.lower(): value for name, value in response.getheaders()}, response.read())
