"""The cluster's masking key in a token: what it masks, and how it comes in and goes out under trusted keys."""

from __future__ import annotations

import pkcs11
from pkcs11 import MGF, Attribute, KeyType, Mechanism, MechanismFlag, ObjectClass
from pkcs11.exceptions import PKCS11Error

from hsmapp.device.token.key_pairs import KeyPairs
from hsmapp.device.token.refusals import TokenRefusedError, refused
from hsmapp.device.token.session import TokenSession
from hsmapp.device.token.templates import (
    KEY_BYTES,
    KEY_TEMPLATE,
    MASKING_KEY_LABEL,
    TRUSTED_PREFIX,
    KeyObject,
    backup_key_template,
    handle_of,
    masking_key_template,
    trusted_key_template,
)

# The only OAEP that SoftHSM has. OAEP does not rest on the collision resistance that SHA-1 lost.
_OAEP = (Mechanism.SHA_1, MGF.SHA1, None)
_ENCRYPTION = MechanismFlag.ENCRYPT | MechanismFlag.DECRYPT
_WRAPPING = MechanismFlag.WRAP | MechanismFlag.UNWRAP


class MaskingKey:
    """The masking key of this token, if it has one, and the public keys trusted to carry it away."""

    def __init__(self, session: TokenSession, key_pairs: KeyPairs) -> None:
        self._session = session
        self._key_pairs = key_pairs
        self._key: KeyObject | None = None

    def find(self) -> None:
        # By attributes that are not encrypted on the disk first: a pass over all objects.
        wrapping = {Attribute.CLASS: ObjectClass.SECRET_KEY, Attribute.WRAP: True}
        keys: list[KeyObject] = list(self._session.open.get_objects(wrapping))
        found = [key for key in keys if key[Attribute.LABEL] == MASKING_KEY_LABEL]
        self._key = found[0] if found else None

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
        found = list(self._session.open.get_objects(trusted))
        if not found:
            raise KeyError(name)
        try:
            trusted_key: KeyObject = found[-1]
            return bytes(trusted_key.wrap_key(self._held, mechanism=Mechanism.RSA_PKCS_OAEP, mechanism_param=_OAEP))
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
                mechanism_param=_OAEP,
                label=MASKING_KEY_LABEL,
                store=store,
                capabilities=_WRAPPING,
                template=masking_key_template(),
            )
        except PKCS11Error as error:
            raise refused(error) from error
        return key

    def trusted_names(self) -> list[str]:
        trusted = {Attribute.CLASS: ObjectClass.PUBLIC_KEY, Attribute.TRUSTED: True}
        labels = [str(key[Attribute.LABEL]) for key in list(self._session.open.get_objects(trusted))]
        return sorted(label.removeprefix(TRUSTED_PREFIX) for label in labels)

    def trust(self, so_pin: bytes, name: str, public_der: bytes) -> None:
        """Make `public_der` (RSA SubjectPublicKeyInfo) a key that may wrap the masking key.

        The security officer logs in for it, so the user is logged out meanwhile and every handle changes: call `load`
        afterwards.
        Raises: ValueError if it is not an RSA public key; TokenRefusedError, also for a wrong SO PIN.
        """
        template = trusted_key_template(name, public_der)
        with self._session.security_officer(so_pin):
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
