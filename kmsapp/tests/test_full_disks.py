"""R14: no space left for a token, for the database, for the audit files: refused by name, and nothing is lost.

Each time there is none for logs either.
"""

from __future__ import annotations

import secrets
import shutil
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from kmsapp import service_models
from kmsapp.testing import Casemate, Server
from kmsapp.tests.crash.makers import STORE, Made, encrypt_first
from kmsapp.tests.crash.truths import assert_nothing_is_lost
from kmsapp.tests.small_disk import filled, small_disk
from kmsapp.tests.token_copies import HSMS

KEY = "alias/ExampleKey"
ROUNDS = 12
DATABASE = "casemate.sqlite3"
HSM_FOLDER, DATABASE_FOLDER, AUDIT_FOLDER, LOG_FOLDER = f"hsm/{HSMS[0]}", "database", "audit", "log"
MIB = {HSM_FOLDER: 2, DATABASE_FOLDER: 16, AUDIT_FOLDER: 2, LOG_FOLDER: 4}


@pytest.fixture(scope="module")
def casemate(stopped_server: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Casemate]:
    """A server of which token, database and audit files have a small disk each."""
    data = tmp_path_factory.mktemp("full disks") / "data"
    shutil.copytree(stopped_server, data)
    with ExitStack() as stack:
        for name, mib in MIB.items():
            stack.enter_context(small_disk(data / name, mib=mib))
        for path in data.glob(f"{DATABASE}*"):
            shutil.move(path, data / DATABASE_FOLDER / path.name)
        (data / DATABASE).symlink_to(data / DATABASE_FOLDER / DATABASE)
        server = Server(data, "--immediate")
        server.start()
        stack.callback(server.stop)
        yield Casemate(server)


@dataclass
class Caller:
    """Does a bit of everything, and remembers what was acknowledged and what was refused, by operation."""

    casemate: Casemate
    kms: Any
    made: list[Made] = field(default_factory=list)
    aliases: list[str] = field(default_factory=list)
    tag_key: str = field(default_factory=lambda: f"full-{secrets.token_hex(4)}")  # of a tag of the demo's key
    tag_values: list[str] = field(default_factory=list)
    sealed: list[tuple[bytes, bytes]] = field(default_factory=list)
    answered: Counter[str] = field(default_factory=Counter)
    refused: Counter[tuple[str, str]] = field(default_factory=Counter)  # (operation, error's name)

    def round(self) -> None:
        for name, call in self.calls.items():
            try:
                call()
                self.answered[name] += 1
            except ClientError as error:
                self.refused[name, error.response["Error"]["Code"]] += 1
                message = error.response["Error"]["Message"]
                assert "Traceback" not in message and str(self.casemate.data) not in message, message

    @property
    def calls(self) -> dict[str, Callable[[], None]]:
        return {
            "Encrypt": self._encrypt,
            "Decrypt": self._decrypt,
            "GenerateDataKey": lambda: self.kms.generate_data_key(KeyId=KEY, KeySpec="AES_256"),
            "DescribeKey": lambda: self.kms.describe_key(KeyId=KEY),
            "CreateKey": self._create_key,
            "CreateAlias": self._create_alias,
            "TagResource": self._tag,
        }

    def _encrypt(self) -> None:
        plaintext = secrets.token_bytes(24)
        self.sealed.append((self.kms.encrypt(KeyId=KEY, Plaintext=plaintext)["CiphertextBlob"], plaintext))

    def _decrypt(self) -> None:
        blob, plaintext = self.sealed[0]
        assert self.kms.decrypt(CiphertextBlob=blob)["Plaintext"] == plaintext

    def _create_key(self) -> None:
        tags = [{"TagKey": "made", "TagValue": "while the disk was full"}]
        answer = self.kms.create_key(Origin="AWS_CLOUDHSM", CustomKeyStoreId=STORE, Tags=tags)
        self.made.append(Made(answer["KeyMetadata"]["Arn"], secrets.token_bytes(24)))

    def _create_alias(self) -> None:
        name = f"alias/full-{secrets.token_hex(8)}"
        self.kms.create_alias(AliasName=name, TargetKeyId=self._key_id)
        self.aliases.append(name)

    def _tag(self) -> None:
        value = secrets.token_hex(8)
        self.kms.tag_resource(KeyId=self._key_id, Tags=[{"TagKey": self.tag_key, "TagValue": value}])
        self.tag_values.append(value)

    @property
    def _key_id(self) -> str:
        return "1234abcd-12ab-34cd-56ef-1234567890ab"

    def assert_all_is_there(self) -> None:
        """What was acknowledged. No key stands without its token objects, nor the other way round."""
        named = set(self.kms.get_paginator("list_aliases").paginate().search("Aliases[].AliasName"))
        assert set(self.aliases) <= named
        shown = {tag["TagKey"]: tag["TagValue"] for tag in self.kms.list_resource_tags(KeyId=self._key_id)["Tags"]}
        assert shown[self.tag_key] == self.tag_values[-1]
        for blob, plaintext in self.sealed:
            assert self.kms.decrypt(CiphertextBlob=blob)["Plaintext"] == plaintext
        for each in self.made:
            encrypt_first(self.kms, each)
        assert_nothing_is_lost(self.casemate, self.made)
        with closing(sqlite3.connect(f"file:{self.casemate.data / DATABASE}?mode=ro", uri=True)) as database:
            assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


