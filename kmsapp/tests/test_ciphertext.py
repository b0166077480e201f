"""The ciphertext format: known answers, and a decoder written from docs/ciphertext.md alone against the product's."""

from __future__ import annotations

import ast
import json
import re
import secrets
import sys
import uuid
from pathlib import Path
from typing import Any

import pytest
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from hsmapp.device import key_proofs
from kmsapp import ciphertext, encryption_context
from kmsapp.testing import ROOT
from kmsapp.tests import independent_decoder, make_ciphertext_vectors

VECTORS: dict[str, Any] = json.loads(make_ciphertext_vectors.PATH.read_text())
MESSAGES = {vector["name"]: vector for vector in VECTORS["messages"]}
WORKED = MESSAGES["worked example"]
REFUSED = {vector["name"]: bytes.fromhex(vector["ciphertext_blob"]) for vector in VECTORS["refused"]}
CHECKED = {vector["name"]: vector for vector in VECTORS["check_ciphertexts"]}


def open_with_ours(blob: bytes, vector: dict[str, Any]) -> tuple[ciphertext.Header, bytes]:
    """Open a blob as Decrypt does, with a software key in the HSM's place."""
    parts = ciphertext.split(blob)
    if parts.header.key_id != vector["key_id"] or parts.header.material_id.hex() != vector["material_id"]:
        raise InvalidTag  # Decrypt finds another key, or none
    aad = ciphertext.associated_data(
        parts.header_bytes, key_store_id=vector["key_store_id"], context=vector["encryption_context"]
    )
    return parts.header, AESGCM(bytes.fromhex(vector["key"])).decrypt(parts.iv, parts.sealed, aad)


def open_with_independent(blob: bytes, vector: dict[str, Any]) -> independent_decoder.Opened:
    return independent_decoder.open_blob(
        blob,
        bytes.fromhex(vector["key"]),
        key_id=vector["key_id"],
        material_id=bytes.fromhex(vector["material_id"]),
        key_store_id=vector["key_store_id"],
        context=vector["encryption_context"],
    )


def seal_with_independent(vector: dict[str, Any]) -> bytes:
    return independent_decoder.seal(
        bytes.fromhex(vector["key"]),
        account=vector["account"],
        key_id=vector["key_id"],
        material_id=bytes.fromhex(vector["material_id"]),
        key_store_id=vector["key_store_id"],
        context=vector["encryption_context"],
        iv=bytes.fromhex(vector["iv"]),
        plaintext=bytes.fromhex(vector["plaintext"]),
    )


def test_the_published_vectors_are_what_the_code_makes() -> None:
    assert make_ciphertext_vectors.PATH.read_text() == make_ciphertext_vectors.document()


@pytest.mark.parametrize("vector", MESSAGES.values(), ids=MESSAGES)
def test_the_independent_decoder_opens_our_vectors(vector: dict[str, Any]) -> None:
    opened = open_with_independent(bytes.fromhex(vector["ciphertext_blob"]), vector)
    assert opened == (
        vector["account"],
        vector["key_id"],
        bytes.fromhex(vector["material_id"]),
        bytes.fromhex(vector["plaintext"]),
    )


@pytest.mark.parametrize("vector", MESSAGES.values(), ids=MESSAGES)
def test_the_independent_encoder_gives_our_bytes_and_our_code_opens_them(vector: dict[str, Any]) -> None:
    header = bytes.fromhex(vector["header"])
    made = independent_decoder.encode_header(vector["account"], vector["key_id"], bytes.fromhex(vector["material_id"]))
    assert made == header
    assert independent_decoder.encode_context(vector["encryption_context"]).hex() == vector["encoded_context"]
    aad = independent_decoder.message_aad(header, vector["key_store_id"], vector["encryption_context"])
    assert aad.hex() == vector["aad"]
    blob = seal_with_independent(vector)
    assert blob.hex() == vector["ciphertext_blob"]
    opened, plaintext = open_with_ours(blob, vector)
    assert (opened.account, opened.key_id, plaintext.hex()) == (
        vector["account"],
        vector["key_id"],
        vector["plaintext"],
    )


