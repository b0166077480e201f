"""Requests that are wrong, or strange, as HTTP: lengths, chunks, versions, targets, lines of the head. I4.

Each shape bends a good signed request into bytes. What must come of it, whatever is behind it on the connection: the
answer of the request as it was signed, a refusal, or the end of the connection. What a body holds is never a request.
"""

from __future__ import annotations

import dataclasses
import gzip
from collections.abc import Callable

from kmsapp.tests.raw_http import Raw

Shape = Callable[[Raw], bytes]
CHUNKED = "Transfer-Encoding"


def written(request: Raw, version: str = "HTTP/1.1") -> bytes:
    """As Raw.written, but the connection stays open."""
    lines = [f"{request.method} {request.target} {version}", *(f"{name}: {value}" for name, value in request.lines)]
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + request.body


def _chunks(body: bytes) -> bytes:
    return b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body)


def _chunked(coding: str, *, with_length: bool = False, framed: Callable[[bytes], bytes] = _chunks) -> Shape:
    def shape(good: Raw) -> bytes:
        kept = good if with_length else good.without("Content-Length")
        return written(dataclasses.replace(kept.with_line(CHUNKED, coding), body=framed(good.body)))

    return shape


def _length(*values: str) -> Shape:
    def shape(good: Raw) -> bytes:
        bent = good.without("Content-Length")
        for value in values:
            bent = bent.with_line("Content-Length", value.replace("n", str(len(good.body))))
        return written(bent)

    return shape


def _line(text: str) -> Shape:
    return lambda good: written(good).replace(b"\r\n", b"\r\n" + text.encode("latin-1") + b"\r\n", 1)


def _version(version: str) -> Shape:
    return lambda good: written(good, version)


def _target(target: str) -> Shape:
    return lambda good: written(dataclasses.replace(good, target=target))


def _method(method: str) -> Shape:
    return lambda good: written(dataclasses.replace(good, method=method))