INTERNAL = "KMSInternalException"
# What has no room -> what each operation is refused with; others are answered.
REFUSED: dict[str, dict[str, str]] = {
    HSM_FOLDER: {"CreateKey": "CloudHsmClusterInvalidConfigurationException"},
    DATABASE_FOLDER: dict.fromkeys(("CreateKey", "CreateAlias", "TagResource"), INTERNAL),
    # A change is recorded in its own transaction.
    AUDIT_FOLDER: dict.fromkeys(("Encrypt", "Decrypt", "GenerateDataKey", "DescribeKey"), INTERNAL),
}
# Some still find room: the -wal file is written over again from its start, and a file's last page may have a rest.
SOMETIMES = {DATABASE_FOLDER, AUDIT_FOLDER}


@pytest.mark.parametrize("place", REFUSED, ids=["token", "database", "audit files"])
def test_a_full_disk_is_refused_by_name_and_is_over_when_there_is_space(casemate: Casemate, place: str) -> None:
    assert casemate.server.process is not None
    caller = Caller(casemate, casemate.boto3("kms"))
    caller.round()
    assert not caller.refused
    caller.answered.clear()
    processes = [casemate.hsm_pid(hsm_id) for hsm_id in HSMS]
    with filled(casemate.data / place), filled(casemate.data / LOG_FOLDER, pages=True):
        for _ in range(ROUNDS):
            caller.round()
    expected = REFUSED[place]
    assert set(caller.refused) == set(expected.items()), caller.refused
    for operation, code in expected.items():
        assert code in service_models.service("kms").operation(operation).errors, "AWS's model lists it"
    if place not in SOMETIMES:
        assert caller.refused == Counter(dict.fromkeys(expected.items(), ROUNDS))
    assert casemate.server.process.poll() is None
    assert [casemate.hsm_pid(hsm_id) for hsm_id in HSMS] == processes
    fresh = Caller(casemate, caller.kms, sealed=caller.sealed[:1])
    casemate.wait_until(lambda: works(fresh), "everything to work again, without anybody's doing")
    caller.assert_all_is_there()
    print(
        f"R14: no space left in {place}: {caller.refused.total()} of {ROUNDS * len(caller.calls)} calls refused by "
        f"name, {caller.answered.total()} answered; {len(caller.made)} keys, {len(caller.aliases)} aliases and "
        f"{len(caller.sealed)} ciphertexts acknowledged, 0 missing afterwards; worked again by itself"
    )


def works(caller: Caller) -> bool:
    caller.refused.clear()
    caller.round()
    return not caller.refused
