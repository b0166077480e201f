"""What the objects of a token are made with, and how PKCS#11's attributes are packed."""

from __future__ import annotations

from typing import Any, cast

from pkcs11 import MGF, Attribute, Mechanism, MechanismFlag
from pkcs11.attributes import AttributeMapper
from pkcs11.exceptions import PKCS11Error
from pkcs11.util.rsa import decode_rsa_private_key, decode_rsa_public_key

from hsmapp.device.cryptoki import attribute_array

# python-pkcs11 gives its objects their methods at run time, from what the object may do, so their types do not show
# them.
KeyObject = Any

RESERVED_PREFIX = "casemate "
MASKING_KEY_LABEL = RESERVED_PREFIX + "masking key"
TRUSTED_PREFIX = RESERVED_PREFIX + "trusted "

KEY_BYTES = 32
# The only OAEP that SoftHSM has. OAEP does not rest on the collision resistance that SHA-1 lost.
OAEP = (Mechanism.SHA_1, MGF.SHA1, None)
# CK_BBOOL.
TRUE, FALSE = b"\1", b"\0"

KEY_TEMPLATE: dict[Attribute, Any] = {
    Attribute.PRIVATE: True,
    Attribute.SENSITIVE: True,
    Attribute.EXTRACTABLE: False,
    Attribute.ALLOWED_MECHANISMS: [Mechanism.AES_GCM],
    # SoftHSM applies a template in order, and an object that is no longer modifiable refuses the rest: last.
    Attribute.MODIFIABLE: False,
}


def masking_key_template() -> dict[Attribute, Any]:
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


def trusted_key_template(name: str, public_der: bytes) -> dict[Attribute, Any]:
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


def backup_key_template(private_der: bytes) -> dict[Attribute, Any]:
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


def attribute_mapper() -> AttributeMapper:
    """An attribute mapper that also knows the two array attributes python-pkcs11 does not pack."""
    mapper = AttributeMapper()
    arrays: list[object] = []  # keeps what the packed pointers point to alive as long as the mapper

    def pack_template(template: dict[Attribute, bool]) -> bytes:
        array, kept = attribute_array(
            [(int(kind), mapper.pack_attribute(kind, value)) for kind, value in template.items()]
        )
        arrays.append(kept)
        return array

    mapper.register_handler(Attribute.ALLOWED_MECHANISMS, lambda mechanisms: b"".join(map(ulong, mechanisms)), numbers)
    mapper.register_handler(Attribute.UNWRAP_TEMPLATE, pack_template, bytes)
    return mapper


def label_of(key: KeyObject) -> str | None:
    """The object's label, None if it has none that can be read."""
    try:
        return str(key[Attribute.LABEL])
    except (PKCS11Error, UnicodeDecodeError):
        return None


def handle_of(key: Any) -> int:
    return cast(int, key.handle)


def ulong(number: int) -> bytes:
    return int(number).to_bytes(8, "little")


def numbers(packed: bytes) -> list[int]:
    return [int_of(packed[start : start + 8]) for start in range(0, len(packed), 8)]


def int_of(packed: bytes) -> int:
    return int.from_bytes(packed, "little")
