"""SoftHSM's object files, as tests read and damage them: generation 8 | (type 8 | kind 8 | value)*, big-endian.

Kinds: 1 a flag of one byte, 2 a number of 8; 3 bytes, 4 a map, 5 a list of mechanisms, each after its length of 8.
"""

from __future__ import annotations

import struct
from pathlib import Path

from hsmapp.device import set_aside

CKA_CLASS, CKA_LABEL, CKA_VALUE, CKA_KEY_TYPE, CKA_WRAP = 0x0, 0x3, 0x11, 0x100, 0x106
CKA_ALLOWED_MECHANISMS = 0x40000600
CKO_SECRET_KEY, CKM_AES_GCM = 4, 0x1087
_SIZES = {1: 1, 2: 8}


def spans(content: bytes) -> dict[int, slice]:
    """Where the value of each attribute lies, by its type."""
    found: dict[int, slice] = {}
    at = 8
    while at < len(content):
        name, kind = struct.unpack_from(">QQ", content, at)
        at += 16
        size = _SIZES.get(kind)
        if size is None:
            (length,) = struct.unpack_from(">Q", content, at)
            at += 8
            size = 8 * length if kind == 5 else length
        found[name] = slice(at, at + size)
        at += size
    return found


def objects(folder: Path) -> list[Path]:
    """The object files of the tokens in a folder, without the tokens' own and what was moved aside."""
    found = (path for path in folder.rglob("*.object") if path.name != "token.object")
    return sorted(path for path in found if path.parent.name != set_aside.FOLDER)


def keys(folder: Path) -> list[Path]:
    """The files of keys, which are secret keys that wrap nothing."""
    return [path for path in objects(folder) if _is_secret(path.read_bytes()) and not _wraps(path.read_bytes())]


def masking_key(folder: Path) -> Path:
    (found,) = [path for path in objects(folder) if _is_secret(path.read_bytes()) and _wraps(path.read_bytes())]
    return found


def _is_secret(content: bytes) -> bool:
    return int.from_bytes(content[spans(content)[CKA_CLASS]], "big") == CKO_SECRET_KEY


def _wraps(content: bytes) -> bool:
    return content[spans(content)[CKA_WRAP]] != b"\0"


def flip_bit(path: Path, bit: int) -> None:
    """Flip one bit of a file, counted from its first."""
    content = bytearray(path.read_bytes())
    content[bit // 8] ^= 1 << (bit % 8)
    path.write_bytes(content)


def flip_value(path: Path, bit: int = 0) -> None:
    """Flip a bit of what the key itself is encrypted to; without an error it is another key from then on."""
    flip_bit(path, spans(path.read_bytes())[CKA_VALUE].start * 8 + bit)


def cut_before(path: Path, attribute: int) -> None:
    """Leave of an object what SoftHSM has written when it is killed just before it writes this attribute."""
    content = path.read_bytes()
    # An attribute's type and kind stand before its value, and before a value of no fixed size its length.
    start = spans(content)[attribute].start - 16
    kind = struct.unpack_from(">Q", content, start + 8)[0]
    if kind not in _SIZES:
        start -= 8
    path.write_bytes(content[:start])
