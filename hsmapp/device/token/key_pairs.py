"""The two RSA key pairs of a token: identity signs, transport unwraps."""

from __future__ import annotations

from typing import cast

from pkcs11 import Attribute, KeyType, Mechanism, MechanismFlag, ObjectClass
from pkcs11.exceptions import PKCS11Error
from pkcs11.util.rsa import encode_rsa_public_key

from hsmapp.device.token.refusals import TokenRefusedError, TokenUnusableError, refused
from hsmapp.device.token.session import TokenSession
from hsmapp.device.token.templates import RESERVED_PREFIX, KeyObject

IDENTITY_LABEL = RESERVED_PREFIX + "identity"
TRANSPORT_LABEL = RESERVED_PREFIX + "transport"
_TRANSPORT_BITS = 2048


class KeyPairs:
    """Made once, at the token's first start; a key pair is (public half, private half)."""

    def __init__(self, session: TokenSession) -> None:
        self._session = session
        self._identity: tuple[KeyObject, KeyObject] | None = None
        self._transport: tuple[KeyObject, KeyObject] | None = None

    def find(self) -> None:
        # By an attribute that is not encrypted on the disk: a pass over all objects.
        pairs = list(self._session.open.get_objects({Attribute.KEY_TYPE: KeyType.RSA}))
        self._identity = self._key_pair(pairs, IDENTITY_LABEL)
        self._transport = self._key_pair(pairs, TRANSPORT_LABEL)

    def _key_pair(self, found: list[KeyObject], label: str) -> tuple[KeyObject, KeyObject] | None:
        halves = [key for key in found if key[Attribute.LABEL] == label]
        public = [key for key in halves if key[Attribute.CLASS] == ObjectClass.PUBLIC_KEY]
        private = [key for key in halves if key[Attribute.CLASS] == ObjectClass.PRIVATE_KEY]
        if len(public) > 1 or len(private) > 1:
            raise TokenUnusableError(f"the token of {self._session.hsm_id} has more than one key pair {label!r}")
        return (public[0], private[0]) if public and private else None

    def make(self) -> None:
        """Make the identity key pair (signs) and the transport key pair (unwraps) where they are missing."""
        self.find()
        if self._identity is None:
            self._make_key_pair(IDENTITY_LABEL, MechanismFlag.VERIFY | MechanismFlag.SIGN)
        if self._transport is None:
            self._make_key_pair(TRANSPORT_LABEL, MechanismFlag.WRAP | MechanismFlag.UNWRAP)
        self.find()

    def _make_key_pair(self, label: str, uses: MechanismFlag) -> None:
        # A crash between the halves leaves one of them, which would be found beside the new one.
        for half in list(self._session.open.get_objects({Attribute.LABEL: label})):
            half.destroy()
        private = {
            Attribute.SENSITIVE: True,
            Attribute.EXTRACTABLE: False,
            Attribute.PRIVATE: True,
            Attribute.MODIFIABLE: False,
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
        return _public_key_info(self._identity_pair[0])

    def transport_public(self) -> bytes:
        return _public_key_info(self._transport_pair[0])

    def sign(self, data: bytes) -> bytes:
        """Sign with the identity key: RSA PKCS#1 v1.5, SHA-256."""
        try:
            return cast(bytes, self._identity_pair[1].sign(data, mechanism=Mechanism.SHA256_RSA_PKCS))
        except PKCS11Error as error:
            raise refused(error) from error


def _public_key_info(key: KeyObject) -> bytes:
    from asn1crypto.keys import PublicKeyInfo, RSAPublicKey

    return cast(bytes, PublicKeyInfo.wrap(RSAPublicKey.load(encode_rsa_public_key(key)), "rsa").dump())
