"""Wrong and strange HTTP on sockets to the running server, followed by other things on the same connection: I4."""

from __future__ import annotations

import itertools
import re
import socket
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import pytest

from kmsapp.testing import Casemate
from kmsapp.tests.http_shapes import NO_BODY, SHAPES, written
from kmsapp.tests.raw_http import Raw, signed
from kmsapp.tests.server_logs import no_bug
from kmsapp.tests.signed_http import post

LONGEST_SECONDS, SILENT_SECONDS, AT_ONCE = 10.0, 0.4, 8
FORM = "application/x-www-form-urlencoded; charset=utf-8"
DEMO_KEY = b'{"KeyId":"1234abcd-12ab-34cd-56ef-1234567890ab"}'
STATUS = re.compile(rb"HTTP/1\.[01] (\d{3}) ")
# The answers to ListKeys, and to the request that lies in a body.
KEYS, IN_BODY = b'"Keys":[', b'"KeyMetadata":'
FOLLOWERS = ("nothing", "a good request", "the same again", "a request in its body", "garbage")
ANSWERS = {100, 200, 302, 400, 403, 404, 405, 413, 414, 417, 431}


@pytest.fixture(autouse=True)
def the_server_meets_no_bug_of_its_own(casemate: Casemate) -> Iterator[None]:
    with no_bug(casemate):
        yield


class Case(NamedTuple):
    shape: str
    kind: str
    follower: str


class Outcome(NamedTuple):
    answer: bytes
    seconds: float

    @property
    def statuses(self) -> list[int]:
        return [int(found) for found in STATUS.findall(self.answer)]


def goods(casemate: Casemate, body: bytes = b"") -> dict[str, Raw]:
    """A good request of each kind; with `body`, the same holding that."""
    host = casemate.url.partition("//")[2]
    identity = b"Action=GetCallerIdentity&Version=2011-06-15" + (b"&x=" + body if body else b"")
    form = b"next=%2F&x=" + body
    head = (("Host", host), ("Content-Type", FORM), ("Content-Length", str(len(form))))
    return {
        "ListKeys": signed(casemate, body or b"{}"),
        "GetCallerIdentity": signed(casemate, identity, service="sts", X_Amz_Target="", Content_Type=FORM),
        "a form of the console": Raw(head, form, "POST", "/sign-in/"),
        "another secret": signed(casemate, body or b"{}", secret="x" * 40),
    }


def cases() -> list[Case]:
    kinds = ("ListKeys", "GetCallerIdentity", "a form of the console", "another secret")
    return [Case(*case) for case in itertools.product(SHAPES, kinds, FOLLOWERS)]


def sent(casemate: Casemate, case: Case) -> bytes:
    in_body = written(signed(casemate, DEMO_KEY, X_Amz_Target="TrentService.DescribeKey"))
    good = goods(casemate, in_body if case.follower == "a request in its body" else b"")[case.kind]
    first = SHAPES[case.shape](good)
    last = written(signed(casemate).with_line("Connection", "close"))
    behind = {"a good request": last, "the same again": first, "garbage": b"\r\n\0\xff GET\r\n\r\n" * 20}
    return first + behind.get(case.follower, b"")


def talk(casemate: Casemate, data: bytes) -> Outcome:
    """Write it, and read until the server ends the connection; when it says nothing more, say that no more comes."""
    began, answer = time.monotonic(), b""
    with socket.create_connection(("127.0.0.1", casemate.server.port), timeout=SILENT_SECONDS) as connection:
        try:
            connection.sendall(data)
            while time.monotonic() < began + LONGEST_SECONDS:
                try:
                    chunk = connection.recv(65536)
                except TimeoutError:
                    connection.shutdown(socket.SHUT_WR)
                    connection.settimeout(LONGEST_SECONDS)
                    continue
                if not chunk:
                    break
                answer += chunk
        except (ConnectionResetError, BrokenPipeError):
            pass  # the end of a connection, too
    return Outcome(answer, time.monotonic() - began)


def test_strange_http_is_answered_or_ended_and_nothing_in_a_body_is_a_request(casemate: Casemate) -> None:
    every = cases()
    with ThreadPoolExecutor(AT_ONCE) as pool:
        outcomes = list(pool.map(lambda case: talk(casemate, sent(casemate, case)), every))
    counts: Counter[str] = Counter()
    for case, outcome in zip(every, outcomes, strict=True):
        assert outcome.seconds < LONGEST_SECONDS, case
        assert set(outcome.statuses) <= ANSWERS, (case, outcome)
        assert IN_BODY not in outcome.answer or case.shape in NO_BODY, (case, "a body was taken for a request")
        if case.kind == "another secret":
            assert outcome.answer.count(KEYS) <= (case.follower == "a good request"), case
        if case.kind != "a form of the console":
            assert b"<html" not in outcome.answer.lower(), (case, "a page, to a client of the API")
        counts.update(map(str, outcome.statuses) if outcome.statuses else ["no answer"])
    assert len(every) >= 2_000
    print(f"I4: {len(every):,} connections, {len(SHAPES)} shapes of a request: {dict(counts.most_common())}")
    assert post(casemate, b"{}").status == 200, "and the server goes on"


def test_pipelined_requests_are_answered_in_their_order(casemate: Casemate) -> None:
    known = {"ListKeys": KEYS, "DescribeKey": IN_BODY, "NoSuchOperation": b"UnknownOperationException"}
    asked = [("ListKeys", b"{}"), ("DescribeKey", DEMO_KEY), ("NoSuchOperation", b"{}")] * 5
    requests = [signed(casemate, body, X_Amz_Target=f"TrentService.{name}") for name, body in asked]
    requests[-1] = requests[-1].with_line("Connection", "close")
    outcome = talk(casemate, b"".join(map(written, requests)))
    answers = STATUS.split(outcome.answer)[2::2]
    assert [known[name] in answer for (name, _), answer in zip(asked, answers, strict=True)] == [True] * len(asked)


def test_a_body_in_pieces_is_put_together(casemate: Casemate) -> None:
    request = written(
        signed(casemate, DEMO_KEY, X_Amz_Target="TrentService.DescribeKey").with_line("Connection", "close")
    )
    with socket.create_connection(("127.0.0.1", casemate.server.port), timeout=LONGEST_SECONDS) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for piece in (request[:20], request[20:-40], *(request[-40:][at : at + 1] for at in range(40))):
            connection.sendall(piece)
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
    assert STATUS.findall(answer) == [b"200"] and IN_BODY in answer
