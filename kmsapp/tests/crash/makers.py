"""Clients that make keys while processes are killed, and remember what they were told."""

from __future__ import annotations

import secrets
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from kmsapp.testing import Casemate

STORE = "cks-1234567890abcdef0"
# What a caller may be told when something is killed under its call, and nothing else: AWS's documented errors of that
# operation, each with how its message begins.
DOCUMENTED = {
    "CreateKey": {
        "CloudHsmClusterInvalidConfigurationException": "",
        "CustomKeyStoreInvalidStateException": "",
        "DependencyTimeoutException": "",
        "KMSInternalException": "",
    },
    # When their supervisor is killed no HSM serves for a moment. The key itself is never at fault.
    "Encrypt": {"KMSInvalidStateException": "KMS cannot communicate with your CloudHSM cluster."},
}


@dataclass
class Made:
    """A key that CreateKey answered, and the first thing it encrypted."""

    arn: str
    plaintext: bytes
    blob: bytes = b""

    @property
    def context(self) -> dict[str, str]:
        return {"key": self.arn}


@dataclass
class Makers:
    """Some clients, which make keys while `going` is set."""

    casemate: Casemate
    clients: int = 2
    made: list[Made] = field(default_factory=list)
    refused: Counter[str] = field(default_factory=Counter)  # "operation: error"
    undocumented: list[str] = field(default_factory=list)  # refusals that no caller should have met
    broken: Counter[str] = field(default_factory=Counter)  # no answer: whether a key was made is not known
    going: threading.Event = field(default_factory=threading.Event)
    _stop: threading.Event = field(default_factory=threading.Event)
    _threads: list[threading.Thread] = field(default_factory=list)

    def __enter__(self) -> Makers:
        self._threads = [threading.Thread(target=self._run) for _ in range(self.clients)]
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    def pause(self) -> None:
        """Begin no further key. Calls under way go on."""
        self.going.clear()

    def end(self) -> None:
        """Let the calls under way end."""
        self._stop.set()
        self.going.set()
        for thread in self._threads:
            thread.join()

    def _run(self) -> None:
        kms = self.casemate.boto3("kms", connect_timeout=2)
        while self.going.wait() and not self._stop.is_set():
            try:
                self._make(kms)
            except ClientError as error:
                self._note(error)
                time.sleep(0.05)
            except BotoCoreError as error:
                self.broken[type(error).__name__] += 1
                time.sleep(0.05)

    def _note(self, error: ClientError) -> None:
        operation, code = error.operation_name, error.response["Error"]["Code"]
        self.refused[f"{operation}: {code}"] += 1
        beginning = DOCUMENTED[operation].get(code)
        if beginning is None or not error.response["Error"]["Message"].startswith(beginning):
            self.undocumented.append(str(error))

    def _make(self, kms: Any) -> None:
        tags = [{"TagKey": "made", "TagValue": secrets.token_hex(4)}]
        answer = kms.create_key(Origin="AWS_CLOUDHSM", CustomKeyStoreId=STORE, Tags=tags)
        made = Made(answer["KeyMetadata"]["Arn"], secrets.token_bytes(24))
        self.made.append(made)
        encrypt_first(kms, made)


def encrypt_first(kms: Any, made: Made) -> None:
    answer = kms.encrypt(KeyId=made.arn, Plaintext=made.plaintext, EncryptionContext=made.context)
    made.blob = answer["CiphertextBlob"]
