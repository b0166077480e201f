"""The CiphertextBlob of symmetric keys, as bytes. Pure; the format is fixed for good in docs/ciphertext.md.

    header 57: version 1 | algorithm 1 | key id form 1 | account 6 | key id 16 | material id 32
    body:      IV 12 | ciphertext | tag 16

The associated data of the AES-GCM operation bind the header, the key store and the encryption context.
"""

from __future__ import annotations

import functools
import uuid
from collections.abc import Mapping
from dataclasses import dataclass

from kmsapp import encryption_context

VERSION = 1
AES_256_GCM = 1
FORM_UUID = 0
FORM_MRK = 1
DOMAIN = b"casemate ciphertext 1"
HEADER_BYTES = 57
IV_BYTES = 12
TAG_BYTES = 16
_MRK = "mrk-"


class MalformedError(ValueError):
    """These bytes are no CiphertextBlob of ours."""


@dataclass(frozen=True)
class Header:
    """Which key and which of its materials a ciphertext belongs to. Unverified until the HSM has opened the body."""

    account: str  # 12 digits
    key_id: str  # a UUID, or mrk- and 32 hex characters
    material_id: bytes  # 32 bytes: the backing key id

    def encode(self) -> bytes:
        """Return the 57 bytes. Raises ValueError if a part has the wrong length (our bug, never the caller's)."""
        return self._encoded

    @functools.cached_property
    def _encoded(self) -> bytes:
        if len(self.material_id) != 32:
            raise ValueError("a material id has 32 bytes")
        form, digits = (
            (FORM_MRK, self.key_id[len(_MRK) :]) if self.key_id.startswith(_MRK) else (FORM_UUID, self.key_id)
        )
        return (
            bytes([VERSION, AES_256_GCM, form])
            + int(self.account).to_bytes(6, "big")
            + uuid.UUID(digits).bytes
            + self.material_id
        )


@dataclass(frozen=True)
class Parts:
    """A CiphertextBlob taken apart."""

    header: Header
    header_bytes: bytes
    iv: bytes
    sealed: bytes  # ciphertext + 16-byte tag


def join(header: Header, iv: bytes, sealed: bytes) -> bytes:
    """Return the CiphertextBlob. iv: 12 bytes. sealed: ciphertext + 16-byte tag."""
    if len(iv) != IV_BYTES or len(sealed) <= TAG_BYTES:
        raise ValueError("an IV has 12 bytes, and a sealed message more than its tag")
    return header.encode() + iv + sealed


def split(blob: bytes) -> Parts:
    """Take a CiphertextBlob apart without believing it. Raises MalformedError."""
    if len(blob) <= HEADER_BYTES + IV_BYTES + TAG_BYTES:
        raise MalformedError("too short")
    if blob[0] != VERSION or blob[1] != AES_256_GCM or blob[2] not in {FORM_UUID, FORM_MRK}:
        raise MalformedError("unknown version, algorithm or key id form")
    account = int.from_bytes(blob[3:9], "big")
    if account > 999_999_999_999:
        raise MalformedError("an account has 12 digits")
    key_id = uuid.UUID(bytes=blob[9:25])
    header = Header(
        account=f"{account:012d}",
        key_id=str(key_id) if blob[2] == FORM_UUID else _MRK + key_id.hex,
        material_id=blob[25:HEADER_BYTES],
    )
    body = HEADER_BYTES + IV_BYTES
    return Parts(header, blob[:HEADER_BYTES], blob[HEADER_BYTES:body], blob[body:])


def associated_data(header_bytes: bytes, *, key_store_id: str, context: Mapping[str, str]) -> bytes:
    """What AES-GCM authenticates beside the plaintext. key_store_id: empty for the default key store."""
    return (
        encryption_context.part(DOMAIN)
        + encryption_context.part(header_bytes)
        + encryption_context.part(key_store_id.encode())
        + encryption_context.encode(context)
    )
