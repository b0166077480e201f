"""The PKCS#11 calls that python-pkcs11 lacks, or makes one object or one attribute at a time, over ctypes.

Used by the package `token` alone, on the module that python-pkcs11 has loaded and initialised, from the same single
thread. Handles are numbers. Every call raises CryptokiError with the function's name and the CKR_ code; neither holds
data.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

CKR_KEY_HANDLE_INVALID = 0x60
CKR_OBJECT_HANDLE_INVALID = 0x82
CKR_MECHANISM_PARAM_INVALID = 0x71
CKU_SO = 0
CKU_USER = 1
CKM_AES_GCM = 0x1087
MAX_CRYPT_BYTES = 16 * 1024
NO_IV = bytes(12)

_ULONG = ctypes.c_ulong
_VOID = ctypes.c_void_p
_BYTES = ctypes.c_char_p
_UNAVAILABLE = _ULONG(-1).value
_FIND_BATCH = 4096
_LABEL_BYTES = 32
_TAG_BITS = 128

# Positions in CK_FUNCTION_LIST (PKCS #11 v2.40, section 3.6), the version field counted as position 0.
_POSITIONS = {
    "C_GetTokenInfo": 7,
    "C_InitToken": 10,
    "C_CloseAllSessions": 15,
    "C_Login": 19,
    "C_Logout": 20,
    "C_DestroyObject": 23,
    "C_GetAttributeValue": 25,
    "C_FindObjectsInit": 27,
    "C_FindObjects": 28,
    "C_FindObjectsFinal": 29,
    "C_EncryptInit": 30,
    "C_Encrypt": 31,
    "C_DecryptInit": 34,
    "C_Decrypt": 35,
}
_ARGUMENTS: dict[str, list[Any]] = {
    "C_GetTokenInfo": [_ULONG, _VOID],
    "C_InitToken": [_ULONG, _BYTES, _ULONG, _BYTES],
    "C_CloseAllSessions": [_ULONG],
    "C_Login": [_ULONG, _ULONG, _BYTES, _ULONG],
    "C_Logout": [_ULONG],
    "C_DestroyObject": [_ULONG, _ULONG],
    "C_GetAttributeValue": [_ULONG, _ULONG, _VOID, _ULONG],
    "C_FindObjectsInit": [_ULONG, _VOID, _ULONG],
    "C_FindObjects": [_ULONG, _VOID, _ULONG, _VOID],
    "C_FindObjectsFinal": [_ULONG],
    "C_EncryptInit": [_ULONG, _VOID, _ULONG],
    "C_Encrypt": [_ULONG, _BYTES, _ULONG, _VOID, _VOID],
    "C_DecryptInit": [_ULONG, _VOID, _ULONG],
    "C_Decrypt": [_ULONG, _BYTES, _ULONG, _VOID, _VOID],
}


class CryptokiError(Exception):
    def __init__(self, function: str, code: int) -> None:
        super().__init__(f"{function} answered 0x{code:x}")
        self.function = function
        self.code = code


class _Attribute(ctypes.Structure):
    _fields_ = [("type", _ULONG), ("value", _VOID), ("length", _ULONG)]


class _Mechanism(ctypes.Structure):
    _fields_ = [("mechanism", _ULONG), ("parameter", _VOID), ("length", _ULONG)]


class _GcmParameters(ctypes.Structure):
    _fields_ = [
        ("iv", _VOID),
        ("iv_length", _ULONG),
        ("iv_bits", _ULONG),
        ("aad", _BYTES),
        ("aad_length", _ULONG),
        ("tag_bits", _ULONG),
    ]


def attribute_array(values: Sequence[tuple[int, bytes]]) -> tuple[bytes, object]:
    """Return a CK_ATTRIBUTE array as bytes, and the object that keeps its values in memory while the bytes are used."""
    array, kept = _attributes(values)
    return bytes(array), (array, kept)


class Cryptoki:
    """Raw calls on one loaded module."""

    def __init__(self, module: Path) -> None:
        library = ctypes.CDLL(str(module))
        table = ctypes.POINTER(_VOID)()
        code = library.C_GetFunctionList(ctypes.byref(table))
        if code:
            raise CryptokiError("C_GetFunctionList", code)
        self._functions = {
            name: ctypes.CFUNCTYPE(_ULONG, *_ARGUMENTS[name])(table[position]) for name, position in _POSITIONS.items()
        }
        self._iv = ctypes.create_string_buffer(12)
        self._gcm = _GcmParameters(iv=ctypes.addressof(self._iv), iv_length=12, iv_bits=96, tag_bits=_TAG_BITS)
        self._mechanism = _Mechanism(CKM_AES_GCM, ctypes.addressof(self._gcm), ctypes.sizeof(self._gcm))
        self._mechanism_pointer = ctypes.byref(self._mechanism)
        self._output = ctypes.create_string_buffer(MAX_CRYPT_BYTES + _TAG_BITS // 8)
        self._length = _ULONG()
        self._length_pointer = ctypes.byref(self._length)

    def _call(self, name: str, *arguments: Any) -> None:
        code = self._functions[name](*arguments)
        if code:
            raise CryptokiError(name, code)

    def token_info(self, slot: int) -> None:
        """Ask for the token's information, which fails when the token's storage is gone."""
        self._call("C_GetTokenInfo", slot, ctypes.create_string_buffer(512))

    def init_token(self, slot: int, so_pin: bytes, label: str) -> None:
        padded = label.encode("ascii").ljust(_LABEL_BYTES)
        if len(padded) != _LABEL_BYTES:
            raise ValueError("a token label is at most 32 bytes")
        self._call("C_InitToken", slot, so_pin, len(so_pin), padded)

    def close_all_sessions(self, slot: int) -> None:
        self._call("C_CloseAllSessions", slot)

    def login(self, session: int, user_type: int, pin: bytes) -> None:
        self._call("C_Login", session, user_type, pin, len(pin))

    def logout(self, session: int) -> None:
        self._call("C_Logout", session)

    def destroy(self, session: int, handle: int) -> None:
        self._call("C_DestroyObject", session, handle)

    def find(self, session: int, values: Sequence[tuple[int, bytes]]) -> list[int]:
        """Return the handles of all objects that have these attributes."""
        template, _kept = _attributes(values)
        self._call("C_FindObjectsInit", session, template, len(values))
        try:
            return list(self._found(session))
        finally:
            self._call("C_FindObjectsFinal", session)

    def _found(self, session: int) -> Iterator[int]:
        batch = (_ULONG * _FIND_BATCH)()
        count = _ULONG()
        while True:
            self._call("C_FindObjects", session, batch, _FIND_BATCH, ctypes.byref(count))
            yield from batch[: count.value]
            if count.value < _FIND_BATCH:
                return

    def read(self, session: int, handle: int, types: Sequence[int], *, size: int = 1024) -> list[bytes | None]:
        """Return the values of these attributes in one call, None for those the object does not have or does not show.

        size: the longest value expected, in bytes.
        Raises: CryptokiError if the object itself is not there.
        """
        return self.reader(types, size=size).read(session, handle)

    def reader(self, types: Sequence[int], *, size: int) -> AttributeReader:
        """Return a reader whose buffers are reused from object to object."""
        return AttributeReader(self._functions["C_GetAttributeValue"], types, size)

    def gcm_encrypt(self, session: int, key: int, iv: bytes, aad: bytes, plaintext: bytes) -> bytes:
        """Return ciphertext and 16-byte tag. iv: 12 bytes, for a module that takes it as it is."""
        self._gcm_init("C_EncryptInit", session, key, iv, aad)
        sealed = self._crypt("C_Encrypt", session, plaintext)
        if self._iv.raw != iv:
            # The module did not do so when it was asked at the start: nobody counts what it makes now.
            raise CryptokiError("C_Encrypt with an IV of the module's own", CKR_MECHANISM_PARAM_INVALID)
        return sealed

    def gcm_encrypt_by_module(self, session: int, key: int, aad: bytes, plaintext: bytes) -> tuple[bytes, bytes]:
        """Return the IV that the module made (12 bytes), and ciphertext and tag.

        Such modules (AWS CloudHSM's for one) write it over the one they are given, which has to be all zeros.
        """
        self._gcm_init("C_EncryptInit", session, key, NO_IV, aad)
        sealed = self._crypt("C_Encrypt", session, plaintext)
        if self._iv.raw == NO_IV:
            raise CryptokiError("C_Encrypt without an IV of the module's own", CKR_MECHANISM_PARAM_INVALID)
        return self._iv.raw, sealed

    def makes_ivs(self, session: int, key: int) -> bool:
        """Encrypt once with a key that is used for nothing else; return whether the module has made the IV."""
        self._gcm_init("C_EncryptInit", session, key, NO_IV, b"")
        self._crypt("C_Encrypt", session, b"")
        return self._iv.raw != NO_IV

    def gcm_decrypt(self, session: int, key: int, iv: bytes, aad: bytes, sealed: bytes) -> bytes:
        """Return the plaintext of ciphertext and tag. iv: 12 bytes."""
        self._gcm_init("C_DecryptInit", session, key, iv, aad)
        plaintext = self._crypt("C_Decrypt", session, sealed)
        ctypes.memset(self._output, 0, len(plaintext))
        return plaintext

    def _gcm_init(self, name: str, session: int, key: int, iv: bytes, aad: bytes) -> None:
        if len(iv) != 12:
            raise ValueError("an IV is 12 bytes")
        self._iv.raw = iv
        self._gcm.aad = aad
        self._gcm.aad_length = len(aad)
        self._call(name, session, self._mechanism_pointer, key)

    def _crypt(self, name: str, session: int, data: bytes) -> bytes:
        if len(data) > MAX_CRYPT_BYTES:
            raise ValueError("larger than the output buffer")
        self._length.value = len(self._output)
        self._call(name, session, data, len(data), self._output, self._length_pointer)
        return ctypes.string_at(self._output, self._length.value)


class AttributeReader:
    """Reads the same attributes of many objects with one C_GetAttributeValue each."""

    def __init__(self, function: Any, types: Sequence[int], size: int) -> None:
        self._function = function
        self._size = size
        self._buffers = [ctypes.create_string_buffer(size) for _ in types]
        self._template = (_Attribute * len(types))()
        for attribute, kind, buffer in zip(self._template, types, self._buffers, strict=True):
            attribute.type = kind
            attribute.value = ctypes.addressof(buffer)

    def read(self, session: int, handle: int) -> list[bytes | None]:
        for attribute in self._template:
            attribute.length = self._size
        code = self._function(session, handle, self._template, len(self._template))
        if code in (CKR_OBJECT_HANDLE_INVALID, CKR_KEY_HANDLE_INVALID):
            raise CryptokiError("C_GetAttributeValue", code)
        # For any other code PKCS#11 marks the attributes it cannot give with this length, and fills in the others.
        return [
            None
            if attribute.length == _UNAVAILABLE or (code and attribute.length == self._size)
            else buffer.raw[: attribute.length]
            for attribute, buffer in zip(self._template, self._buffers, strict=True)
        ]


def _attributes(values: Sequence[tuple[int, bytes]]) -> tuple[ctypes.Array[_Attribute], list[Any]]:
    kept = [ctypes.create_string_buffer(value, len(value)) for _kind, value in values]
    array = (_Attribute * len(values))()
    for attribute, (kind, value), buffer in zip(array, values, kept, strict=True):
        attribute.type = kind
        attribute.value = ctypes.addressof(buffer)
        attribute.length = len(value)
    return array, kept
