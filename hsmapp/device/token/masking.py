"""The cluster's masking key in a token: what it masks, and how it comes in and goes out under trusted keys."""

from __future__ import annotations

import hashlib

import pkcs11
from pkcs11 import Attribute, KeyType, Mechanism, MechanismFlag, ObjectClass
from pkcs11.exceptions import PKCS11Error

from hsmapp.device.cryptoki import CryptokiError
from hsmapp.device.token.key_pairs import KeyPairs, public_key_info
from hsmapp.device.token.refusals import TokenRefusedError, refused
from hsmapp.device.token.session import TokenSession
from hsmapp.device.token.templates import (
    FALSE,
    KEY_BYTES,
    KEY_TEMPLATE,
    MASKING_KEY_LABEL,
    OAEP,
    TRUE,
    TRUSTED_PREFIX,
    KeyObject,
    backup_key_template,
    handle_of,
    label_of,
    masking_key_template,
    trusted_key_template,
    ulong,
)

_ENCRYPTION = MechanismFlag.ENCRYPT | MechanismFlag.DECRYPT
_WRAPPING = MechanismFlag.WRAP | MechanismFlag.UNWRAP
_LABEL = MASKING_KEY_LABEL.encode()

# What `is_as_made` expects of it, made from masking_key_template.
_AS_MADE: dict[Attribute, bytes] = {
    Attribute.CLASS: ulong(ObjectClass.SECRET_KEY),
    Attribute.KEY_TYPE: ulong(KeyType.AES),
    Attribute.ALLOWED_MECHANISMS: ulong(Mechanism.AES_KEY_WRAP) + ulong(Mechanism.AES_KEY_WRAP_PAD),
    **dict.fromkeys([Attribute.PRIVATE, Attribute.SENSITIVE, Attribute.EXTRACTABLE], TRUE),
    **dict.fromkeys([Attribute.WRAP_WITH_TRUSTED, Attribute.WRAP, Attribute.UNWRAP], TRUE),
    **dict.fromkeys([Attribute.ENCRYPT, Attribute.DECRYPT, Attribute.SIGN, Attribute.VERIFY], FALSE),
    **dict.fromkeys([Attribute.DERIVE, Attribute.COPYABLE, Attribute.MODIFIABLE], FALSE),
}


