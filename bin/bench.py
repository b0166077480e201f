"""Measures a server on a folder of its own: calls a second with many connections, and latency with one.

Each request is signed once with botocore and sent again and again over kept connections, so that the driver, which has
to share the processors with the server, costs next to nothing. What machines differ in cancels out in the last column:
the ratio to GetCallerIdentity, a signed call that does nothing.
Latency is that of a closed loop (the next call begins when the last one ended): right for one quiet client, and no
statement about a server under load.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import statistics
import sys
import tempfile
import threading
import time
from base64 import b64encode
from dataclasses import dataclass
from pathlib import Path

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from hsmapp.softhsm import find_module
from kmsapp.testing import REGION, Casemate, Server

KEY = "alias/ExampleKey"
JSON_TYPE = "application/x-amz-json-1.1"


@dataclass
class Case:
    """One kind of call, as the bytes that go over the connection."""

    name: str
    request: bytes


def signed(casemate: Casemate, service: str, body: bytes, content_type: str, target: str = "") -> bytes:
    """A signed HTTP/1.1 request."""
    person = casemate.person("alice")
    headers = {"Content-Type": content_type, **({"X-Amz-Target": target} if target else {})}
    request = AWSRequest("POST", f"{casemate.url}/", data=body, headers=headers)
    SigV4Auth(Credentials(person.access_key_id, person.secret_access_key), service, REGION).add_auth(request)
    lines = ["POST / HTTP/1.1", f"Host: {casemate.url.removeprefix('http://')}", f"Content-Length: {len(body)}"]
    lines += [f"{name}: {value}" for name, value in request.headers.items()]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def kms(casemate: Casemate, operation: str, params: dict[str, object]) -> Case:
    body = json.dumps(params).encode()
    return Case(operation, signed(casemate, "kms", body, JSON_TYPE, f"TrentService.{operation}"))


def cases(casemate: Casemate) -> list[Case]:
    form = b"Action=GetCallerIdentity&Version=2011-06-15"
    plaintext = b64encode(os.urandom(32)).decode()
    blob = casemate.boto3("kms").encrypt(KeyId=KEY, Plaintext=os.urandom(32))["CiphertextBlob"]
    return [
        Case("GetCallerIdentity", signed(casemate, "sts", form, "application/x-www-form-urlencoded")),
        kms(casemate, "DescribeKey", {"KeyId": KEY}),
        kms(casemate, "Encrypt", {"KeyId": KEY, "Plaintext": plaintext}),
        kms(casemate, "Decrypt", {"CiphertextBlob": b64encode(blob).decode()}),
        kms(casemate, "GenerateDataKey", {"KeyId": KEY, "KeySpec": "AES_256"}),
        kms(casemate, "CreateKey", {"Origin": "AWS_CLOUDHSM", "CustomKeyStoreId": "cks-1234567890abcdef0"}),
    ]


def answer(connection: socket.socket) -> None:
    """Read one answer, which must be a 200."""
    data = b""
    while b"\r\n\r\n" not in data:
        data += received(connection)
    head, _, body = data.partition(b"\r\n\r\n")
    if not head.startswith(b"HTTP/1.1 200"):
        raise SystemExit(f"not a 200: {data[:600]!r}")
    length = next(int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
    while len(body) < length:
        body += received(connection)


def received(connection: socket.socket) -> bytes:
    part = connection.recv(65536)
    if not part:
        raise SystemExit("the server closed the connection")
    return part


def latencies(port: int, request: bytes, seconds: float) -> list[float]:
    """Send the request over one connection until the time is over; return the seconds each answer took."""
    took = []
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        end = time.perf_counter() + seconds
        while (started := time.perf_counter()) < end:
            connection.sendall(request)
            answer(connection)
            took.append(time.perf_counter() - started)
    return took


def calls_per_second(port: int, request: bytes, connections: int, seconds: float) -> float:
    counts: list[int] = []

    def run() -> None:
        counts.append(len(latencies(port, request, seconds)))

    threads = [threading.Thread(target=run) for _ in range(connections)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if len(counts) != connections:
        raise SystemExit("a connection failed")
    return sum(counts) / seconds


def measure(casemate: Casemate, port: int, connections: int, seconds: float) -> None:
    print(f"{'call':<20}{'calls/s':>10}{'p50 ms':>9}{'p99 ms':>9}{'ratio':>8}", flush=True)
    calibration = 0.0
    for case in cases(casemate):
        latencies(port, case.request, 0.3)  # caches and connections are warm, as they are in use
        alone = statistics.quantiles(latencies(port, case.request, seconds), n=100)
        rate = calls_per_second(port, case.request, connections, seconds)
        calibration = calibration or rate
        row = f"{case.name:<20}{rate:>10.0f}{alone[49] * 1000:>9.2f}{alone[98] * 1000:>9.2f}{rate / calibration:>8.2f}"
        print(row, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(prog="bin/bench", description="Measure a server of its own.")
    parser.add_argument("--connections", type=int, default=8, help="connections for calls/s (default: 8)")
    parser.add_argument("--seconds", type=float, default=3.0, help="seconds for each measurement (default: 3)")
    given = parser.parse_args()
    os.environ.setdefault("SOFTHSM2_MODULE", str(find_module(Path(sys.prefix))))
    with tempfile.TemporaryDirectory(prefix="casemate-bench-") as folder:
        server = Server(Path(folder) / "data", "--immediate")
        print(f"first start {server.start():.2f} s", end=", ")
        print(f"stop {server.stop():.2f} s", end=", ")
        print(f"second start {server.start():.2f} s", flush=True)
        try:
            measure(Casemate(server), server.port, given.connections, given.seconds)
        finally:
            server.stop()


if __name__ == "__main__":
    main()
