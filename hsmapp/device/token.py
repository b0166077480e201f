"""The token of one HSM: initialise it, open it, and do cryptography with the keys in it.

The only module that imports pkcs11. One process owns the token folder and one thread calls it: SoftHSM's locks are
off under python-pkcs11. No value of a secret or private key is ever read. Order of calls: Token(), `initialise` if it
is not there, `log_in`, `make_key_pairs` at the first start, `load`.

Objects of the token's own carry a label with the reserved prefix: identity and transport key pairs, masking key,
trusted public keys. Everything else that is an AES key and has a label is a key of an HSM user.

PKCS#11 answers a forged ciphertext and a broken key or token alike (TokenRefusedError): keys.py finds out which it was.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import pkcs11
from pkcs11 import MGF, Attribute, KeyType, Mechanism, MechanismFlag, ObjectClass, TokenFlag
from pkcs11.attributes import AttributeMapper
from pkcs11.exceptions import NoSuchToken, PinIncorrect, PKCS11Error
from pkcs11.types import Session
from pkcs11.util.rsa import decode_rsa_private_key, decode_rsa_public_key, encode_rsa_public_key

from hsmapp.device.cryptoki import (
    CKR_KEY_HANDLE_INVALID,
    CKR_OBJECT_HANDLE_INVALID,
    CKU_SO,
    CKU_USER,
    Cryptoki,
    CryptokiError,
    attribute_array,
)

# python-pkcs11 gives its objects their methods at run time, from what the object may do, so their types do not show
# them.
KeyObject = Any

RESERVED_PREFIX = "casemate "
IDENTITY_LABEL = RESERVED_PREFIX + "identity"
TRANSPORT_LABEL = RESERVED_PREFIX + "transport"
MASKING_KEY_LABEL = RESERVED_PREFIX + "masking key"
TRUSTED_PREFIX = RESERVED_PREFIX + "trusted "

KEY_BYTES = 32
_TRANSPORT_BITS = 2048
# The only OAEP that SoftHSM has. OAEP does not rest on the collision resistance that SHA-1 lost.
_OAEP = (Mechanism.SHA_1, MGF.SHA1, None)
_ENCRYPTION = MechanismFlag.ENCRYPT | MechanismFlag.DECRYPT
_WRAPPING = MechanismFlag.WRAP | MechanismFlag.UNWRAP
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


class TokenRefusedError(Exception):
    """The token refused an operation; why is not known yet. `gone` says that it no longer knows the object."""

    def __init__(self, message: str, *, gone: bool = False) -> None:
        super().__init__(message)
        self.gone = gone


class TokenUnusableError(Exception):
    """The token cannot be opened; the message is for the person who starts the HSM process."""


@dataclass(frozen=True)
class StoredKey:
    """One AES key object in the token. id: the text of CKA_ID."""

    handle: int
    label: str
    id: str


@dataclass(frozen=True)
class Contents:
    """What the token holds: the keys of HSM users, and the number of objects that are neither keys nor the token's
    own.
    """

    keys: list[StoredKey]
    debris: int


class Token:
    """The token labelled with the HSM's id, in the folder that SOFTHSM2_CONF names."""

    def __init__(self, module: Path, hsm_id: str, pin: bytes) -> None:
        self._hsm_id = hsm_id
        self._pin = pin
        self._library = pkcs11.lib(str(module))
        self._raw = Cryptoki(module)
        self._session: Session | None = None
        self._slot = -1
        self._masking_key: KeyObject | None = None
        self._identity: tuple[KeyObject, KeyObject] | None = None
        self._transport: tuple[KeyObject, KeyObject] | None = None

    def __repr__(self) -> str:
        return f"<Token {self._hsm_id}>"

    # Opening

    def is_there(self) -> bool:
        """True if the token exists and its user PIN is set; without one it is a first start that did not finish."""
        token = self._find()
        return token is not None and TokenFlag.USER_PIN_INITIALIZED in token.flags

    def initialise(self, so_pin: bytes) -> None:
        """Make the token (or finish making it) and set its user PIN.

        Raises: TokenUnusableError if the module refuses.
        """
        try:
            unfinished = self._find()
            slot = self._empty_slot() if unfinished is None else unfinished.slot.slot_id
            self._raw.init_token(slot, so_pin, self._hsm_id)
            with self._found().open(rw=True, so_pin=so_pin.decode()) as session:
                session.init_pin(self._pin.decode())
        except (PKCS11Error, CryptokiError) as error:
            raise TokenUnusableError(
                f"the token of {self._hsm_id} cannot be initialised ({type(error).__name__})"
            ) from error

    def _empty_slot(self) -> int:
        for slot in self._library.get_slots():
            if TokenFlag.TOKEN_INITIALIZED not in slot.get_token().flags:
                return slot.slot_id
        raise TokenUnusableError("the PKCS#11 module has no slot for another token")

    def _find(self) -> pkcs11.Token | None:
        try:
            return self._library.get_token(token_label=self._hsm_id)
        except NoSuchToken:
            return None
        except PKCS11Error as error:
            raise TokenUnusableError(f"the token of {self._hsm_id} cannot be read ({type(error).__name__})") from error

    def _found(self) -> pkcs11.Token:
        token = self._find()
        if token is None:
            raise TokenUnusableError(f"there is no token of {self._hsm_id} in its folder")
        return token

    def log_in(self) -> None:
        """Open the one session that everything is done in.

        Raises: TokenUnusableError, also for a wrong PIN.
        """
        token = self._found()
        self._slot = token.slot.slot_id
        try:
            self._session = token.open(rw=True, user_pin=self._pin.decode(), attribute_mapper=_mapper())
        except PKCS11Error as error:
            # A failed login leaks its session, and a leaked session is in the way of the next login.
            self._raw.close_all_sessions(self._slot)
            reason = "its PIN is wrong" if isinstance(error, PinIncorrect) else type(error).__name__
            raise TokenUnusableError(f"the token of {self._hsm_id} does not open: {reason}") from error

    def close(self) -> None:
        self._session = None
        self._library.finalize()

    @property
    def _open(self) -> Session:
        if self._session is None:
            raise TokenRefusedError("the token is not open")
        return self._session

    @property
    def _number(self) -> int:
        return cast(int, self._open.handle)  # type: ignore[attr-defined]  # the implementation's, not in its types

    def healthy(self) -> bool:
        """True if the token's storage answers. Asked before "not found" or a refusal is believed."""
        try:
            self._raw.token_info(self._slot)
        except CryptokiError:
            return False
        return True

    # Objects

    def load(self) -> Contents:
        """Read label and id of every object and find the token's own keys."""
        self._find_own_keys()
        reader = self._raw.reader([Attribute.LABEL, Attribute.ID, Attribute.KEY_TYPE], size=_LOAD_BYTES)
        keys, debris = [], 0
        secret_keys = [(int(Attribute.CLASS), _ulong(ObjectClass.SECRET_KEY))]
        for handle in self._raw.find(self._number, secret_keys):
            label, id_, key_type = reader.read(self._number, handle)
            key = _stored_key(handle, label, id_, key_type)
            if key is None:
                debris += 1
            elif not key.label.startswith(RESERVED_PREFIX):
                keys.append(key)
        return Contents(keys, debris)

    def _find_own_keys(self) -> None:
        # Two searches, each a pass over all objects, by attributes that are not encrypted on the disk.
        pairs = list(self._open.get_objects({Attribute.KEY_TYPE: KeyType.RSA}))
        self._identity = self._key_pair(pairs, IDENTITY_LABEL)
        self._transport = self._key_pair(pairs, TRANSPORT_LABEL)
        wrapping = {Attribute.CLASS: ObjectClass.SECRET_KEY, Attribute.WRAP: True}
        found = [key for key in list(self._open.get_objects(wrapping)) if key[Attribute.LABEL] == MASKING_KEY_LABEL]
        self._masking_key = found[0] if found else None

    def _key_pair(self, found: list[KeyObject], label: str) -> tuple[KeyObject, KeyObject] | None:
        halves = [key for key in found if key[Attribute.LABEL] == label]
        public = [key for key in halves if key[Attribute.CLASS] == ObjectClass.PUBLIC_KEY]
        private = [key for key in halves if key[Attribute.CLASS] == ObjectClass.PRIVATE_KEY]
        if len(public) > 1 or len(private) > 1:
            raise TokenUnusableError(f"the token of {self._hsm_id} has more than one key pair {label!r}")
        return (public[0], private[0]) if public and private else None

    def destroy(self, handle: int) -> None:
        try:
            self._raw.destroy(self._number, handle)
        except CryptokiError as error:
            raise _refused(error) from error

    def destroy_debris(self) -> None:
        """Destroy objects without a label: SoftHSM leaves one for each template it rejects halfway."""
        nameless = [(int(Attribute.CLASS), _ulong(ObjectClass.SECRET_KEY)), (int(Attribute.LABEL), b"")]
        for handle in self._raw.find(self._number, nameless):
            self.destroy(handle)

    def attributes(self, handle: int) -> dict[str, Any]:
        """Return what PKCS#11 says of a key, never its value. None stands for an attribute the object does not have."""
        kinds = [Attribute.KEY_TYPE, Attribute.VALUE_LEN, Attribute.ALLOWED_MECHANISMS, *_SHOWN.values()]
        try:
            key_type, size, allowed, *flags = self._raw.read(self._number, handle, kinds)
        except CryptokiError as error:
            raise _refused(error) from error
        shown: dict[str, Any] = {
            "class": "secret-key",
            "key_type": KeyType(_number(key_type)).name.lower() if key_type else None,
            # SoftHSM says 0 of a key that was unwrapped: it does not know.
            "size_bytes": (_number(size) or None) if size else None,
            "allowed_mechanisms": [_mechanism_name(number) for number in _numbers(allowed or b"")],
        }
        return shown | {name: None if flag is None else flag != b"\0" for name, flag in zip(_SHOWN, flags, strict=True)}

    # Cryptography with keys of HSM users

    def random(self, length: int) -> bytes:
        try:
            return self._open.generate_random(length * 8)
        except PKCS11Error as error:
            raise _refused(error) from error

    def encrypt(self, handle: int, iv: bytes, aad: bytes, plaintext: bytes) -> bytes:
        """Return ciphertext and 16-byte tag of AES-256-GCM. The IV comes from IvMaker and from nowhere else."""
        try:
            return self._raw.gcm_encrypt(self._number, handle, iv, aad, plaintext)
        except CryptokiError as error:
            raise _refused(error) from error

    def decrypt(self, handle: int, iv: bytes, aad: bytes, sealed: bytes) -> bytes:
        try:
            return self._raw.gcm_decrypt(self._number, handle, iv, aad, sealed)
        except CryptokiError as error:
            raise _refused(error) from error

    def generate_for_masking(self) -> int:
        """Return the handle of a new session key that may leave the token once, wrapped by the masking key."""
        template = {Attribute.SENSITIVE: True, Attribute.EXTRACTABLE: True, Attribute.PRIVATE: True}
        try:
            key = self._open.generate_key(
                KeyType.AES, KEY_BYTES * 8, capabilities=MechanismFlag.ENCRYPT, store=False, template=template
            )
        except PKCS11Error as error:
            raise _refused(error) from error
        return _handle(key)

    def mask(self, handle: int) -> bytes:
        """Return the key wrapped by the masking key (RFC 3394)."""
        to_wrap = _Wrappable(handle)
        try:
            return bytes(self._masking.wrap_key(to_wrap, mechanism=Mechanism.AES_KEY_WRAP))
        except PKCS11Error as error:
            raise _refused(error) from error

    def unmask(self, masked: bytes, label: str, id_: str, *, store: bool) -> int:
        """Return the handle of the key in `masked`: sensitive, not extractable, AES-GCM only, its attributes fixed.

        store: False makes a session key of it, which leaves no trace.
        """
        return self._unmask_with(self._masking, masked, label, id_, store=store)

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
                template=_KEY_TEMPLATE,
            )
        except PKCS11Error as error:
            raise _refused(error) from error
        return _handle(key)

    # The masking key

    @property
    def has_masking_key(self) -> bool:
        return self._masking_key is not None

    @property
    def _masking(self) -> KeyObject:
        if self._masking_key is None:
            raise TokenRefusedError("the token has no masking key")
        return self._masking_key

    def make_masking_key(self) -> None:
        try:
            key = self._open.generate_key(
                KeyType.AES,
                KEY_BYTES * 8,
                label=MASKING_KEY_LABEL,
                store=True,
                capabilities=_WRAPPING,
                template=_masking_key_template(),
            )
        except PKCS11Error as error:
            raise _refused(error) from error
        self._masking_key = key

    def wrap_masking_key(self, name: str) -> bytes:
        """Return the masking key under the trusted RSA key `name` (RSA-OAEP). Raises: KeyError if no such key is
        trusted.
        """
        trusted = {
            Attribute.CLASS: ObjectClass.PUBLIC_KEY,
            Attribute.TRUSTED: True,
            Attribute.LABEL: TRUSTED_PREFIX + name,
        }
        found = list(self._open.get_objects(trusted))
        if not found:
            raise KeyError(name)
        try:
            trusted_key: KeyObject = found[-1]
            return bytes(trusted_key.wrap_key(self._masking, mechanism=Mechanism.RSA_PKCS_OAEP, mechanism_param=_OAEP))
        except PKCS11Error as error:
            raise _refused(error) from error

    def unwrap_masking_key(self, wrapped: bytes) -> None:
        """Take the cluster's masking key, wrapped under this token's transport key."""
        self._masking_key = self._unwrap_masking_key(self._transport_pair[1], wrapped, store=True)

    def _unwrap_masking_key(self, private: KeyObject, wrapped: bytes, *, store: bool) -> KeyObject:
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
                template=_masking_key_template(),
            )
        except PKCS11Error as error:
            raise _refused(error) from error
        return key

    def trusted_names(self) -> list[str]:
        trusted = {Attribute.CLASS: ObjectClass.PUBLIC_KEY, Attribute.TRUSTED: True}
        labels = [str(key[Attribute.LABEL]) for key in list(self._open.get_objects(trusted))]
        return sorted(label.removeprefix(TRUSTED_PREFIX) for label in labels)

    def trust(self, so_pin: bytes, name: str, public_der: bytes) -> None:
        """Make `public_der` (RSA SubjectPublicKeyInfo) a key that may wrap the masking key.

        The security officer logs in for it, so the user is logged out meanwhile and every handle changes: call `load`
        afterwards.
        Raises: ValueError if it is not an RSA public key; TokenRefusedError, also for a wrong SO PIN.
        """
        template = _trusted_key_template(name, public_der)
        try:
            self._raw.logout(self._number)
            try:
                self._raw.login(self._number, CKU_SO, so_pin)
                self._open.create_object(template)
                self._raw.logout(self._number)
            finally:
                self._log_in_again()
        except (PKCS11Error, CryptokiError) as error:
            raise _refused(error) from error

    def _log_in_again(self) -> None:
        try:
            self._raw.login(self._number, CKU_USER, self._pin)
        except CryptokiError:
            self._raw.logout(self._number)
            self._raw.login(self._number, CKU_USER, self._pin)

    def open_backup(self, private_der: bytes, wrapped: bytes) -> KeyObject:
        """Return, as a session key, the masking key wrapped under the backup key, whose private half (PKCS#8) is a
        session object only as long as this takes.

        Raises: ValueError if `private_der` is not an RSA private key.
        """
        try:
            private = self._open.create_object(_backup_key_template(private_der))
        except PKCS11Error as error:
            raise _refused(error) from error
        try:
            return self._unwrap_masking_key(private, wrapped, store=False)
        finally:
            private.destroy()

    def keep_backup(self, private_der: bytes, wrapped: bytes) -> None:
        """Make the masking key of a backup this token's masking key."""
        try:
            private = self._open.create_object(_backup_key_template(private_der))
        except PKCS11Error as error:
            raise _refused(error) from error
        try:
            self._masking_key = self._unwrap_masking_key(private, wrapped, store=True)
        finally:
            private.destroy()

    def unmask_with_backup(self, masking_key: KeyObject, masked: bytes, label: str, id_: str) -> int:
        """Return the handle of a session key: `masked` opened with the masking key of a backup."""
        return self._unmask_with(masking_key, masked, label, id_, store=False)

    # Identity and transport

    def make_key_pairs(self) -> None:
        """Make the identity key pair (signs) and the transport key pair (unwraps) where they are missing."""
        self._find_own_keys()
        if self._identity is None:
            self._make_key_pair(IDENTITY_LABEL, MechanismFlag.VERIFY | MechanismFlag.SIGN)
        if self._transport is None:
            self._make_key_pair(TRANSPORT_LABEL, MechanismFlag.WRAP | MechanismFlag.UNWRAP)
        self._find_own_keys()

    def _make_key_pair(self, label: str, uses: MechanismFlag) -> None:
        # A crash between the halves leaves one of them, which would be found beside the new one.
        for half in list(self._open.get_objects({Attribute.LABEL: label})):
            half.destroy()
        private = {
            Attribute.SENSITIVE: True,
            Attribute.EXTRACTABLE: False,
            Attribute.PRIVATE: True,
            Attribute.MODIFIABLE: False,
        }
        try:
            self._open.generate_keypair(
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
    def has_key_pairs(self) -> bool:
        return self._identity is not None and self._transport is not None

    @property
    def _identity_pair(self) -> tuple[KeyObject, KeyObject]:
        if self._identity is None:
            raise TokenRefusedError("the token has no identity key pair")
        return self._identity

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
            raise _refused(error) from error


class _Wrappable(pkcs11.SecretKey):
    """A key known by its handle alone: python-pkcs11's own objects cost some twenty calls each to make."""

    def __init__(self, handle: int) -> None:
        self._known_handle = handle

    @property
    def handle(self) -> int:
        return self._known_handle


_KEY_TEMPLATE: dict[Attribute, Any] = {
    Attribute.PRIVATE: True,
    Attribute.SENSITIVE: True,
    Attribute.EXTRACTABLE: False,
    Attribute.ALLOWED_MECHANISMS: [Mechanism.AES_GCM],
    # SoftHSM applies a template in order, and an object that is no longer modifiable refuses the rest: last.
    Attribute.MODIFIABLE: False,
}


def _masking_key_template() -> dict[Attribute, Any]:
    return {
        Attribute.PRIVATE: True,
        Attribute.SENSITIVE: True,
        Attribute.EXTRACTABLE: True,
        Attribute.WRAP_WITH_TRUSTED: True,
        Attribute.ALLOWED_MECHANISMS: [Mechanism.AES_KEY_WRAP, Mechanism.AES_KEY_WRAP_PAD],
        Attribute.UNWRAP_TEMPLATE: {Attribute.SENSITIVE: True, Attribute.EXTRACTABLE: False},
        Attribute.COPYABLE: False,
        Attribute.MODIFIABLE: False,
    }


def _trusted_key_template(name: str, public_der: bytes) -> dict[Attribute, Any]:
    from asn1crypto.keys import PublicKeyInfo

    info = PublicKeyInfo.load(public_der, strict=True)
    if info.algorithm != "rsa":
        raise ValueError("not an RSA public key")
    template = decode_rsa_public_key(info["public_key"].parsed.dump(), MechanismFlag.WRAP)
    return template | {
        Attribute.TOKEN: True,
        Attribute.PRIVATE: False,
        Attribute.LABEL: TRUSTED_PREFIX + name,
        Attribute.TRUSTED: True,
        Attribute.MODIFIABLE: False,
    }


def _backup_key_template(private_der: bytes) -> dict[Attribute, Any]:
    from asn1crypto.keys import PrivateKeyInfo

    info = PrivateKeyInfo.load(private_der, strict=True)
    if info.algorithm != "rsa":
        raise ValueError("not an RSA private key")
    template = decode_rsa_private_key(info["private_key"].parsed.dump(), MechanismFlag.UNWRAP)
    return template | {
        Attribute.TOKEN: False,
        Attribute.PRIVATE: True,
        Attribute.SENSITIVE: True,
        Attribute.EXTRACTABLE: False,
    }


def _public_key_info(key: KeyObject) -> bytes:
    from asn1crypto.keys import PublicKeyInfo, RSAPublicKey

    return cast(bytes, PublicKeyInfo.wrap(RSAPublicKey.load(encode_rsa_public_key(key)), "rsa").dump())


def _mapper() -> AttributeMapper:
    """An attribute mapper that also knows the two array attributes python-pkcs11 does not pack."""
    mapper = AttributeMapper()
    arrays: list[object] = []  # keeps what the packed pointers point to alive as long as the mapper

    def pack_template(template: dict[Attribute, bool]) -> bytes:
        array, kept = attribute_array(
            [(int(kind), mapper.pack_attribute(kind, value)) for kind, value in template.items()]
        )
        arrays.append(kept)
        return array

    mapper.register_handler(
        Attribute.ALLOWED_MECHANISMS, lambda mechanisms: b"".join(map(_ulong, mechanisms)), _numbers
    )
    mapper.register_handler(Attribute.UNWRAP_TEMPLATE, pack_template, bytes)
    return mapper


def _stored_key(handle: int, label: bytes | None, id_: bytes | None, key_type: bytes | None) -> StoredKey | None:
    if not label or id_ is None or key_type != _ulong(KeyType.AES):
        return None
    try:
        return StoredKey(handle, label.decode(), id_.decode("ascii"))
    except UnicodeDecodeError:
        return None


def _refused(error: PKCS11Error | CryptokiError) -> TokenRefusedError:
    if isinstance(error, CryptokiError):
        return TokenRefusedError(str(error), gone=error.code in (CKR_KEY_HANDLE_INVALID, CKR_OBJECT_HANDLE_INVALID))
    return TokenRefusedError(
        type(error).__name__, gone=type(error).__name__ in ("KeyHandleInvalid", "ObjectHandleInvalid")
    )


def _handle(key: Any) -> int:
    return cast(int, key.handle)


def _ulong(number: int) -> bytes:
    return int(number).to_bytes(8, "little")


def _number(packed: bytes) -> int:
    return int.from_bytes(packed, "little")


def _numbers(packed: bytes) -> list[int]:
    return [_number(packed[start : start + 8]) for start in range(0, len(packed), 8)]


def _mechanism_name(number: int) -> str:
    try:
        return Mechanism(number).name
    except ValueError:
        return hex(number)
