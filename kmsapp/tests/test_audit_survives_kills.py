"""L5: kill -9 between an action and its entry. Every change in the database has its audit record, and no record lacks
its change; what a client was told about is in both; and every answered call is in a record.

Each round kills two web workers and then the whole server; CASEMATE_KILL_ROUNDS sets their number.
"""

from __future__ import annotations

import json
import os
import secrets
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import BotoCoreError, ClientError

from kmsapp.testing import Casemate, served_copy
from kmsapp.tests.remains import query

STORE = "cks-1234567890abcdef0"
DEMO_KEY = "1234abcd-12ab-34cd-56ef-1234567890ab"
ROUNDS = int(os.environ.get("CASEMATE_KILL_ROUNDS", "2"))
THREADS = 3


@pytest.fixture(scope="module")
def victim(stopped_server: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Casemate]:
    """A server of this test's own."""
    with served_copy(stopped_server, tmp_path_factory.mktemp("victim") / "data", "--immediate") as casemate:
        yield casemate


@dataclass
class Traffic:
    """Changes from several clients at once, until told to stop; keeps what each was told."""

    casemate: Casemate
    stop: threading.Event = field(default_factory=threading.Event)
    keys: list[str] = field(default_factory=list)  # ARNs that CreateKey answered
    aliases: list[tuple[str, str]] = field(default_factory=list)  # name, key ARN
    tags: list[tuple[str, str, str]] = field(default_factory=list)  # key ARN, tag key, tag value
    answered: list[str] = field(default_factory=list)  # request ids
    broken: Counter[str] = field(default_factory=Counter)

    def run(self) -> None:
        kms = self.casemate.boto3("kms", connect_timeout=2)
        while not self.stop.is_set():
            try:
                self._one_round(kms)
            except BotoCoreError as error:
                self.broken[type(error).__name__] += 1  # the worker was killed under this call
                time.sleep(0.05)
            except ClientError as error:
                self.broken[error.response["Error"]["Code"]] += 1

    def _one_round(self, kms: Any) -> None:
        made = self._answered(kms.create_key(Origin="AWS_CLOUDHSM", CustomKeyStoreId=STORE, Tags=[tag("made", "1")]))
        arn = made["KeyMetadata"]["Arn"]
        self.keys.append(arn)
        self.tags.append((arn, "made", "1"))
        name = f"alias/{secrets.token_hex(8)}"
        self._answered(kms.create_alias(AliasName=name, TargetKeyId=arn))
        self.aliases.append((name, arn))
        for value in ("1", "2"):
            self._answered(kms.tag_resource(KeyId=arn, Tags=[tag("round", value)]))
            self.tags.append((arn, "round", value))
        self._answered(kms.encrypt(KeyId=arn, Plaintext=b"x"))

    def _answered(self, answer: dict[str, Any]) -> dict[str, Any]:
        self.answered.append(answer["ResponseMetadata"]["RequestId"])
        return answer


class StoreTraffic(Traffic):
    """Disconnects and connects the key store: its state is in the row, its changes are in the records."""

    def _one_round(self, kms: Any) -> None:
        (store,) = kms.describe_custom_key_stores()["CustomKeyStores"]
        if store["ConnectionState"] == "CONNECTED":
            self._answered(kms.disconnect_custom_key_store(CustomKeyStoreId=STORE))
        elif store["ConnectionState"] in {"DISCONNECTED", "FAILED"}:
            self._answered(kms.connect_custom_key_store(CustomKeyStoreId=STORE))


def tag(key: str, value: str) -> dict[str, str]:
    return {"TagKey": key, "TagValue": value}


def kill_a_worker(casemate: Casemate) -> None:
    """The older of the two. (granian takes a worker that dies twice within 5.5 s for one that can't live.)"""
    casemate.wait_until(lambda: len(casemate.server.web_workers()) == 2, "two web workers")
    os.kill(casemate.server.web_workers()[0], signal.SIGKILL)


def kill_the_server(casemate: Casemate) -> None:
    casemate.server.stop(signal.SIGKILL)
    casemate.server.start()


def under(traffic: list[Traffic], kill: Callable[[Casemate], None], casemate: Casemate) -> None:
    """Run the clients, kill something in the middle of it, and let the clients end."""
    threads = [threading.Thread(target=client.run) for client in traffic]
    for thread in threads:
        thread.start()
    try:
        time.sleep(0.3 + secrets.randbelow(200) / 1000)
        kill(casemate)
        time.sleep(0.2)
    finally:
        for client in traffic:
            client.stop.set()
        for thread in threads:
            thread.join()


def changes(casemate: Casemate, *names: str) -> list[dict[str, Any]]:
    """The records of successful calls, in the order of their transactions."""
    marks = ",".join("?" * len(names))
    statement = f"SELECT event FROM kmsapp_auditevent WHERE error_code = '' AND event_name IN ({marks}) ORDER BY id"  # noqa: S608
    return [json.loads(event) for (event,) in query(casemate, statement, *names)]


