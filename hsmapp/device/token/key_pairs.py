"""The two RSA key pairs of a token: identity signs, transport unwraps."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from typing import Any, cast

from pkcs11 import Attribute, KeyType, Mechanism, MechanismFlag, ObjectClass
from pkcs11.exceptions import PKCS11Error
from pkcs11.util.rsa import encode_rsa_public_key

from hsmapp.device.token.refusals import TokenRefusedError, TokenUnusableError, refused
from hsmapp.device.token.session import TokenSession
from hsmapp.device.token.templates import KEY_BYTES, OAEP, RESERVED_PREFIX, KeyObject, label_of

IDENTITY_LABEL = RESERVED_PREFIX + "identity"
TRANSPORT_LABEL = RESERVED_PREFIX + "transport"
_TRANSPORT_BITS = 2048
_TRIAL = b"casemate key pair trial"
_TRIAL_SECONDS = 5


class KeyPairs:
    """Made once, at the token's first start; a key pair is (public half, private half)."""

    def __init__(self, session: TokenSession) -> None:
        self._session = session
        self._identity: tuple[KeyObject, KeyObject] | None = None
        self._transport: tuple[KeyObject, KeyObject] | None = None

    def find(self) -> None:
        """Find the pairs and try each: one that is damaged is as good as none."""
        # By an attribute that is not encrypted on the disk: a pass over all objects.
        found = self._session.find_readable({Attribute.KEY_TYPE: KeyType.RSA})
        self._identity = _key_pair(found, IDENTITY_LABEL)
        self._transport = _key_pair(found, TRANSPORT_LABEL)
        if self._identity is not None and not _succeeds(self._signs, self._identity):
            self._identity = None
        if self._transport is not None and not _succeeds(self._transports, self._transport):
            self._transport = None

    @property
    def lost(self) -> list[str]:
        """The pairs that are not there, or not whole: "identity", "transport"."""
        pairs = {"identity": self._identity, "transport": self._transport}
        return [name for name, pair in pairs.items() if pair is None]

    def _signs(self, public: KeyObject, private: KeyObject) -> bool:
        try:
            signature = private.sign(_TRIAL, mechanism=Mechanism.SHA256_RSA_PKCS)
            return bool(public.verify(_TRIAL, signature, mechanism=Mechanism.SHA256_RSA_PKCS))
        except (PKCS11Error, AttributeError):
            return False

    def _transports(self, public: KeyObject, private: KeyObject) -> bool:
        template = {Attribute.SENSITIVE: True, Attribute.EXTRACTABLE: True, Attribute.PRIVATE: True}
        try:
            key: KeyObject = self._session.open.generate_key(
                KeyType.AES, KEY_BYTES * 8, capabilities=MechanismFlag.ENCRYPT, store=False, template=template
            )
        except PKCS11Error as error:
            raise refused(error) from error
        try:
            wrapped = public.wrap_key(key, mechanism=Mechanism.RSA_PKCS_OAEP, mechanism_param=OAEP)
            opened = private.unwrap_key(
                ObjectClass.SECRET_KEY,
                KeyType.AES,
                wrapped,
                mechanism=Mechanism.RSA_PKCS_OAEP,
                mechanism_param=OAEP,
                store=False,
                capabilities=MechanismFlag.ENCRYPT,
                template=template | {Attribute.WRAP_WITH_TRUSTED: True},
            )
            opened.destroy()
        except (PKCS11Error, AttributeError):
            return False
        finally:
            key.destroy()
        return True

    def make(self) -> None:
        """Make the identity key pair (signs) and the transport key pair (unwraps) where they are missing or damaged.

        Raises: TokenUnusableError.
        """
        self.find()
        if self._identity is None:
            self._make_key_pair(IDENTITY_LABEL, MechanismFlag.VERIFY | MechanismFlag.SIGN, {})
        if self._transport is None:
            # What it opens can be neither read nor wrapped under a key that nobody has trusted, whoever has the PIN.
            opened = {Attribute.SENSITIVE: True, Attribute.WRAP_WITH_TRUSTED: True}
            only = {Attribute.UNWRAP_TEMPLATE: opened}
            self._make_key_pair(TRANSPORT_LABEL, MechanismFlag.WRAP | MechanismFlag.UNWRAP, only)
        self.find()

    def _make_key_pair(self, label: str, uses: MechanismFlag, private_only: dict[Attribute, Any]) -> None:
        # A crash between the halves leaves one of them, which would be found beside the new one.
        for half in self._session.find({Attribute.LABEL: label}):
            half.destroy()
        private = {
            Attribute.SENSITIVE: True,
            Attribute.EXTRACTABLE: False,
            Attribute.PRIVATE: True,
            **private_only,
            Attribute.MODIFIABLE: False,  # last: it fixes the others
        }
        try:
            self._session.open.generate_keypair(
                KeyType.RSA,
                _TRANSPORT_BITS,
                label=label,
                store=True,
                capabilities=uses,
                public_template={Attribute.PRIVATE: False, Attribute.MODIFIABLE: False},
                private_template=private,
            )
        except PKCS11Error as error:
            raise TokenUnusableError(f"the key pair {label!r} cannot be made ({type(error).__name__})") from error

    @property
    def present(self) -> bool:
        return self._identity is not None and self._transport is not None

    @property
    def _identity_pair(self) -> tuple[KeyObject, KeyObject]:
        if self._identity is None:
            raise TokenRefusedError("the token has no identity key pair")
        return self._identity

    @property
    def transport_private(self) -> KeyObject:
        return self._transport_pair[1]

    @property
    def _transport_pair(self) -> tuple[KeyObject, KeyObject]:
        if self._transport is None:
            raise TokenRefusedError("the token has no transport key pair")
        return self._transport

    def identity_public(self) -> bytes:
        """The identity public key, DER SubjectPublicKeyInfo."""
        return public_key_info(self._identity_pair[0])

    def transport_public(self) -> bytes:
        return public_key_info(self._transport_pair[0])

    def sign(self, data: bytes) -> bytes:
        """Sign with the identity key: RSA PKCS#1 v1.5, SHA-256."""
        try:
            return cast(bytes, self._identity_pair[1].sign(data, mechanism=Mechanism.SHA256_RSA_PKCS))
        except PKCS11Error as error:
            raise refused(error) from error


def _succeeds(trial: Callable[[KeyObject, KeyObject], bool], pair: tuple[KeyObject, KeyObject]) -> bool:
    """Try the pair in a process of its own: a damaged RSA key can end the process that uses it."""
    child = os.fork()
    if child == 0:
        try:
            signal.alarm(_TRIAL_SECONDS)
            os._exit(0 if trial(*pair) else 1)
        finally:
            os._exit(1)
    return os.waitpid(child, 0)[1] == 0


def _key_pair(found: list[KeyObject], label: str) -> tuple[KeyObject, KeyObject] | None:
    halves = [key for key in found if label_of(key) == label]
    public = [key for key in halves if key.object_class == ObjectClass.PUBLIC_KEY]
    private = [key for key in halves if key.object_class == ObjectClass.PRIVATE_KEY]
    return (public[0], private[0]) if len(public) == len(private) == 1 else None


def public_key_info(key: KeyObject) -> bytes:
    from asn1crypto.keys import PublicKeyInfo, RSAPublicKey

    return cast(bytes, PublicKeyInfo.wrap(RSAPublicKey.load(encode_rsa_public_key(key)), "rsa").dump())
