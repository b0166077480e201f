"""The encryption context as bytes: two different contexts never give the same bytes.

Encoding: number of pairs 4 bytes | for each pair, in the byte order of its UTF-8 key: length of the key 4 | key |
length of the value 4 | value. Numbers are big-endian. Nothing is normalised: case, NFC and NFD differ.
"""

from __future__ import annotations

from collections.abc import Mapping


def part(data: bytes) -> bytes:
    """One length-prefixed part."""
    return len(data).to_bytes(4, "big") + data


def encode(context: Mapping[str, str]) -> bytes:
    """Return the encoding of the context; of an empty one, four zero bytes."""
    pairs = sorted((key.encode(), value.encode()) for key, value in context.items())
    return len(pairs).to_bytes(4, "big") + b"".join(part(key) + part(value) for key, value in pairs)