LENGTHS: dict[str, Shape] = {
    "no length": lambda good: written(good.without("Content-Length")),
    "no length and no body": lambda good: written(dataclasses.replace(good.without("Content-Length"), body=b"")),
    "two lengths alike": _length("n", "n"),
    "two lengths, the longer first": _length("n", "0"),
    "two lengths, the shorter first": _length("0", "n"),
    "a list of lengths": _length("n, n"),
    "a list of unlike lengths": _length("n, 0"),
    "a length with a sign": _length("+n"),
    "a length below zero": _length("-1"),
    "a length in hexadecimal": _length("0xn"),
    "a length with zeros": _length("000n"),
    "a length with a fraction": _length("n.0"),
    "an empty length": _length(""),
    "a length of thirty digits": _length("9" * 30),
    "a length too short": _length("1"),
    "a length of nothing": _length("0"),
}
CHUNKS: dict[str, Shape] = {
    "chunks": _chunked("chunked"),
    "chunks, spelt otherwise": _chunked("ChUnKeD"),
    "chunks and a length": _chunked("chunked", with_length=True),
    "chunks and a length of all of it": lambda good: written(
        dataclasses.replace(
            good.with_value("Content-Length", str(len(_chunks(good.body)))).with_line(CHUNKED, "chunked"),
            body=_chunks(good.body),
        )
    ),
    "chunks and no length in HTTP/1.0": lambda good: written(
        dataclasses.replace(good.without("Content-Length").with_line(CHUNKED, "chunked"), body=_chunks(good.body)),
        "HTTP/1.0",
    ),
    "chunks that are not last": _chunked("chunked, identity"),
    "chunks after identity": _chunked("identity, chunked", with_length=True),
    "chunks twice": _chunked("chunked, chunked", with_length=True),
    "another coding": _chunked("xchunked", with_length=True),
    "a coding with parameters": _chunked("chunked;a=b", with_length=True),
    "a coding after a tab": _chunked("\tchunked", with_length=True),
    "an empty coding": _chunked("", with_length=True),
    "a coding of no name": lambda good: written(good).replace(b"\r\n", b"\r\nTransfer-Encoding : chunked\r\n", 1),
    "identity": _chunked("identity"),
    "a chunk with an extension": _chunked(
        "chunked", framed=lambda body: b"%x;a=b\r\n%s\r\n0\r\n\r\n" % (len(body), body)
    ),
    "a chunk of no number": _chunked("chunked", framed=lambda body: b"g\r\n" + body + b"\r\n0\r\n\r\n"),
    "a chunk below zero": _chunked("chunked", framed=lambda body: b"-2\r\n" + body + b"\r\n0\r\n\r\n"),
    "a chunk past 64 bits": _chunked("chunked", framed=lambda body: b"10000000000000002\r\n" + body + b"\r\n0\r\n\r\n"),
    "a chunk of almost all there is": _chunked("chunked", framed=lambda body: b"fffffffffffffffe\r\n" + body),
    "a chunk that ends in nothing": _chunked("chunked", framed=lambda body: b"%x\r\n%s0\r\n\r\n" % (len(body), body)),
    "chunks with line feeds alone": _chunked("chunked", framed=lambda body: b"%x\n%s\n0\n\n" % (len(body), body)),
    "chunks without a last one": _chunked("chunked", framed=lambda body: b"%x\r\n%s\r\n" % (len(body), body)),
    "a chunk's size with a prefix": _chunked("chunked", framed=lambda body: b"0x2\r\n" + body + b"\r\n0\r\n\r\n"),
    "a trailer that names a target": _chunked(
        "chunked", framed=lambda body: _chunks(body)[:-2] + b"X-Amz-Target: TrentService.ScheduleKeyDeletion\r\n\r\n"
    ),
    "an extension of 70,000 bytes": _chunked(
        "chunked", framed=lambda body: b"%x;%s\r\n%s\r\n0\r\n\r\n" % (len(body), b"a" * 70_000, body)
    ),
}
HEADS: dict[str, Shape] = {
    "a header of 64 KB": _line("X-Large: " + "a" * 65_536),
    "a header of 1 MB": _line("X-Large: " + "a" * 1_000_000),
    "300 headers": lambda good: written(_with_headers(good, 300)),
    "an address of 64 KB": _target("/?" + "a" * 65_536),
    "a line without a colon": _line("X-A"),
    "a line without a name": _line(": a"),
    "a line that is continued": _line("X-A: a\r\n b"),
    "a name with a space": _line("X A: a"),
    "a name before a space": _line("X-A : a"),
    "a name with a NUL": _line("X\0A: a"),
    "a name beyond ASCII": _line("X\xe9: a"),
    "a value with a NUL": _line("X-A: \0"),
    "a value beyond ASCII": _line("X-A: \xff"),
    "a carriage return in a value": _line("X-A: a\rX-Amz-Target: TrentService.ScheduleKeyDeletion"),
    "line feeds alone": lambda good: written(good).replace(b"\r\n", b"\n"),
    "carriage returns alone": lambda good: written(good).replace(b"\r\n", b"\r"),
    "empty lines before it": lambda good: b"\r\n\r\n" + written(good),
    "a space before it": lambda good: b" " + written(good),
    "no host": lambda good: written(good.without("Host")),
    "two hosts": lambda good: written(good.with_line("Host", "evil.example")),
    "an expectation": _line("Expect: 100-continue"),
    "another expectation": _line("Expect: the unexpected"),
    "an upgrade to HTTP/2": _line("Upgrade: h2c\r\nConnection: Upgrade, HTTP2-Settings\r\nHTTP2-Settings: AAMAAABk"),
    "an upgrade to WebSocket": _line("Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13"),
    "a connection that is to be closed": _line("Connection: close"),
}
STARTS: dict[str, Shape] = {
    "HTTP/1.0": _version("HTTP/1.0"),
    "HTTP/0.9": _version("HTTP/0.9"),
    "HTTP/0.9, as it was": lambda good: b"GET /\r\n",
    "HTTP/1.2": _version("HTTP/1.2"),
    "HTTP/2.0": _version("HTTP/2.0"),
    "the beginning of HTTP/2": lambda good: b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + written(good),
    "a version of nobody's": _version("HTTQ/1.1"),
    "a version in small letters": _version("http/1.1"),
    "no version": lambda good: written(good).replace(b" HTTP/1.1", b"", 1),
    "TLS": lambda good: b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + written(good),
    "an absolute address": lambda good: written(dataclasses.replace(good, target=f"http://{good.value('Host')}/")),
    "another's absolute address": _target("http://evil.example/"),
    "an address of another kind": _target("*"),
    "an authority": lambda good: written(dataclasses.replace(good, method="CONNECT", target="evil.example:1")),
    "two slashes": _target("//"),
    "a NUL in the address": _target("/\0"),
    "an encoded NUL in the address": _target("/%00"),
    "a space in the address": _target("/ a"),
    "a byte beyond ASCII in the address": _target("/\xff"),
    "half an escape in the address": _target("/%z"),
    **{f"method {method}": _method(method) for method in ("GET", "HEAD", "PUT", "DELETE", "TRACE", "BREW", "post")},
}
BODIES: dict[str, Shape] = {
    "half of it, and no more": lambda good: written(good)[: len(written(good)) // 2],
    "all but its last byte": lambda good: written(good)[:-1],
    "three bytes": lambda good: b"POS",
    "nothing": lambda good: b"",
    "zeros": lambda good: b"\0" * 1000,
    "another content type": lambda good: written(good.with_value("Content-Type", "text/plain")),
    "no content type": lambda good: written(good.without("Content-Type")),
    "a body that is said to be gzip": _line("Content-Encoding: gzip"),
    "gzip": lambda good: written(
        dataclasses.replace(
            good.with_value("Content-Length", str(len(gzip.compress(good.body, mtime=0)))).with_line(
                "Content-Encoding", "gzip"
            ),
            body=gzip.compress(good.body, mtime=0),
        )
    ),
    "a byte order mark": lambda good: written(
        dataclasses.replace(
            good.with_value("Content-Length", str(len(good.body) + 3)), body=b"\xef\xbb\xbf" + good.body
        )
    ),
}
SHAPES = {**LENGTHS, **CHUNKS, **HEADS, **STARTS, **BODIES}
# These say that they have no body: what follows the head is the next request, by every reading.
NO_BODY = {"no length", "a length of nothing"}


def _with_headers(good: Raw, count: int) -> Raw:
    return dataclasses.replace(good, lines=(*good.lines, *((f"X-{number}", "a") for number in range(count))))