@pytest.mark.parametrize("blob", REFUSED.values(), ids=REFUSED)
def test_both_decoders_refuse_what_must_not_open(blob: bytes) -> None:
    with pytest.raises((ciphertext.MalformedError, InvalidTag)):
        open_with_ours(blob, WORKED)
    with pytest.raises(independent_decoder.RefusedError):
        open_with_independent(blob, WORKED)


@pytest.mark.parametrize("vector", CHECKED.values(), ids=CHECKED)
def test_check_ciphertexts_agree(vector: dict[str, Any]) -> None:
    key, material_id, iv = (bytes.fromhex(vector[name]) for name in ("key", "material_id", "iv"))
    label, check = vector["label"], bytes.fromhex(vector["check_ciphertext"])
    assert independent_decoder.check_aad(label, material_id).hex() == vector["aad"]
    assert key_proofs.check_aad(label, material_id.hex()).hex() == vector["aad"]
    assert independent_decoder.check_ciphertext(key, label=label, material_id=material_id, iv=iv) == check
    assert independent_decoder.is_checked(check, key, label=label, material_id=material_id)
    assert len(check) == key_proofs.CHECK_BYTES
    wrong = [
        independent_decoder.is_checked(check, bytes([key[0] ^ 1]) + key[1:], label=label, material_id=material_id),
        independent_decoder.is_checked(check, key, label=label + "0", material_id=material_id),
        independent_decoder.is_checked(check, key, label=label, material_id=material_id[::-1]),
        independent_decoder.is_checked(check[:-1] + bytes([check[-1] ^ 1]), key, label=label, material_id=material_id),
    ]
    assert wrong == [False] * 4


def test_the_two_codes_agree_on_random_messages() -> None:
    count = 500
    for _ in range(count):
        vector = {
            "key": secrets.token_hex(32),
            "account": f"{secrets.randbelow(10**12):012d}",
            "key_id": secrets.choice([str(uuid.uuid4()), f"mrk-{secrets.token_hex(16)}"]),
            "material_id": secrets.token_hex(32),
            "key_store_id": secrets.choice(["", "cks-1234567890abcdef0"]),
            "encryption_context": {secrets.token_urlsafe(4): secrets.token_urlsafe(8) for _ in range(3)},
            "iv": secrets.token_hex(12),
            "plaintext": secrets.token_hex(1 + secrets.randbelow(100)),
        }
        header, plaintext = open_with_ours(seal_with_independent(vector), vector)
        assert (header.account, header.key_id, plaintext.hex()) == (
            vector["account"],
            vector["key_id"],
            vector["plaintext"],
        )
    print(f"{count} random messages: the two codes agree")


def test_the_page_shows_the_worked_example() -> None:
    page = re.sub(r"[\s]", "", (ROOT / "docs" / "ciphertext.md").read_text())
    blob = bytes.fromhex(WORKED["ciphertext_blob"])
    shown = [WORKED["key"], WORKED["iv"], blob[69:74].hex(), blob[74:].hex(), blob[3:9].hex(), blob[9:25].hex()]
    shown += [blob[25:41].hex(), blob[41:57].hex(), b"casemate ciphertext 1".hex(), b"cks-1234567890abcdef0".hex()]
    for part in shown:
        assert part in page, part
    assert len(blob) == 90


def test_the_independent_decoder_imports_nothing_of_ours() -> None:
    tree = ast.parse(Path(independent_decoder.__file__).read_text())
    names = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    names |= {node.module or "." for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    foreign = {name.partition(".")[0] for name in names} - sys.stdlib_module_names
    assert foreign == {"cryptography"}


def test_an_account_or_material_id_of_the_wrong_size_is_not_encoded() -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        ciphertext.Header("111122223333", WORKED["key_id"], b"short").encode()
    header = ciphertext.Header("111122223333", WORKED["key_id"], bytes(32))
    for iv, sealed in ((bytes(11), bytes(17)), (bytes(12), bytes(16))):
        with pytest.raises(ValueError, match="12 bytes"):
            ciphertext.join(header, iv, sealed)


def test_an_empty_context_is_four_zero_bytes() -> None:
    assert encryption_context.encode({}) == independent_decoder.encode_context({}) == bytes(4)
