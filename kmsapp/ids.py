"""Identifiers in AWS's formats, made from the system's random source."""

from __future__ import annotations

import os
import re
import secrets

_BASE32 = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
# The alphabet of CloudHSM ids: digits 2 to 7 and letters.
_CLOUDHSM = "234567abcdefghijklmnopqrstuvwxyz"
_MULTI_REGION = re.compile(r"mrk-[0-9a-f]{32}\Z")
_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\Z")


def _unique(prefix: str, length: int) -> str:
    return prefix + "".join(secrets.choice(_BASE32) for _ in range(length))


def new_uuid() -> str:
    """A random UUID (version 4, RFC 9562), in half the time of uuid.uuid4: each call needs two."""
    number = bytearray(os.urandom(16))
    number[6] = number[6] & 0x0F | 0x40
    number[8] = number[8] & 0x3F | 0x80
    digits = number.hex()
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


def new_key_id() -> str:
    return new_uuid()


def is_key_id(text: str) -> bool:
    """Whether this is the id of a single-Region key: a lower-case UUID."""
    return _UUID.match(text) is not None


def is_multi_region_key_id(text: str) -> bool:
    """Whether this is the id of a multi-Region key, which no custom key store has."""
    return _MULTI_REGION.match(text) is not None


def new_key_store_id() -> str:
    return "cks-" + secrets.token_hex(9)[:17]


def new_cloudhsm_id(prefix: str) -> str:
    """A cluster, HSM or backup id. prefix: "cluster", "hsm" or "backup"."""
    return f"{prefix}-" + "".join(secrets.choice(_CLOUDHSM) for _ in range(11))


def new_user_id() -> str:
    return _unique("AIDA", 17)


def new_role_id() -> str:
    return _unique("AROA", 17)


def new_group_id() -> str:
    return _unique("AGPA", 17)


def new_policy_id() -> str:
    return _unique("ANPA", 17)


def new_access_key_id() -> str:
    return _unique("AKIA", 16)


def new_temporary_access_key_id() -> str:
    return _unique("ASIA", 16)


def new_session_token(minimum_bytes: int = 0) -> str:
    # Base64 has four characters for three bytes.
    return secrets.token_urlsafe(max(96, -(-minimum_bytes * 3 // 4)))


def new_grant_id() -> str:
    return secrets.token_hex(32)


def new_secret_access_key() -> str:
    return secrets.token_urlsafe(30)


def new_request_id() -> str:
    return new_uuid()
