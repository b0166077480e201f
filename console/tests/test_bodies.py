"""Forms that are cut short are not acted on."""

from __future__ import annotations

import io
import re
import socket

import pytest

from console import bodies
from kmsapp.testing import Casemate
from kmsapp.tests.browser_client import BrowserClient


def test_a_body_is_whole_or_an_error() -> None:
    assert bodies.whole(io.BytesIO(b"abcdef"), 6).read() == b"abcdef"
    assert bodies.whole(io.BytesIO(b"abcdef and more"), 6).read() == b"abcdef", "no more than its length"
    assert bodies.whole(io.BytesIO(b""), 0).read() == b""
    assert bodies.whole(io.BytesIO(b"a\nb"), 3).readline() == b"a\n"
    for given in (b"", b"abcde"):
        with pytest.raises(OSError, match="before its length"):
            bodies.whole(io.BytesIO(given), 6).read()


def test_a_form_that_was_cut_off_changes_nothing(casemate: Casemate) -> None:
    """A step of the wizard, sent but for its last bytes, and then sent whole."""
    alice = BrowserClient(casemate)
    alice.sign_in("alice")
    configured = {"key_type": "symmetric", "key_usage": "ENCRYPT_DECRYPT", "origin": "AWS_CLOUDHSM"}
    draft = alice.post("/keys/create/", **configured, regionality="single").location.removesuffix("key-store/")
    alice.post(f"{draft}key-store/", custom_key_store_id="cks-1234567890abcdef0", go="next")
    body = alice.form(f"{draft}labels/", alias="whole", description="all of it", go="next").encode()
    for given, kept in ((body[:-10], False), (body, True)):
        answer = _post(casemate, alice, f"{draft}labels/", given, len(body))
        assert re.match(rb"HTTP/1.1 302 " if kept else rb"HTTP/1.1 4\d\d ", answer), answer[:200]
        assert ('value="whole"' in alice.get(f"{draft}labels/").text) is kept


def _post(casemate: Casemate, browser: BrowserClient, path: str, body: bytes, length: int) -> bytes:
    """Post a form of `length` bytes of which no more than `body` comes."""
    head = {"Host": casemate.url.partition("//")[2], "Content-Length": str(length), "Connection": "close"}
    head |= browser.headers("POST")
    lines = "".join(f"{name}: {value}\r\n" for name, value in head.items())
    answer = b""
    with socket.create_connection(("127.0.0.1", casemate.server.port), timeout=20) as connection:
        connection.sendall(f"POST {path} HTTP/1.1\r\n{lines}\r\n".encode() + body)
        if len(body) < length:
            connection.shutdown(socket.SHUT_WR)
        while chunk := connection.recv(65536):
            answer += chunk
    return answer
