"""Encoder and decoder of ciphertexts, written from docs/ciphertext.md alone.

It imports nothing of Casemate, so that a mistake of the product's code can't hide in its own test. Section numbers are
those of the page.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

HEADER = struct.Struct(">BBB6s16s32s")  # section 2


class RefusedError(Exception):
    """The blob does not open."""


class Opened(NamedTuple):
    account: str
    key_id: str
    material_id: bytes
    plaintext: bytes


def prefixed(data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + data


def encode_context(context: dict[str, str]) -> bytes:
    """Section 4."""
    encoded = struct.pack(">I", len(context))
    by_bytes = {key.encode("utf-8"): value.encode("utf-8") for key, value in context.items()}
    for key in sorted(by_bytes):
        encoded += prefixed(key) + prefixed(by_bytes[key])
    return encoded


def encode_header(account: str, key_id: str, material_id: bytes) -> bytes:
    """Section 2."""
    form = 1 if key_id.startswith("mrk-") else 0
    digits = key_id.removeprefix("mrk-").replace("-", "")
    return HEADER.pack(1, 1, form, int(account).to_bytes(6, "big"), bytes.fromhex(digits), material_id)


def message_aad(header: bytes, key_store_id: str, context: dict[str, str]) -> bytes:
    """Section 3."""
    parts = (b"casemate ciphertext 1", header, key_store_id.encode("utf-8"))
    return b"".join(map(prefixed, parts)) + encode_context(context)


def seal(
    key: bytes,
    *,
    account: str,
    key_id: str,
    material_id: bytes,
    key_store_id: str,
    context: dict[str, str],
    iv: bytes,
    plaintext: bytes,
) -> bytes:
    """Sections 2 and 3: a CiphertextBlob."""
    header = encode_header(account, key_id, material_id)
    return header + iv + AESGCM(key).encrypt(iv, plaintext, message_aad(header, key_store_id, context))


def open_blob(
    blob: bytes, key: bytes, *, key_id: str, material_id: bytes, key_store_id: str, context: dict[str, str]
) -> Opened:
    """Section 7. The key is the one that key_id and material_id name. Raises RefusedError."""
    if len(blob) < 86:
        raise RefusedError("too short")
    version, algorithm, form, account, id_bytes, found_material_id = HEADER.unpack(blob[:57])
    if version != 1 or algorithm != 1 or form not in (0, 1) or int.from_bytes(account, "big") > 999_999_999_999:
        raise RefusedError("no blob of version 1")
    digits = id_bytes.hex()
    named = f"mrk-{digits}" if form else "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))
    if (named, found_material_id) != (key_id, material_id):
        raise RefusedError("another key")
    try:
        plaintext = AESGCM(key).decrypt(blob[57:69], blob[69:], message_aad(blob[:57], key_store_id, context))
    except InvalidTag as error:
        raise RefusedError("not authentic") from error
    return Opened(str(int.from_bytes(account, "big")).zfill(12), named, found_material_id, plaintext)


def check_aad(label: str, material_id: bytes) -> bytes:
    """Section 6."""
    return b"casemate check 1" + prefixed(label.encode("utf-8")) + prefixed(material_id)


def check_ciphertext(key: bytes, *, label: str, material_id: bytes, iv: bytes) -> bytes:
    """Section 6."""
    return iv + AESGCM(key).encrypt(iv, bytes(32), check_aad(label, material_id))


def is_checked(check: bytes, key: bytes, *, label: str, material_id: bytes) -> bool:
    """Section 6: whether the key is the one that the check ciphertext was made with."""
    try:
        opened = AESGCM(key).decrypt(check[:12], check[12:], check_aad(label, material_id))
    except InvalidTag:
        return False
    return len(check) == 60 and opened == bytes(32)
