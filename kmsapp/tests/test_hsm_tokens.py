"""What is in the HSMs' tokens, seen by PKCS#11 clients that are not ours, on copies of the tokens."""

from __future__ import annotations

import json
import re
import sqlite3
import struct
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest

from hsmapp.tests.token_files import CKA_ALLOWED_MECHANISMS, CKA_VALUE, CKM_AES_GCM
from kmsapp.testing import Casemate
from kmsapp.tests.independent_decoder import encode_header, message_aad
from kmsapp.tests.token_copies import (
    HSMS,
    TokenCopy,
    copy_token,
    stored_keys,
)

STORE = "cks-1234567890abcdef0"
CONTEXT = {"tenant": "é", "purpose": "test"}


@dataclass(frozen=True)
class World:
    """A key of the server, a ciphertext from each HSM, and copies of both tokens."""

    key_arn: str
    backing_key_id: str
    blobs: tuple[bytes, ...]
    tokens: dict[str, TokenCopy]


@pytest.fixture(scope="module")
def world(casemate: Casemate, tmp_path_factory: pytest.TempPathFactory) -> World:
    kms = casemate.boto3("kms")
    arn = kms.create_key(Origin="AWS_CLOUDHSM", CustomKeyStoreId=STORE)["KeyMetadata"]["Arn"]
    blobs = [
        kms.encrypt(KeyId=arn, Plaintext=f"message {number}".encode(), EncryptionContext=CONTEXT)["CiphertextBlob"]
        for number in range(20)
    ]
    folder = tmp_path_factory.mktemp("tokens")
    tokens = {hsm_id: copy_token(casemate, hsm_id, folder) for hsm_id in HSMS}
    return World(arn, backing_key_id(casemate, arn), tuple(blobs), tokens)


def backing_key_id(casemate: Casemate, arn: str) -> str:
    """The id that CreateKey's audit record shows, as CloudTrail does."""
    with closing(sqlite3.connect(f"file:{casemate.data / 'casemate.sqlite3'}?mode=ro", uri=True)) as database:
        rows = database.execute(
            "SELECT event FROM kmsapp_auditevent WHERE event_name = 'CreateKey' AND resource = ?", [arn]
        )
        ((event,),) = rows.fetchall()
    shown: str = json.loads(json.loads(event)["additionalEventData"]["backingKey"])["backingKeyId"]
    return shown


@pytest.mark.parametrize("hsm_id", HSMS)
def test_the_key_is_in_the_token_and_does_not_leave_it(world: World, hsm_id: str) -> None:
    key = world.tokens[hsm_id].ask()["keys"][world.key_arn]
    value = key.pop("value")
    assert re.fullmatch("[0-9a-f]{64}", world.backing_key_id)
    assert key == {
        "label": world.key_arn,
        "id": world.backing_key_id,
        "class": "SECRET_KEY",
        "type": "AES",
        "sensitive": True,
        "extractable": False,
        "token": True,
        "private": True,
        "modifiable": False,
        "encrypt": True,
        "decrypt": True,
        "wrap": False,
        "unwrap": False,
    }
    assert value == "AttributeSensitive"


@pytest.mark.parametrize("hsm_id", HSMS)
def test_pkcs11_tool_finds_the_key_and_is_refused_its_value(world: World, hsm_id: str, tmp_path: Path) -> None:
    token = world.tokens[hsm_id]
    listed = token.pkcs11_tool("--list-objects", "--type", "secrkey").stdout.decode()
    (entry,) = (part for part in listed.split("Secret Key Object;") if world.key_arn in part)
    assert entry.startswith(" AES")
    assert world.backing_key_id.encode().hex() in entry, "the id is the 64 characters, not the 32 bytes they spell"
    assert re.search(r"Access:\s+sensitive", entry) and "extractable" not in entry.replace("never extractable", "")
    read = token.pkcs11_tool(
        *("--read-object", "--type", "secrkey", "--label", world.key_arn, "--output-file", str(tmp_path / "value"))
    )
    assert read.returncode != 0
    assert not (tmp_path / "value").exists() or (tmp_path / "value").stat().st_size == 0