class MaskingKey:
    """The masking key of this token, if it has one, and the public keys trusted to carry it away."""

    def __init__(self, session: TokenSession, key_pairs: KeyPairs) -> None:
        self._session = session
        self._key_pairs = key_pairs
        self._key: KeyObject | None = None
        self._found: list[KeyObject] = []

    def find(self) -> None:
        # By attributes that are not encrypted on the disk first: a pass over all objects.
        wrapping = {Attribute.CLASS: ObjectClass.SECRET_KEY, Attribute.WRAP: True}
        self._found = [key for key in self._session.find_readable(wrapping) if label_of(key) == MASKING_KEY_LABEL]
        self.choose(0 if self._found else None)

    @property
    def candidates(self) -> int:
        """How many masking keys the token holds: one, or more after one was replaced by half."""
        return len(self._found)

    def choose(self, candidate: int | None) -> None:
        """Use this one of the candidates, or none."""
        self._key = None if candidate is None else self._found[candidate]

    def is_as_made(self) -> bool:
        """True if PKCS#11 lets be done with the masking key what it is made for, and nothing else."""
        try:
            values = self._session.raw.read(self._session.number, handle_of(self._held), list(_AS_MADE))
        except CryptokiError as error:
            raise refused(error) from error
        return tuple(values) == tuple(_AS_MADE.values())

    def destroy_others(self) -> None:
        """Destroy the masking keys that are not the one in use, once that one is on the disk."""
        self._found = [] if self._key is None else [self._key]
        wrapping = [(int(Attribute.CLASS), ulong(ObjectClass.SECRET_KEY)), (int(Attribute.LABEL), _LABEL)]
        try:
            for handle in self._session.raw.find(self._session.number, wrapping):
                if self._key is not None and handle != handle_of(self._key):
                    self._session.raw.destroy(self._session.number, handle)
        except CryptokiError as error:
            raise refused(error) from error

    def mask(self, handle: int) -> bytes:
        """Return the key wrapped by the masking key (RFC 3394)."""
        to_wrap = _Wrappable(handle)
        try:
            return bytes(self._held.wrap_key(to_wrap, mechanism=Mechanism.AES_KEY_WRAP))
        except PKCS11Error as error:
            raise refused(error) from error

    def unmask(self, masked: bytes, label: str, id_: str, *, store: bool) -> int:
        """Return the handle of the key in `masked`: sensitive, not extractable, AES-GCM only, its attributes fixed.

        store: False makes a session key of it, which leaves no trace.
        """
        return self._unmask_with(self._held, masked, label, id_, store=store)

    def _unmask_with(self, masking_key: KeyObject, masked: bytes, label: str, id_: str, *, store: bool) -> int:
        try:
            key = masking_key.unwrap_key(
                ObjectClass.SECRET_KEY,
                KeyType.AES,
                masked,
                mechanism=Mechanism.AES_KEY_WRAP,
                label=label,
                id=id_.encode("ascii"),
                store=store,
                capabilities=_ENCRYPTION,
                template=KEY_TEMPLATE,
            )
        except PKCS11Error as error:
            raise refused(error) from error
        return handle_of(key)

    @property
    def present(self) -> bool:
        return self._key is not None

    @property
    def _held(self) -> KeyObject:
        if self._key is None:
            raise TokenRefusedError("the token has no masking key")
        return self._key

    def make(self) -> None:
        try:
            key = self._session.open.generate_key(
                KeyType.AES,
                KEY_BYTES * 8,
                label=MASKING_KEY_LABEL,
                store=True,
                capabilities=_WRAPPING,
                template=masking_key_template(),
            )
        except PKCS11Error as error:
            raise refused(error) from error
        self._key = key

    def wrap(self, name: str) -> bytes:
        """Return the masking key under the trusted RSA key `name` (RSA-OAEP). Raises: KeyError if no such key is
        trusted.
        """
        trusted = {
            Attribute.CLASS: ObjectClass.PUBLIC_KEY,
            Attribute.TRUSTED: True,
            Attribute.LABEL: TRUSTED_PREFIX + name,
        }
        found = self._session.find(trusted)
        if not found:
            raise KeyError(name)
        try:
            return bytes(found[0].wrap_key(self._held, mechanism=Mechanism.RSA_PKCS_OAEP, mechanism_param=OAEP))
        except PKCS11Error as error:
            raise refused(error) from error

    def unwrap(self, wrapped: bytes) -> None:
        """Take the cluster's masking key, wrapped under this token's transport key."""
        self._key = self._unwrap(self._key_pairs.transport_private, wrapped, store=True)

    def _unwrap(self, private: KeyObject, wrapped: bytes, *, store: bool) -> KeyObject:
        try:
            key = private.unwrap_key(
                ObjectClass.SECRET_KEY,
                KeyType.AES,
                wrapped,
                mechanism=Mechanism.RSA_PKCS_OAEP,
                mechanism_param=OAEP,
                label=MASKING_KEY_LABEL,
                store=store,
                capabilities=_WRAPPING,
                template=masking_key_template(),
            )
        except PKCS11Error as error:
            raise refused(error) from error
        return key

    def trusted(self) -> dict[str, bytes]:
        """The names of the trusted keys and the SHA-256 of each one's DER SubjectPublicKeyInfo."""
        trusted = {Attribute.CLASS: ObjectClass.PUBLIC_KEY, Attribute.TRUSTED: True}
        keys = {label_of(key) or "": key for key in self._session.find(trusted)}
        return {
            label.removeprefix(TRUSTED_PREFIX): hashlib.sha256(public_key_info(key)).digest()
            for label, key in sorted(keys.items())
        }

    def trust(self, so_pin: bytes, name: str, public_der: bytes) -> None:
        """Make `public_der` (RSA SubjectPublicKeyInfo) a key that may wrap the masking key.

        The security officer logs in for it, so the user is logged out meanwhile and every handle changes: call `load`
        afterwards.
        Raises: ValueError if it is not an RSA public key; TokenRefusedError, also for a wrong SO PIN.
        """
        template = trusted_key_template(name, public_der)
        with self._session.security_officer(so_pin):
            # A key of the same name is that of a transport key pair which was lost since.
            for old in self._session.find({Attribute.LABEL: TRUSTED_PREFIX + name}):
                old.destroy()
            self._session.open.create_object(template)

    def open_backup(self, private_der: bytes, wrapped: bytes) -> KeyObject:
        """Return, as a session key, the masking key wrapped under the backup key, whose private half (PKCS#8) is a
        session object only as long as this takes.

        Raises: ValueError if `private_der` is not an RSA private key.
        """
        return self._unwrap_backup(private_der, wrapped, store=False)

    def keep_backup(self, private_der: bytes, wrapped: bytes) -> None:
        """Make the masking key of a backup this token's masking key."""
        self._key = self._unwrap_backup(private_der, wrapped, store=True)

    def _unwrap_backup(self, private_der: bytes, wrapped: bytes, *, store: bool) -> KeyObject:
        try:
            private: KeyObject = self._session.open.create_object(backup_key_template(private_der))
        except PKCS11Error as error:
            raise refused(error) from error
        try:
            return self._unwrap(private, wrapped, store=store)
        finally:
            private.destroy()

    def unmask_with_backup(self, masking_key: KeyObject, masked: bytes, label: str, id_: str) -> int:
        """Return the handle of a session key: `masked` opened with the masking key of a backup."""
        return self._unmask_with(masking_key, masked, label, id_, store=False)


class _Wrappable(pkcs11.SecretKey):
    """A key known by its handle alone: python-pkcs11's own objects cost some twenty calls each to make."""

    def __init__(self, handle: int) -> None:
        self._known_handle = handle

    @property
    def handle(self) -> int:
        return self._known_handle
