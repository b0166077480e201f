"""C11: ways to fail that must not be told apart take the same time: decryptions, access keys. (Sign-in: console/tests.)

CASEMATE_TIMED_CALLS is how many of each are timed (20,000 for docs/promises.md). What does differ by design is printed
too: a ciphertext that opens, one whose key is not reached, and one for which the HSM proves its key first.
"""

from __future__ import annotations

import base64
import http.client
import json
import os
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Any

import botocore.auth
import botocore.awsrequest
import botocore.credentials
import pytest

from kmsapp.iam import credentials
from kmsapp.models import AccessKey, User
from kmsapp.testing import REGION, Casemate
from kmsapp.tests.signed_http import CONTENT_TYPE
from kmsapp.tests.timing import compare, measure, report
from kmsapp.tests.wire_requests import signed_environ
from kmsapp.wire import handler

pytestmark = pytest.mark.alone
ROUNDS = int(os.environ.get("CASEMATE_TIMED_CALLS", "150"))
DEMO_KEY = "1234abcd-12ab-34cd-56ef-1234567890ab"
STORE = "cks-1234567890abcdef0"
CONTEXT = {"purpose": "timing"}


class Decrypter:
    """Signs a Decrypt beforehand, and sends it over one connection that stays open."""

    def __init__(self, casemate: Casemate):
        self._url = casemate.url
        self._connection = http.client.HTTPConnection("127.0.0.1", casemate.server.port, timeout=30)
        who = casemate.person("alice")
        self._credentials = botocore.credentials.Credentials(who.access_key_id, who.secret_access_key)

    def way(self, code: str, blob: Callable[[], bytes], **params: Any) -> Callable[[], Callable[[], object]]:
        def prepare() -> Callable[[], object]:
            body = json.dumps({"CiphertextBlob": base64.b64encode(blob()).decode(), **params}).encode()
            headers = {"Content-Type": CONTENT_TYPE, "X-Amz-Target": "TrentService.Decrypt"}
            request = botocore.awsrequest.AWSRequest("POST", self._url + "/", headers=headers, data=body)
            botocore.auth.SigV4Auth(self._credentials, "kms", REGION).add_auth(request)
            return lambda: self._send(body, dict(request.headers.items()), code)

        return prepare

    def _send(self, body: bytes, headers: dict[str, str], code: str) -> None:
        self._connection.request("POST", "/", body=body, headers=headers)
        answer = self._connection.getresponse()
        said = json.loads(answer.read())
        assert said.get("__type", "").rpartition("#")[2] == code, said


def flipped(blob: bytes, position: int) -> bytes:
    return blob[:position] + bytes([blob[position] ^ 1]) + blob[position + 1 :]


def test_bad_ciphertexts_are_told_apart_by_nothing_but_their_key(casemate: Casemate) -> None:
    kms = casemate.boto3("kms")
    other = kms.create_key(Origin="AWS_CLOUDHSM", CustomKeyStoreId=STORE)["KeyMetadata"]["KeyId"]
    blob = kms.encrypt(KeyId=DEMO_KEY, Plaintext=b"x" * 64, EncryptionContext=CONTEXT)["CiphertextBlob"]
    decrypter, forged = Decrypter(casemate), "InvalidCiphertextException"
    way = decrypter.way
    ways = {
        "good": way("", lambda: blob, EncryptionContext=CONTEXT),
        "first bit of the tag": way(forged, lambda: flipped(blob, len(blob) - 16), EncryptionContext=CONTEXT),
        "last bit of the tag": way(forged, lambda: flipped(blob, len(blob) - 1), EncryptionContext=CONTEXT),
        "first bit of the text": way(forged, lambda: flipped(blob, 69), EncryptionContext=CONTEXT),
        "another IV": way(forged, lambda: flipped(blob, 60), EncryptionContext=CONTEXT),
        "another context": way(forged, lambda: blob, EncryptionContext={"purpose": "timinG"}),
        "no context": way(forged, lambda: blob),
        "another key of the account": way("IncorrectKeyException", lambda: blob, KeyId=other),
        "no key": way("AccessDeniedException", lambda: blob[:9] + secrets.token_bytes(16) + blob[25:]),
    }
    times = measure(ways, ROUNDS)
    print(f"{ROUNDS} decryptions each: {report(times)}")
    alike = [
        "first bit of the tag",
        "last bit of the tag",
        "first bit of the text",
        "another IV",
        "another context",
        "no context",
    ]
    _require_alike({name: times[name] for name in alike}, smallest_seconds=0.0005)


def test_access_keys_that_are_unknown_or_switched_off_are_told_apart_by_nothing(installation: Path) -> None:
    bob = User.objects.get(user_name="bob")
    switched_off, _ = credentials.create_access_key(bob)
    AccessKey.objects.get(access_key_id=switched_off).delete()
    good = AccessKey.objects.get(user__user_name="alice").access_key_id
    inactive = AccessKey.objects.get(user=bob)
    inactive.status = "Inactive"
    inactive.save()
    ways = {
        "unknown": _refused("AKIA" + "A" * 16),
        "switched off": _refused(inactive.access_key_id),
        "deleted": _refused(switched_off),
        "a wrong secret": _refused(good),
    }
    alike = ["unknown", "switched off", "deleted"]
    times = measure(ways, ROUNDS)
    print(f"{ROUNDS} signed calls each: {report(times)}")
    # A wrong secret has another name, at AWS as here; its time tells nothing beyond that.
    _require_alike({name: times[name] for name in alike}, smallest_seconds=0.0001)


def _refused(access_key_id: str) -> Callable[[], Callable[[], object]]:
    def prepare() -> Callable[[], object]:
        environ = signed_environ(access_key_id=access_key_id, secret="guess" * 8)
        return lambda: list(handler.handle(environ, lambda status, headers: None))

    return prepare


def _require_alike(times: dict[str, list[float]], *, smallest_seconds: float) -> None:
    first, *others = times
    for name in others:
        verdict = compare(times[first], times[name])
        assert not verdict.tells_them_apart(smallest_seconds), f"{first} and {name}: {verdict}"
