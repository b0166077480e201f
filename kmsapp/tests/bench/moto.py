"""moto_server beside us: another server that speaks KMS's wire, on the same machine in the same run.

It checks no signature, evaluates no policy, keeps its keys in its own memory and writes no record, so it does less.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import boto3

from hsmapp.parent import die_with_parent
from kmsapp.testing import REGION, clean_environment, free_port
from kmsapp.tests.bench import calls
from kmsapp.tests.bench.driver import Target

NAME = "moto_server: Encrypt"
START_SECONDS = 60.0
# moto takes any credentials.
ACCESS_KEY_ID, SECRET_ACCESS_KEY = "AKIAIOSFODNN7EXAMPLE", "not-a-secret"


@contextmanager
def running() -> Iterator[Target]:
    """Run moto_server; yields Encrypt calls of 32 bytes for a key of its own."""
    port = free_port()
    server = subprocess.Popen(
        [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)],
        env=clean_environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        preexec_fn=partial(die_with_parent, os.getpid()),
    )
    try:
        _wait_for(port, server)
        client = boto3.client(
            "kms",
            endpoint_url=f"http://127.0.0.1:{port}",
            region_name=REGION,
            aws_access_key_id=ACCESS_KEY_ID,
            aws_secret_access_key=SECRET_ACCESS_KEY,
        )
        key_id = client.create_key()["KeyMetadata"]["KeyId"]
        yield calls.encrypt(calls.Signer(port, ACCESS_KEY_ID, SECRET_ACCESS_KEY), [key_id])
    finally:
        server.terminate()
        server.wait()


def _wait_for(port: int, server: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            assert server.poll() is None, "moto_server has ended"
            assert time.monotonic() < deadline, "moto_server does not answer"
            time.sleep(0.05)
