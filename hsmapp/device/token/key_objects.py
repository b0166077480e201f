"""The key objects of HSM users in a token: find them, use them, destroy them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pkcs11 import Attribute, KeyType, Mechanism, MechanismFlag, ObjectClass
from pkcs11.exceptions import PKCS11Error

from hsmapp.device.cryptoki import CryptokiError
from hsmapp.device.token.refusals import refused
from hsmapp.device.token.session import TokenSession
from hsmapp.device.token.templates import FALSE, KEY_BYTES, RESERVED_PREFIX, TRUE, handle_of, int_of, numbers, ulong

_LOAD_BYTES = 1024

# What `attributes` shows to people; a key's value is not among them.
_SHOWN = {
    "sensitive": Attribute.SENSITIVE,
    "always_sensitive": Attribute.ALWAYS_SENSITIVE,
    "extractable": Attribute.EXTRACTABLE,
    "never_extractable": Attribute.NEVER_EXTRACTABLE,
    "token": Attribute.TOKEN,
    "private": Attribute.PRIVATE,
    "modifiable": Attribute.MODIFIABLE,
    "local": Attribute.LOCAL,
    "encrypt": Attribute.ENCRYPT,
    "decrypt": Attribute.DECRYPT,
    "wrap": Attribute.WRAP,
    "unwrap": Attribute.UNWRAP,
    "sign": Attribute.SIGN,
    "verify": Attribute.VERIFY,
    "derive": Attribute.DERIVE,
}


_IDENTIFYING = [Attribute.LABEL, Attribute.ID, Attribute.CLASS, Attribute.KEY_TYPE]

# What `is_as_made` expects of a key, made from KEY_TEMPLATE.
_AS_MADE: dict[Attribute, bytes] = {
    Attribute.CLASS: ulong(ObjectClass.SECRET_KEY),
    Attribute.KEY_TYPE: ulong(KeyType.AES),
    Attribute.ALLOWED_MECHANISMS: ulong(Mechanism.AES_GCM),
    **dict.fromkeys([Attribute.PRIVATE, Attribute.SENSITIVE, Attribute.ENCRYPT, Attribute.DECRYPT], TRUE),
    **dict.fromkeys([Attribute.EXTRACTABLE, Attribute.MODIFIABLE, Attribute.WRAP, Attribute.UNWRAP], FALSE),
    **dict.fromkeys([Attribute.SIGN, Attribute.VERIFY, Attribute.DERIVE], FALSE),
}
_AS_MADE_VALUES = tuple(_AS_MADE.values())


@dataclass(frozen=True)
class StoredKey:
    """One AES key object in the token. id: the text of CKA_ID."""

    handle: int
    label: str
    id: str


@dataclass(frozen=True)
class Debris:
    """An object that is neither a key nor the token's own. label: empty if it has none or none that can be read."""

    handle: int
    label: str
    reason: str
    nameless: bool = False  # as SoftHSM leaves them when a key cannot be made


@dataclass(frozen=True)
class Contents:
    """What the token holds besides its own keys."""

    keys: list[StoredKey]
    debris: list[Debris]


