"""R13: kill -9 of those who write the database in the middle of mixed writes: what was acknowledged is there.

Web workers and jobs write it. CASEMATE_WRITES sets another number of writes, CASEMATE_WRITER_KILLS of kills.
"""

from __future__ import annotations

import itertools
import os
import random
import secrets
import signal
import sqlite3
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import BotoCoreError, ClientError

from kmsapp import service_models
from kmsapp.testing import Casemate, served_copy
from kmsapp.tests.crash.makers import STORE, Made, encrypt_first
from kmsapp.tests.crash.truths import assert_nothing_is_lost
from kmsapp.tests.crash.victims import VICTIMS

WRITES = int(os.environ.get("CASEMATE_WRITES", "500"))
KILLS = int(os.environ.get("CASEMATE_WRITER_KILLS", "5"))
WRITERS = 4
KEY_ID = "1234abcd-12ab-34cd-56ef-1234567890ab"
# One of these after the other, by each writer from another place on.
MIX = ("TagResource", "CreateAlias", "CreateKey", "TagResource", "UpdateCustomKeyStore", "CreateAlias", "TagResource")


@pytest.fixture
def casemate(stopped_server: Path, tmp_path: Path) -> Iterator[Casemate]:
    with served_copy(stopped_server, tmp_path / "data", "--immediate") as casemate:
        yield casemate


@dataclass
class Latest:
    """Values that replace each other: what was asked for, and up to which of them it was acknowledged."""

    asked: list[str] = field(default_factory=list)
    acknowledged: int = 0

    @property
    def possible(self) -> set[str]:
        """The last that was acknowledged, and those after it, which may have been done."""
        return set(self.asked[max(self.acknowledged - 1, 0) :])


@dataclass
class Writer:
    """Writes one thing after the other; remembers what was acknowledged, and what may have been done."""

    number: int
    casemate: Casemate = field(repr=False)
    stop: threading.Event = field(repr=False)
    made: list[Made] = field(default_factory=list)
    aliases: list[str] = field(default_factory=list)
    tag: Latest = field(default_factory=Latest)  # of the demo's key, which no other writer writes
    store_name: Latest = field(default_factory=Latest)  # which the others write too
    acknowledged: Counter[str] = field(default_factory=Counter)
    refused: set[tuple[str, str]] = field(default_factory=set)  # (operation, error's name)
    cut_off: int = 0  # calls without an answer

    def run(self) -> None:
        kms = self.casemate.boto3("kms", connect_timeout=2)
        for operation in itertools.islice(itertools.cycle(MIX), self.number, None):
            if self.stop.is_set():
                return
            try:
                self._write(kms, operation)
                self.acknowledged[operation] += 1
            except ClientError as error:
                self.refused.add((operation, error.response["Error"]["Code"]))
            except BotoCoreError:
                self.cut_off += 1
                time.sleep(0.02)  # nobody listens for a moment when a worker's successor starts

    def _write(self, kms: Any, operation: str) -> None:
        word = f"{self.number}-{secrets.token_hex(8)}"
        if operation == "CreateKey":
            tags = [{"TagKey": "made", "TagValue": word}]
            answer = kms.create_key(Origin="AWS_CLOUDHSM", CustomKeyStoreId=STORE, Tags=tags)
            self.made.append(Made(answer["KeyMetadata"]["Arn"], secrets.token_bytes(24)))
        elif operation == "CreateAlias":
            target = self.made[-1].arn.rpartition("/")[2] if self.made else KEY_ID  # a key has 50 aliases at most
            kms.create_alias(AliasName=f"alias/{word}", TargetKeyId=target)
            self.aliases.append(f"alias/{word}")
        elif operation == "TagResource":
            self.tag.asked.append(word)
            kms.tag_resource(KeyId=KEY_ID, Tags=[{"TagKey": self.tag_key, "TagValue": word}])
            self.tag.acknowledged = len(self.tag.asked)
        else:
            self.store_name.asked.append(f"Store-{word}")
            kms.update_custom_key_store(CustomKeyStoreId=STORE, NewCustomKeyStoreName=f"Store-{word}")
            self.store_name.acknowledged = len(self.store_name.asked)

    @property
    def tag_key(self) -> str:
        return f"writer-{self.number}"

    @property
    def writes(self) -> int:
        return self.acknowledged.total()


def kill_now_and_then(casemate: Casemate, writers: list[Writer]) -> Counter[str]:
    """Spread over the writes: a web worker, or jobs, each time at a moment that nobody chose."""
    killed = Counter[str]()
    for number in range(KILLS):
        wanted = WRITES * (number + 1) // (KILLS + 1)
        casemate.wait_until(lambda wanted=wanted: sum(w.writes for w in writers) >= wanted, "writes")  # type: ignore[misc]
        time.sleep(random.random() * 0.05)  # noqa: S311 - so that the kill is in the middle of something else each time
        casemate.server.remember()
        victim = "jobs" if number % 3 == 2 else "web worker"
        pid = VICTIMS["jobs"](casemate) if victim == "jobs" else random.choice(casemate.server.web_workers())  # noqa: S311
        os.kill(pid, signal.SIGKILL)
        killed[victim] += 1
    return killed


def test_what_was_acknowledged_is_there_whoever_was_killed_while_writing(casemate: Casemate) -> None:
    stop = threading.Event()
    writers = [Writer(number, casemate, stop) for number in range(WRITERS)]
    threads = [threading.Thread(target=writer.run) for writer in writers]
    for thread in threads:
        thread.start()
    try:
        killed = kill_now_and_then(casemate, writers)
        casemate.wait_until(lambda: sum(writer.writes for writer in writers) >= WRITES, "the rest of the writes")
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    for operation, code in {refusal for writer in writers for refusal in writer.refused}:
        assert code in service_models.service("kms").operation(operation).errors, (operation, code)
    made = [each for writer in writers for each in writer.made]
    assert_all_is_there(casemate, writers)
    for each in made:
        encrypt_first(casemate.boto3("kms"), each)
    counts = assert_nothing_is_lost(casemate, made)
    acknowledged = sum((writer.acknowledged for writer in writers), Counter[str]())
    print(
        f"R13: {acknowledged.total()} writes acknowledged {dict(acknowledged)} while {dict(killed)} were killed, "
        f"{sum(writer.cut_off for writer in writers)} cut off: 0 missing, integrity_check ok, {counts.keys} keys "
        f"one to one with token objects"
    )
    assert killed.total() == KILLS


def assert_all_is_there(casemate: Casemate, writers: list[Writer]) -> None:
    """Each acknowledged change that no later one replaced."""
    kms = casemate.boto3("kms")
    named = set(kms.get_paginator("list_aliases").paginate().search("Aliases[].AliasName"))
    shown = {tag["TagKey"]: tag["TagValue"] for tag in kms.list_resource_tags(KeyId=KEY_ID)["Tags"]}
    (store,) = kms.describe_custom_key_stores(CustomKeyStoreId=STORE)["CustomKeyStores"]
    for writer in writers:
        assert set(writer.aliases) <= named
        assert shown[writer.tag_key] in writer.tag.possible
    assert store["CustomKeyStoreName"] in set.union(*(writer.store_name.possible for writer in writers))
    with closing(sqlite3.connect(f"file:{casemate.data / 'casemate.sqlite3'}?mode=ro", uri=True)) as database:
        assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert database.execute("PRAGMA foreign_key_check").fetchall() == []
