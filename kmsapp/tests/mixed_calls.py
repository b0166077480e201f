"""A caller that does a bit of everything under some fault, and afterwards looks for what was acknowledged."""

from __future__ import annotations

import secrets
import sqlite3
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any

from botocore.exceptions import ClientError

from kmsapp.testing import Casemate
from kmsapp.tests.crash.makers import STORE, Made, encrypt_first
from kmsapp.tests.crash.truths import assert_nothing_is_lost

KEY = "alias/ExampleKey"
KEY_ID = "1234abcd-12ab-34cd-56ef-1234567890ab"
INTERNAL = "KMSInternalException"


@dataclass
class MixedCalls:
    """Does a bit of everything, and remembers what was acknowledged and what was refused, by operation."""

    casemate: Casemate
    kms: Any
    made: list[Made] = field(default_factory=list)
    aliases: list[str] = field(default_factory=list)
    tag_key: str = field(default_factory=lambda: f"mixed-{secrets.token_hex(4)}")  # of a tag of the demo's key
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
        tags = [{"TagKey": "made", "TagValue": "under a fault"}]
        answer = self.kms.create_key(Origin="AWS_CLOUDHSM", CustomKeyStoreId=STORE, Tags=tags)
        self.made.append(Made(answer["KeyMetadata"]["Arn"], secrets.token_bytes(24)))

    def _create_alias(self) -> None:
        name = f"alias/mixed-{secrets.token_hex(8)}"
        self.kms.create_alias(AliasName=name, TargetKeyId=KEY_ID)
        self.aliases.append(name)

    def _tag(self) -> None:
        value = secrets.token_hex(8)
        self.kms.tag_resource(KeyId=KEY_ID, Tags=[{"TagKey": self.tag_key, "TagValue": value}])
        self.tag_values.append(value)

    def assert_all_is_there(self) -> None:
        """What was acknowledged. No key stands without its token objects, nor the other way round."""
        named = set(self.kms.get_paginator("list_aliases").paginate().search("Aliases[].AliasName"))
        assert set(self.aliases) <= named
        shown = {tag["TagKey"]: tag["TagValue"] for tag in self.kms.list_resource_tags(KeyId=KEY_ID)["Tags"]}
        assert shown[self.tag_key] == self.tag_values[-1]
        for blob, plaintext in self.sealed:
            assert self.kms.decrypt(CiphertextBlob=blob)["Plaintext"] == plaintext
        for each in self.made:
            encrypt_first(self.kms, each)
        assert_nothing_is_lost(self.casemate, self.made)
        with closing(sqlite3.connect(f"file:{self.casemate.data / 'casemate.sqlite3'}?mode=ro", uri=True)) as database:
            assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


def works(caller: MixedCalls) -> bool:
    """Whether everything is answered now."""
    caller.refused.clear()
    caller.round()
    return not caller.refused