class KeyObjects:
    """What is in the token besides its own keys. Handles are numbers.

    module_makes_ivs: whether it writes an IV of its own over the one it is given; known once `load` was called.
    """

    def __init__(self, session: TokenSession) -> None:
        self._session = session
        self.module_makes_ivs = False
        self._as_made_reader = session.raw.reader(list(_AS_MADE), size=_LOAD_BYTES)

    def load(self) -> Contents:
        """Read label and id of every object, and find out who makes the IVs of AES-GCM."""
        self.module_makes_ivs = self._makes_ivs()
        reader = self._session.raw.reader(_IDENTIFYING, size=_LOAD_BYTES)
        contents = Contents([], [])
        for handle in self._session.raw.find(self._session.number, []):
            match _identified(handle, *reader.read(self._session.number, handle)):
                case StoredKey() as key:
                    contents.keys.append(key)
                case Debris() as debris:
                    contents.debris.append(debris)
        return contents

    def _makes_ivs(self) -> bool:
        handle = self.generate_for_masking()
        try:
            return self._session.raw.makes_ivs(self._session.number, handle)
        except CryptokiError as error:
            raise refused(error) from error
        finally:
            self.destroy(handle)

    def destroy(self, handle: int) -> None:
        try:
            self._session.raw.destroy(self._session.number, handle)
        except CryptokiError as error:
            raise refused(error) from error

    def destroy_nameless(self) -> int:
        """Destroy objects without a label, of which SoftHSM leaves one for each template it rejects halfway; return how
        many there were.
        """
        nameless = [(int(Attribute.CLASS), ulong(ObjectClass.SECRET_KEY)), (int(Attribute.LABEL), b"")]
        handles = self._session.raw.find(self._session.number, nameless)
        for handle in handles:
            self.destroy(handle)
        return len(handles)

    def is_as_made(self, handle: int) -> bool:
        """True if PKCS#11 lets be done with this key what a key is made for, and nothing else.

        Raises: TokenRefusedError.
        """
        try:
            return tuple(self._as_made_reader.read(self._session.number, handle)) == _AS_MADE_VALUES
        except CryptokiError as error:
            raise refused(error) from error

    def attributes(self, handle: int) -> dict[str, Any]:
        """Return what PKCS#11 says of a key, never its value. None stands for an attribute the object does not have."""
        kinds = [Attribute.KEY_TYPE, Attribute.VALUE_LEN, Attribute.ALLOWED_MECHANISMS, *_SHOWN.values()]
        try:
            key_type, size, allowed, *flags = self._session.raw.read(self._session.number, handle, kinds)
        except CryptokiError as error:
            raise refused(error) from error
        shown: dict[str, Any] = {
            "class": "secret-key",
            "key_type": KeyType(int_of(key_type)).name.lower() if key_type else None,
            # SoftHSM says 0 of a key that was unwrapped: it does not know.
            "size_bytes": (int_of(size) or None) if size else None,
            "allowed_mechanisms": [_mechanism_name(number) for number in numbers(allowed or b"")],
        }
        return shown | {name: None if flag is None else flag != b"\0" for name, flag in zip(_SHOWN, flags, strict=True)}

    def encrypt(self, handle: int, iv: bytes, aad: bytes, plaintext: bytes) -> bytes:
        """Return ciphertext and 16-byte tag of AES-256-GCM. The IV comes from IvMaker and from nowhere else."""
        try:
            return self._session.raw.gcm_encrypt(self._session.number, handle, iv, aad, plaintext)
        except CryptokiError as error:
            raise refused(error) from error

    def encrypt_by_module(self, handle: int, aad: bytes, plaintext: bytes) -> tuple[bytes, bytes]:
        """Return the IV, and ciphertext and tag, with a module that makes IVs itself."""
        try:
            return self._session.raw.gcm_encrypt_by_module(self._session.number, handle, aad, plaintext)
        except CryptokiError as error:
            raise refused(error) from error

    def decrypt(self, handle: int, iv: bytes, aad: bytes, sealed: bytes) -> bytes:
        try:
            return self._session.raw.gcm_decrypt(self._session.number, handle, iv, aad, sealed)
        except CryptokiError as error:
            raise refused(error) from error

    def generate_for_masking(self) -> int:
        """Return the handle of a new session key that may leave the token once, wrapped by the masking key."""
        template = {Attribute.SENSITIVE: True, Attribute.EXTRACTABLE: True, Attribute.PRIVATE: True}
        try:
            key = self._session.open.generate_key(
                KeyType.AES, KEY_BYTES * 8, capabilities=MechanismFlag.ENCRYPT, store=False, template=template
            )
        except PKCS11Error as error:
            raise refused(error) from error
        return handle_of(key)


def _identified(
    handle: int, label: bytes | None, id_: bytes | None, class_: bytes | None, key_type: bytes | None
) -> StoredKey | Debris | None:
    """Return what an object is, None for one of the token's own."""
    secret = class_ == ulong(ObjectClass.SECRET_KEY)
    if label == b"" and secret:
        return Debris(handle, "", "it has no label: a key that was not made to the end", nameless=True)
    name = _text(label)
    if not name:
        return Debris(handle, "", "its label cannot be read")
    if name.startswith(RESERVED_PREFIX):
        return None
    if not secret or key_type != ulong(KeyType.AES):
        return Debris(handle, name, "it is no AES key")
    id_text = _text(id_)
    return Debris(handle, name, "its id cannot be read") if id_text is None else StoredKey(handle, name, id_text)


def _text(value: bytes | None) -> str | None:
    try:
        return None if value is None else value.decode()
    except UnicodeDecodeError:
        return None


def _mechanism_name(number: int) -> str:
    try:
        return Mechanism(number).name
    except ValueError:
        return hex(number)
