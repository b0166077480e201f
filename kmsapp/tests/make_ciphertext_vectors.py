"""Makes the known-answer vectors of docs/ciphertext.md: `python -m kmsapp.tests.make_ciphertext_vectors`.

The product's own code encodes; a software AES key stands for the one in the HSM. Keys, material ids and IVs are the
first bytes of SHA-256 of the vector's name and the part's, so the file is the same whenever it is made. The format is
fixed for good: a vector may be added, and none that was published may change.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from hsmapp.device import key_proofs
from kmsapp import ciphertext, encryption_context

PATH = Path(__file__).resolve().parent / "data" / "ciphertext_vectors.json"
ACCOUNT = "111122223333"
STORE = "cks-1234567890abcdef0"
UUID = "1234abcd-12ab-34cd-56ef-1234567890ab"
MRK = "mrk-1234abcd12ab34cd56ef1234567890ab"

# name -> account, key id, key store id, encryption context, plaintext
MESSAGES: dict[str, tuple[str, str, str, dict[str, str], bytes]] = {
    "worked example": (ACCOUNT, UUID, STORE, {"purpose": "example", "Aa": "1"}, b"hello"),
    "no encryption context, one byte": (ACCOUNT, UUID, STORE, {}, b"\0"),
    "default key store": (ACCOUNT, UUID, "", {"a": "b"}, b"in no custom key store"),
    "multi-Region key id": (ACCOUNT, MRK, "", {"a": "b"}, b"key id form 1"),
    "account with leading zeros": ("000000000012", UUID, STORE, {}, b"accounts are numbers here"),
    "largest account": ("999999999999", UUID, STORE, {}, b"accounts are numbers here"),
    "keys sorted by their UTF-8 bytes": (
        ACCOUNT,
        UUID,
        STORE,
        {"\U0001f511": "4", "\uffff": "3", "z": "2", "Z": "1", "é": "NFC", "e\u0301": "NFD"},
        b"not by UTF-16 units",
    ),
    "a separator inside": (ACCOUNT, UUID, STORE, {"a": "b,c", "d=": "", "": "empty key"}, b"lengths, not separators"),
    "largest plaintext": (ACCOUNT, UUID, STORE, {"size": "4096"}, bytes(range(256)) * 16),
}
# name -> label
CHECKED = {
    "check ciphertext": f"arn:aws:kms:us-west-2:{ACCOUNT}:key/{UUID}",
    "check ciphertext of a multi-Region key": f"arn:aws:kms:eu-central-1:{ACCOUNT}:key/{MRK}",
}


def drawn(name: str, part: str, length: int) -> bytes:
    return hashlib.sha256(f"{name}: {part}".encode()).digest()[:length]


def message(name: str) -> dict[str, Any]:
    account, key_id, store_id, context, plaintext = MESSAGES[name]
    key, iv = drawn(name, "key", 32), drawn(name, "iv", 12)
    header = ciphertext.Header(account, key_id, drawn(name, "material id", 32))
    aad = ciphertext.associated_data(header.encode(), key_store_id=store_id, context=context)
    sealed = AESGCM(key).encrypt(iv, plaintext, aad)
    return {
        "name": name,
        "key": key.hex(),
        "account": account,
        "key_id": key_id,
        "material_id": header.material_id.hex(),
        "key_store_id": store_id,
        "encryption_context": context,
        "iv": iv.hex(),
        "plaintext": plaintext.hex(),
        "header": header.encode().hex(),
        "encoded_context": encryption_context.encode(context).hex(),
        "aad": aad.hex(),
        "ciphertext_blob": ciphertext.join(header, iv, sealed).hex(),
    }


def checked(name: str) -> dict[str, Any]:
    label = CHECKED[name]
    key, iv, material_id = drawn(name, "key", 32), drawn(name, "iv", 12), drawn(name, "material id", 32)
    aad = key_proofs.check_aad(label, material_id.hex())
    return {
        "name": name,
        "key": key.hex(),
        "label": label,
        "material_id": material_id.hex(),
        "iv": iv.hex(),
        "aad": aad.hex(),
        "check_ciphertext": (iv + AESGCM(key).encrypt(iv, key_proofs.CHECK_PLAINTEXT, aad)).hex(),
    }


def refused() -> list[dict[str, Any]]:
    """Blobs that no decoder may open, though the key and all else are those of the worked example."""
    blob = bytes.fromhex(message("worked example")["ciphertext_blob"])

    def changed(at: int, value: int) -> str:
        return (blob[:at] + bytes([value]) + blob[at + 1 :]).hex()

    cases = {
        "version 0": changed(0, 0),
        "version 2": changed(0, 2),
        "algorithm 0": changed(1, 0),
        "algorithm 2": changed(1, 2),
        "key id form 1 for a key id of form 0": changed(2, 1),
        "key id form 2": changed(2, 2),
        "an account of 13 digits": (blob[:3] + (10**12).to_bytes(6, "big") + blob[9:]).hex(),
        "another account": changed(8, blob[8] ^ 1),
        "another key id": changed(24, blob[24] ^ 1),
        "another material id": changed(56, blob[56] ^ 1),
        "another IV": changed(57, blob[57] ^ 1),
        "another ciphertext": changed(69, blob[69] ^ 1),
        "another tag": changed(len(blob) - 1, blob[-1] ^ 1),
        "no ciphertext between IV and tag": (blob[:69] + blob[-16:]).hex(),
        "a byte is missing": blob[:-1].hex(),
        "a byte too many": (blob + b"\0").hex(),
        "empty": "",
    }
    return [{"name": name, "ciphertext_blob": value} for name, value in cases.items()]


def document() -> str:
    """The whole file."""
    vectors = {
        "format": "docs/ciphertext.md",
        "made_by": "kmsapp/tests/make_ciphertext_vectors.py",
        "messages": [message(name) for name in MESSAGES],
        "refused": refused(),
        "check_ciphertexts": [checked(name) for name in CHECKED],
    }
    return json.dumps(vectors, indent=1, ensure_ascii=True) + "\n"


if __name__ == "__main__":
    PATH.write_text(document())