def assert_rows_and_records_agree(casemate: Casemate, traffic: list[Traffic]) -> dict[str, int]:
    """Both ways, one to one."""
    keys = {key_arn(*row) for row in query(casemate, "SELECT region, account, key_id FROM kmsapp_kmskey")}
    made = [event["resources"][0]["ARN"] for event in changes(casemate, "CreateKey")]
    assert sorted(made) == sorted(keys)
    assert {arn for client in traffic for arn in client.keys} <= keys

    join = "t JOIN kmsapp_kmskey k ON k.id = t.key_id"
    rows = query(casemate, f"SELECT name, k.region, k.account, k.key_id FROM kmsapp_alias {join}")  # noqa: S608
    aliases = {(name, key_arn(*key)) for name, *key in rows}
    named = [
        (event["requestParameters"]["aliasName"], event["resources"][0]["ARN"])
        for event in changes(casemate, "CreateAlias")
    ]
    assert sorted(named) == sorted(aliases)
    assert {pair for client in traffic for pair in client.aliases} <= aliases

    rows = query(casemate, f"SELECT tag_key, tag_value, k.region, k.account, k.key_id FROM kmsapp_tag {join}")  # noqa: S608
    tags = {(key_arn(*key), name): value for name, value, *key in rows}
    assert tags == recorded_tags(casemate)
    for client in traffic:
        told = {(arn, name): value for arn, name, value in client.tags}
        assert told.keys() <= tags.keys()
        assert all(int(tags[at]) >= int(value) for at, value in told.items()), (
            "a tag that was told is there, or a later"
        )
    return {"keys": len(keys), "aliases": len(aliases), "tags": len(tags)}


def key_arn(region: str, account: str, key_id: str) -> str:
    return f"arn:aws:kms:{region}:{account}:key/{key_id}"


def recorded_tags(casemate: Casemate) -> dict[tuple[str, str], str]:
    """The tags that the records say there are: the last one of each name."""
    found = {}
    for event in changes(casemate, "CreateKey", "TagResource"):
        for item in (event["requestParameters"] or {}).get("tags", []):
            found[event["resources"][0]["ARN"], item["tagKey"]] = item["tagValue"]
    return found


def recorded_requests(casemate: Casemate) -> set[str]:
    """Request ids in the database and in the audit files, which are read into it later."""
    found = {row[0] for row in query(casemate, "SELECT request_id FROM kmsapp_auditevent")}
    for file in (casemate.data / "audit").glob("*.jsonl"):
        for line in file.read_bytes().split(b"\n")[:-1]:
            found.add(json.loads(line)["event"]["requestID"])
    return found


def test_every_change_has_its_record_after_kill_9(victim: Casemate) -> None:
    kills = [kill_a_worker, kill_a_worker, kill_the_server] * ROUNDS
    everyone: list[Traffic] = []
    for kill in kills:
        traffic = [Traffic(victim) for _ in range(THREADS)]
        under(traffic, kill, victim)
        everyone += traffic
    counts = assert_rows_and_records_agree(victim, everyone)
    answered = {request_id for client in everyone for request_id in client.answered}
    missing = answered - recorded_requests(victim)
    broken = sum((client.broken for client in everyone), Counter())
    print(
        f"L5: {len(kills)} kills; {counts}, each with its record; "
        f"{len(answered)} answered calls, {len(missing)} without a record"
    )
    print(f"L5: calls cut short or refused: {dict(broken)}")
    assert not missing
    assert counts["keys"] > 10 and broken


def test_every_change_of_a_key_store_has_its_record_after_kill_9(victim: Casemate) -> None:
    kills = [kill_a_worker, kill_a_worker, kill_the_server]
    everyone: list[Traffic] = []
    for kill in kills:
        traffic: list[Traffic] = [StoreTraffic(victim)]
        under(traffic, kill, victim)
        everyone += traffic
        ((state,),) = query(victim, "SELECT connection_state FROM kmsapp_customkeystore")
        recorded = changes(victim, "ConnectCustomKeyStore", "DisconnectCustomKeyStore")
        last = recorded[-1]["eventName"]
        connected = {"CONNECTED", "CONNECTING", "FAILED"}
        assert (state in connected) == (last == "ConnectCustomKeyStore"), (state, last)
        names = [event["eventName"] for event in recorded]
        assert all(one != other for one, other in pairwise(names)), "none is missing between two others"
    answered = {request_id for client in everyone for request_id in client.answered}
    assert answered and not answered - recorded_requests(victim)
    print(f"L5: {len(kills)} kills; {len(recorded)} changes of the key store, each with its record")
