"""Tampered ciphertexts and good calls at the same time: R9. `python -m kmsapp.tests.tampering --count 10000`.

Each tampered ciphertext has the header of the key it was made with, so the answer must be InvalidCiphertextException
and nothing else; headers that name other keys are test_ciphertext_binding.py's. Callers beside it encrypt, decrypt and
compare (soak.py). Counted: what was answered, and whether an HSM lost its place, its process or a key by it.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import random
import secrets
import sys
import tempfile
import threading
import time
from base64 import b64encode
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from hsmapp.softhsm import find_module
from kmsapp.testing import Casemate, Server
from kmsapp.tests.bench import calls
from kmsapp.tests.remains import query
from kmsapp.tests.soak import KEY, Client
from kmsapp.tests.token_copies import HSMS

BODY = 69  # docs/ciphertext.md: header of 57 bytes, IV of 12, ciphertext and tag
CONTEXT = {"tenant": "tampered"}
TAMPERERS = 3
GOOD_CALLERS = 2
EXPECTED = (400, "InvalidCiphertextException")


def _flip(blob: bytes, first: int, end: int) -> bytes:
    at = random.randrange(first, end)  # noqa: S311
    return blob[:at] + bytes([blob[at] ^ 1 << random.randrange(8)]) + blob[at + 1 :]  # noqa: S311


Tamper = Callable[[bytes, bytes], bytes]
# A ciphertext and another one of the same key -> what is sent.
TAMPERED: dict[str, Tamper] = {
    "a bit of the version or algorithm": lambda blob, other: _flip(blob, 0, 2),
    "a bit of the material id": lambda blob, other: _flip(blob, 25, 57),
    "a bit of the IV": lambda blob, other: _flip(blob, 57, BODY),
    "a bit of the ciphertext": lambda blob, other: _flip(blob, BODY, len(blob) - 16),
    "a bit of the tag": lambda blob, other: _flip(blob, len(blob) - 16, len(blob)),
    "the body of another message": lambda blob, other: blob[:BODY] + other[BODY:],
    "the tag of another message": lambda blob, other: blob[:-16] + other[-16:],
    "random bytes for a body": lambda blob, other: blob[:57] + secrets.token_bytes(len(blob) - 57),
    "cut short": lambda blob, other: blob[: random.randrange(57, len(blob))],  # noqa: S311
    "longer": lambda blob, other: blob + secrets.token_bytes(1 + random.randrange(64)),  # noqa: S311
    "another encryption context": lambda blob, other: blob,
}


@dataclass
class Report:
    seconds: float = 0.0
    answers: Counter[tuple[int, str]] = field(default_factory=Counter)  # (HTTP status, error's name), of tampered ones
    kinds: Counter[str] = field(default_factory=Counter)
    good_calls: int = 0
    good_failures: list[str] = field(default_factory=list)
    good_wrong: int = 0
    hsms_changed: int = 0  # of which process, state, serving time or findings are others than before

    @property
    def tampered(self) -> int:
        return self.answers.total()

    def lines(self) -> list[str]:
        invalid = self.answers[EXPECTED]
        return [
            f"R9: {self.tampered:,} tampered ciphertexts of {len(self.kinds)} kinds in {self.seconds:.1f} s: "
            f"{invalid:,} answered InvalidCiphertextException, {self.tampered - invalid} anything else; "
            f"{self.hsms_changed} of {len(HSMS)} HSMs taken out",
            f"beside them {self.good_calls:,} good calls: {len(self.good_failures)} failed, {self.good_wrong} wrong",
            *(f"{count} x {answer}" for answer, count in self.answers.items() if answer != EXPECTED),
            *self.good_failures[:5],
        ]


def tamper(casemate: Casemate, count: int) -> Report:
    """Send so many tampered ciphertexts, with good calls beside them."""
    report, stop = Report(), threading.Event()
    good = [Client(casemate, stop) for _ in range(GOOD_CALLERS)]
    casemate.wait_for_hsms(active=len(HSMS))
    before = _hsms(casemate)
    threads = [threading.Thread(target=caller.run) for caller in good]
    shares = [count // TAMPERERS + (number < count % TAMPERERS) for number in range(TAMPERERS)]
    tamperers = [threading.Thread(target=_tamper, args=(casemate, share, report)) for share in shares]
    started = time.monotonic()
    for thread in (*threads, *tamperers):
        thread.start()
    for thread in tamperers:
        thread.join()
    stop.set()
    for thread in threads:
        thread.join()
    report.seconds = time.monotonic() - started
    report.good_calls = sum(caller.calls for caller in good)
    report.good_failures = [failure for caller in good for failure in caller.failures]
    report.good_wrong = sum(caller.wrong for caller in good)
    report.hsms_changed = sum(now != then for now, then in zip(_hsms(casemate), before, strict=True))
    return report


def _hsms(casemate: Casemate) -> list[tuple[object, ...]]:
    """Of each HSM what changes when it is taken out, restarted or found to be at fault."""
    rows = "SELECT state, serving_since, (SELECT count(*) FROM hsmapp_finding) FROM hsmapp_hsm WHERE hsm_id = ?"
    return [(casemate.hsm_pid(hsm_id), *query(casemate, rows, hsm_id)[0]) for hsm_id in HSMS]


def _tamper(casemate: Casemate, count: int, report: Report) -> None:
    kms, sign = casemate.boto3("kms"), calls.signer(casemate)
    blobs = [
        kms.encrypt(KeyId=KEY, Plaintext=secrets.token_bytes(24), EncryptionContext=CONTEXT)["CiphertextBlob"]
        for _ in range(8)
    ]
    answers, kinds = Counter[tuple[int, str]](), Counter[str]()
    connection = http.client.HTTPConnection("127.0.0.1", casemate.server.port, timeout=30)
    names = list(TAMPERED)
    for number in range(count):
        name = names[number % len(names)]
        blob, other = random.sample(blobs, 2)
        context = {"tenant": "another"} if name == "another encryption context" else CONTEXT
        params = {"CiphertextBlob": b64encode(TAMPERED[name](blob, other)).decode(), "EncryptionContext": context}
        answers[_ask(connection, sign.kms("Decrypt", params))] += 1
        kinds[name] += 1
    connection.close()
    report.answers.update(answers)
    report.kinds.update(kinds)


def _ask(connection: http.client.HTTPConnection, request: bytes) -> tuple[int, str]:
    head, _, body = request.partition(b"\r\n\r\n")
    headers = dict(line.split(": ", 1) for line in head.decode().split("\r\n")[1:])
    connection.request("POST", "/", body=body, headers=headers)
    answer = connection.getresponse()
    return answer.status, json.loads(answer.read()).get("__type", "").rpartition("#")[2]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=10_000)
    given = parser.parse_args()
    os.environ.setdefault("SOFTHSM2_MODULE", str(find_module(Path(sys.prefix))))
    with tempfile.TemporaryDirectory(prefix="casemate-tampering-") as folder:
        server = Server(Path(folder) / "data", "--immediate")
        server.start()
        try:
            print("\n".join(tamper(Casemate(server), given.count).lines()))
        finally:
            server.stop()


if __name__ == "__main__":
    main()
