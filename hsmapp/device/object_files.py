"""The files in which SoftHSM keeps a token's objects, as far as this has to be known: whether one can be read at all.

A file is a generation number, then attributes: type, kind, value; numbers are 8 bytes, big-endian. One flipped bit in a
length makes SoftHSM ask for more memory than there is, which ends the process or holds it up for good, whatever other
keys the token has. So each file is walked through before the module sees it, and what does not add up is moved aside.

Nothing is read that SoftHSM encrypts: labels, ids and values are skipped.
"""

from __future__ import annotations

import struct

OBJECT_SUFFIX = ".object"
LOCK_SUFFIX = ".lock"
GENERATION_FILE = "generation"
TOKEN_FILE = "token.object"  # noqa: S105 - a file's name

_NUMBER = struct.Struct(">Q")
_HEAD = struct.Struct(">QQ")
_BOOLEAN, _ULONG, _BYTES, _MAP, _MECHANISMS = range(1, 6)

# PKCS#11's numbers of attributes. SoftHSM writes them in this order, so a write that was cut short between two leaves
# a file that reads well and lacks the later ones.
_CLASS, _TOKEN, _PRIVATE, _LABEL, _VALUE, _KEY_TYPE, _ID = 0x0, 0x1, 0x2, 0x3, 0x11, 0x100, 0x102
_EVERY_OBJECT_HAS = {_CLASS, _TOKEN, _PRIVATE, _LABEL}
_SECRET_KEY_HAS = {_VALUE, _KEY_TYPE, _ID}
_SECRET_KEY = 4  # CKO_SECRET_KEY


class ObjectFileError(Exception):
    """The file is no object; the message says why, for people."""


def check_token(content: bytes) -> None:
    """Raise ObjectFileError unless this is the whole content of the token's own file."""
    _attributes(content)


def check_object(content: bytes) -> None:
    """Raise ObjectFileError unless this is the whole content of an object's file."""
    kinds = _attributes(content)
    missing = _EVERY_OBJECT_HAS - kinds
    if not missing and _is_secret_key(content):
        missing = _SECRET_KEY_HAS - kinds
    if missing:
        raise ObjectFileError("it is cut short: it lacks attributes that every such object has")


def _is_secret_key(content: bytes) -> bool:
    """Whether the first attribute says so; CKA_CLASS has the lowest number, and so is the first."""
    kind, form = _HEAD.unpack_from(content, _NUMBER.size)
    position = _NUMBER.size + _HEAD.size
    return (kind, form) == (_CLASS, _ULONG) and _NUMBER.unpack_from(content, position)[0] == _SECRET_KEY


def _attributes(content: bytes) -> set[int]:
    if not content:
        raise ObjectFileError("it is empty")
    if len(content) < _NUMBER.size + _HEAD.size:
        raise ObjectFileError("it is cut short")
    return _check_attributes(content, _NUMBER.size, len(content), nested=False)


def _check_attributes(content: bytes, position: int, end: int, *, nested: bool) -> set[int]:
    """Return the kinds that are there."""
    kinds: set[int] = set()
    while position < end:
        if position + _HEAD.size > end:
            raise ObjectFileError("it is cut short")
        kind, form = _HEAD.unpack_from(content, position)
        if kind in kinds:
            raise ObjectFileError("an attribute is there twice")
        kinds.add(kind)
        position += _HEAD.size
        if form == _BOOLEAN:
            position += 1
        elif form == _ULONG:
            position += _NUMBER.size
        else:
            position = _check_sized(content, position, end, form, nested=nested)
    if position != end:
        raise ObjectFileError("it is cut short")
    return kinds


def _check_sized(content: bytes, position: int, end: int, form: int, *, nested: bool) -> int:
    """Return where the value ends that begins with its own length."""
    if position + _NUMBER.size > end:
        raise ObjectFileError("it is cut short")
    length: int = _NUMBER.unpack_from(content, position)[0]
    position += _NUMBER.size
    size = length * _NUMBER.size if form == _MECHANISMS else length
    if form not in (_BYTES, _MECHANISMS) and (form != _MAP or nested):
        raise ObjectFileError("an attribute has an unknown form")
    if size > end - position:
        raise ObjectFileError("a length in it is damaged, or it is cut short")
    if form == _MAP:
        _check_attributes(content, position, position + size, nested=True)
    return position + size
