"""One bit of each stored key is flipped on an HSM's disk, and the HSM restarted, while keys are used all the time.

`python -m kmsapp.tests.flipped_bits --keys 500` does it on a server of its own. Bits are flipped in the key's value,
which makes it another key without any error, or anywhere in its file. Afterwards the HSM is asked alone, for everything
that was ever encrypted.
"""

from __future__ import annotations

import argparse
import os
import random
import secrets
import sys
import tempfile
import threading
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from hsmapp.softhsm import find_module
from hsmapp.tests import token_files
from kmsapp.testing import Casemate, Server
from kmsapp.tests.crash.makers import STORE
from kmsapp.tests.remains import query
from kmsapp.tests.soak import kill, wait_for_successor
from kmsapp.tests.token_copies import HSMS

CLIENTS = 3
_LAST = (
    "SELECT restored, repaired, failed, keys FROM hsmapp_reconciliation r JOIN hsmapp_hsm h ON h.id = r.hsm_id "
    "WHERE h.hsm_id = ? AND r.id > ? ORDER BY r.id DESC LIMIT 1"
)


@dataclass
class User:
    """Encrypts with one key after the other, and decrypts what was encrypted before."""

    casemate: Casemate = field(repr=False)
    keys: list[str]
    stop: threading.Event
    sealed: list[tuple[bytes, bytes]] = field(default_factory=list)  # plaintext, blob
    calls: int = 0
    wrong: int = 0
    failures: Counter[str] = field(default_factory=Counter)

    def run(self) -> None:
        kms = self.casemate.boto3("kms")
        while not self.stop.is_set():
            try:
                self._use(kms)
            except (ClientError, BotoCoreError) as error:
                self.failures[str(error)] += 1

    def _use(self, kms: Any) -> None:
        plaintext = secrets.token_bytes(24)
        self.calls += 1
        blob = kms.encrypt(KeyId=secrets.choice(self.keys), Plaintext=plaintext)["CiphertextBlob"]
        self.sealed.append((plaintext, blob))
        before, old = secrets.choice(self.sealed)
        self.calls += 1
        self.wrong += kms.decrypt(CiphertextBlob=old)["Plaintext"] != before


@dataclass
class Report:
    """What was done to one HSM, and what came of it."""

    hsm_id: str
    where: str  # "value" or "file"
    flipped: int
    restored: int = 0  # seen as missing
    repaired: int = 0  # seen as damaged
    not_repaired: int = 0
    users: list[User] = field(default_factory=list)
    wrong_alone: int = 0
    opened_alone: int = 0

    @property
    def failed(self) -> int:
        return sum(user.failures.total() for user in self.users)

    @property
    def wrong(self) -> int:
        return sum(user.wrong for user in self.users) + self.wrong_alone

    def line(self) -> str:
        calls = sum(user.calls for user in self.users)
        return (
            f"{self.hsm_id}: a bit flipped in the {self.where} of {self.flipped} keys under {calls:,} calls: "
            f"{self.failed} failed, {self.wrong} wrong; {self.repaired} damaged and {self.restored} missing keys made "
            f"again, {self.not_repaired} not; alone it opened all {self.opened_alone:,} ciphertexts"
        )


def make_keys(casemate: Casemate, count: int) -> list[str]:
    kms = casemate.boto3("kms")
    made = (kms.create_key(Origin="AWS_CLOUDHSM", CustomKeyStoreId=STORE) for _ in range(count))
    return [answer["KeyMetadata"]["KeyId"] for answer in made]


def flip_all(casemate: Casemate, hsm_id: str, keys: list[str], where: str, dice: random.Random) -> Report:
    """Flip, restart, and ask for everything; the HSM is whole again afterwards."""
    stop = threading.Event()
    users = [User(casemate, keys, stop) for _ in range(CLIENTS)]
    threads = [threading.Thread(target=user.run) for user in users]
    for thread in threads:
        thread.start()
    try:
        last = query(casemate, "SELECT coalesce(max(id), 0) FROM hsmapp_reconciliation")[0][0]
        files = token_files.keys(casemate.data / "hsm" / hsm_id)
        for path in files:
            _flip(path, where, dice)
        killed = kill(casemate, hsm_id)
        wait_for_successor(casemate, hsm_id, killed)
        casemate.wait_until(lambda: bool(query(casemate, _LAST, hsm_id, last)), "the HSM to be compared")
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    restored, repaired, failed, _keys = query(casemate, _LAST, hsm_id, last)[0]
    report = Report(hsm_id, where, len(files), restored, repaired, failed, users)
    _ask_alone(casemate, report)
    return report


def _flip(path: Path, where: str, dice: random.Random) -> None:
    if where == "value":
        token_files.flip_value(path, dice.randrange(128))
    else:
        token_files.flip_bit(path, dice.randrange(8 * path.stat().st_size))


def _ask_alone(casemate: Casemate, report: Report) -> None:
    """Decrypt everything while no other HSM runs."""
    (other,) = set(HSMS) - {report.hsm_id}
    casemate.manage("hsm", "stop", other)
    casemate.wait_for_hsms(1)
    kms = casemate.boto3("kms", retries={"total_max_attempts": 3})  # the first may still be on its way to the other one
    for plaintext, blob in (pair for user in report.users for pair in user.sealed):
        report.wrong_alone += kms.decrypt(CiphertextBlob=blob)["Plaintext"] != plaintext
        report.opened_alone += 1
    casemate.manage("hsm", "start", other)
    casemate.wait_for_hsms(len(HSMS))


def main() -> int:
    parser = argparse.ArgumentParser(prog="kmsapp.tests.flipped_bits", description=__doc__)
    parser.add_argument("--keys", type=int, default=100, help="keys to make (default: 100)")
    parser.add_argument("--seed", type=int, default=secrets.randbelow(1 << 32), help="which bits (default: any)")
    given = parser.parse_args()
    os.environ.setdefault("SOFTHSM2_MODULE", str(find_module(Path(sys.prefix))))
    print(f"seed {given.seed}")
    sound = True
    with tempfile.TemporaryDirectory(prefix="casemate-flips-") as folder:
        server = Server(Path(folder) / "data", "--immediate")
        server.start()
        try:
            casemate = Casemate(server)
            keys, dice = make_keys(casemate, given.keys), random.Random(given.seed)  # noqa: S311 - not for secrets
            for hsm_id, where in zip(HSMS * 2, ("value", "value", "file", "file"), strict=True):
                report = flip_all(casemate, hsm_id, keys, where, dice)
                print(report.line(), flush=True)
                sound = sound and not report.failed and not report.wrong and not report.not_repaired
        finally:
            server.stop()
    return 0 if sound else 1


if __name__ == "__main__":
    sys.exit(main())
