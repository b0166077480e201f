"""Kills in the middle of ConnectCustomKeyStore, which changes kmsuser's password on every HSM."""

from __future__ import annotations

import secrets
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from itertools import cycle
from pathlib import Path
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from hsmapp.steps import CONNECT
from kmsapp.testing import WAIT_SECONDS, Casemate
from kmsapp.tests.crash.campaign import Gun, IsStruck, Struck, aims, server_with_marks
from kmsapp.tests.crash.makers import STORE
from kmsapp.tests.crash.victims import IN_TURN
from kmsapp.tests.remains import query
from kmsapp.tests.token_copies import HSMS

KEY = "alias/ExampleKey"
UNFINISHED = (
    "SELECT count(*) FROM hsmapp_clustercredential WHERE user_name = 'kmsuser' "
    "AND (pending_password_sealed IS NOT NULL OR NOT connected)"
)


@dataclass
class Report:
    struck: Struck = field(default_factory=Struck)
    found: Counter[str] = field(default_factory=Counter)  # the state in which a kill left the store
    seconds: list[float] = field(default_factory=list)  # from each kill until the store was CONNECTED again

    def lines(self) -> list[str]:
        return [
            *self.struck.lines(CONNECT),
            f"{len(self.seconds)} kills, {len(self.seconds)} times CONNECTED again, after {max(self.seconds):.1f} s at "
            f"the most; the kills left the store {dict(self.found)}",
        ]


def kill_under_connect(stopped: Path, folder: Path, *, kills: int) -> Report:
    """Kill so many times while the store connects; after each it connects again. Raises AssertionError.

    stopped: the data folder of a server that was stopped; folder: for a copy of it.
    """
    report, victims, wanted = Report(), cycle(IN_TURN), aims(CONNECT)
    with server_with_marks(stopped, folder) as casemate:
        gun, store = Gun(casemate, report.struck), Store(casemate)
        plaintext = secrets.token_bytes(32)
        blob = casemate.boto3("kms").encrypt(KeyId=KEY, Plaintext=plaintext)["CiphertextBlob"]
        for _ in range(kills):
            gun.shoot(next(victims), next(wanted), store.begin_to_connect)
            killed_at = time.monotonic()
            store.wait_for_the_call()
            report.found[store.state()] += 1
            store.connect_again()
            report.seconds.append(time.monotonic() - killed_at)
            casemate.wait_until(lambda: store.opens(blob, plaintext), "the key to decrypt again")
            casemate.wait_for_hsms(len(HSMS))
        store.disconnect()
        store.connect_again()
        assert query(casemate, UNFINISHED)[0][0] == 0
        assert store.opens(blob, plaintext)
    return report


class Store:
    """The demo's key store, as a person who has patience uses it."""

    def __init__(self, casemate: Casemate):
        self._casemate = casemate
        self._kms = casemate.boto3("kms", connect_timeout=2)
        self._call: threading.Thread | None = None

    def state(self) -> str:
        """Asked until somebody answers."""
        found: list[str] = []

        def ask() -> bool:
            found[:] = [self._shown_state()]
            return bool(found[0])

        self._casemate.wait_until(ask, "an answer")
        return found[0]

    def _shown_state(self) -> str:
        """Empty if nobody answers."""
        answer = self._attempt(self._kms.describe_custom_key_stores, CustomKeyStoreId=STORE)
        return str(answer["CustomKeyStores"][0]["ConnectionState"]) if answer else ""

    def disconnect(self, unless: IsStruck = lambda: False) -> None:
        """unless: it is not to wait for that any more."""
        self.wait_for_the_call()
        self._casemate.wait_until(lambda: unless() or self._is_disconnected(), "DISCONNECTED")

    def _is_disconnected(self) -> bool:
        state = self._shown_state()
        if state not in {"", "DISCONNECTED", "DISCONNECTING"}:
            self._attempt(self._kms.disconnect_custom_key_store, CustomKeyStoreId=STORE)
        return state == "DISCONNECTED"

    def begin_to_connect(self, is_struck: IsStruck) -> None:
        self.disconnect(unless=is_struck)
        self._call = threading.Thread(target=self._connect)
        self._call.start()

    def wait_for_the_call(self) -> None:
        if self._call is not None:
            self._call.join()

    def _connect(self) -> None:
        self._attempt(self._kms.connect_custom_key_store, CustomKeyStoreId=STORE)

    def connect_again(self) -> None:
        """What the console's help says: disconnect what has failed or hangs, and connect."""
        end = time.monotonic() + WAIT_SECONDS
        while (state := self.state()) != "CONNECTED":
            assert time.monotonic() < end, f"the store is {state}:\n{self._casemate.server.logs()}"
            if state == "DISCONNECTED":
                self._connect()
            else:
                self._attempt(self._kms.disconnect_custom_key_store, CustomKeyStoreId=STORE)
            time.sleep(0.05)

    def opens(self, blob: bytes, plaintext: bytes) -> bool:
        answer = self._attempt(self._kms.decrypt, CiphertextBlob=blob)
        assert answer is None or answer["Plaintext"] == plaintext
        return answer is not None

    def _attempt(self, operation: Any, **params: object) -> dict[str, Any] | None:
        """The answer; None if the call was refused or got none."""
        try:
            answer: dict[str, Any] = operation(**params)
        except (ClientError, BotoCoreError):
            return None
        return answer