@pytest.mark.parametrize("hsm_id", HSMS)
def test_every_key_has_32_bytes_and_does_aes_gcm_alone(casemate: Casemate, hsm_id: str, tmp_path: Path) -> None:
    """SoftHSM 2.6.1 gives an unwrapped key no CKA_VALUE_LEN (its issue 628), and the value itself can't be read.

    What it stores is the value encrypted and padded, so a foreign client's keys of known length are the measure.
    """
    token = copy_token(casemate, hsm_id, tmp_path)
    ours = [key for key in stored_keys(token.folder) if key[CKA_ALLOWED_MECHANISMS] == struct.pack(">Q", CKM_AES_GCM)]
    keys = [label for label in token.ask()["keys"] if label.startswith("arn:")]
    assert len(ours) == len(keys) > 0
    stored = {size: stored_length_of_new_key(token, size) for size in (16, 24, 32)}
    assert stored[32] not in {stored[16], stored[24]}
    assert {stored_length(key) for key in ours} == {stored[32]}
    print(f"{hsm_id}: {len(ours)} keys of 32 bytes, for AES-GCM alone")


def stored_length_of_new_key(token: TokenCopy, size: int) -> int:
    before = stored_keys(token.folder)
    made = token.pkcs11_tool(
        *("--keygen", "--key-type", f"AES:{size}", "--label", f"measure {size}", "--private", "--sensitive")
    )
    assert made.returncode == 0, made.stderr
    (new,) = [key for key in stored_keys(token.folder) if key not in before]
    return stored_length(new)


def stored_length(key: dict[int, bytes]) -> int:
    return len(key[CKA_VALUE])


@pytest.mark.parametrize("hsm_id", HSMS)
def test_what_either_hsm_sealed_opens_in_the_copy_of_each_token(world: World, hsm_id: str) -> None:
    """The IV's first 8 bytes tell the HSM that sealed: both have, and each token opens all."""
    account, key_id = world.key_arn.split(":")[4], world.key_arn.rpartition("/")[2]
    header = encode_header(account, key_id, bytes.fromhex(world.backing_key_id))
    assert {blob[:57] for blob in world.blobs} == {header}
    prefixes = {blob[57:65] for blob in world.blobs}
    assert len(prefixes) == len(HSMS), "both HSMs have sealed some of the messages"
    messages = [
        {
            "label": world.key_arn,
            "iv": blob[57:69].hex(),
            "sealed": blob[69:].hex(),
            "aad": message_aad(header, STORE, CONTEXT).hex(),
        }
        for blob in world.blobs
    ]
    wrong = {**messages[0], "aad": message_aad(header, STORE, {}).hex()}
    opened = world.tokens[hsm_id].ask(*messages, wrong)["opened"]
    assert [bytes.fromhex(text) for text in opened[:-1]] == [f"message {n}".encode() for n in range(len(messages))]
    assert opened[-1] in {"EncryptedDataInvalid", "GeneralError", "EncryptedDataLenRange", "FunctionFailed"}, opened[-1]
    print(f"{hsm_id}: {len(messages)} messages of {len(prefixes)} HSMs opened")


def test_both_tokens_hold_the_same_keys(casemate: Casemate, world: World) -> None:
    held = [world.tokens[hsm_id].ask()["keys"] for hsm_id in HSMS]
    arns = [{(key["label"], key["id"]) for key in keys.values() if key["label"].startswith("arn:")} for keys in held]
    assert arns[0] == arns[1]
    listed = casemate.boto3("kms").get_paginator("list_keys").paginate().search("Keys[].KeyArn")
    assert {label for label, _ in arns[0]} == set(listed)
