"""The calls that are measured, as the bytes that go over a connection."""

from __future__ import annotations

import json
import os
from base64 import b64encode
from collections.abc import Sequence
from typing import Any

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from kmsapp.testing import REGION, Casemate
from kmsapp.tests.bench.driver import Target

KEY = "alias/ExampleKey"
STORE = "cks-1234567890abcdef0"
EMPTY = "GetCallerIdentity"  # the calibration line: a signed call that asks nothing of a key or an HSM
JSON_TYPE = "application/x-amz-json-1.1"
DISTINCT = 64  # requests of one kind, sent in turn


class Signer:
    """Signs requests to one server as one person; they are good for five minutes."""

    def __init__(self, port: int, access_key_id: str, secret_access_key: str, *, token: str | None = None):
        self.port = port
        self._credentials = Credentials(access_key_id, secret_access_key, token)

    def kms(self, operation: str, params: dict[str, Any]) -> bytes:
        body = json.dumps(params).encode()
        return self.signed("kms", body, JSON_TYPE, {"X-Amz-Target": f"TrentService.{operation}"})

    def signed(self, service: str, body: bytes, content_type: str, headers: dict[str, str] | None = None) -> bytes:
        """A signed HTTP/1.1 request."""
        host = f"127.0.0.1:{self.port}"
        request = AWSRequest(
            "POST", f"http://{host}/", data=body, headers={"Content-Type": content_type, **(headers or {})}
        )
        SigV4Auth(self._credentials, service, REGION).add_auth(request)
        lines = ["POST / HTTP/1.1", f"Host: {host}", f"Content-Length: {len(body)}"]
        lines += [f"{name}: {value}" for name, value in request.headers.items()]
        return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def signer(casemate: Casemate) -> Signer:
    alice = casemate.person("alice")
    return Signer(casemate.server.port, alice.access_key_id, alice.secret_access_key)


def encrypt(sign: Signer, keys: Sequence[str], *, count: int = DISTINCT) -> Target:
    """Encrypt of 32 bytes each, with the keys in turn."""
    requests = [
        sign.kms("Encrypt", {"KeyId": keys[at % len(keys)], "Plaintext": b64encode(os.urandom(32)).decode()})
        for at in range(max(count, len(keys)))
    ]
    return Target(sign.port, requests)


def every_call(casemate: Casemate) -> dict[str, Target]:
    """Each kind of call on the demo's key; the calibration line first."""
    sign = signer(casemate)
    form = b"Action=GetCallerIdentity&Version=2011-06-15"
    blobs = [casemate.boto3("kms").encrypt(KeyId=KEY, Plaintext=os.urandom(32))["CiphertextBlob"] for _ in range(8)]
    make = {"Origin": "AWS_CLOUDHSM", "CustomKeyStoreId": STORE}
    requests = {
        EMPTY: [sign.signed("sts", form, "application/x-www-form-urlencoded")],
        "DescribeKey": [sign.kms("DescribeKey", {"KeyId": KEY})],
        "Encrypt": encrypt(sign, [KEY]).requests,
        "Decrypt": [sign.kms("Decrypt", {"CiphertextBlob": b64encode(blob).decode()}) for blob in blobs],
        "GenerateDataKey": [sign.kms("GenerateDataKey", {"KeyId": KEY, "KeySpec": "AES_256"})],
        "CreateKey": [sign.kms("CreateKey", make)],
    }
    return {name: Target(sign.port, signed) for name, signed in requests.items()}
