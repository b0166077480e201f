"""Somebody with a copy of one token and its PIN, who tries what PKCS#11 offers to get keys out of it.

A program of its own, as token_client.py. Reads one JSON object on standard input: {"module", "configuration", "label",
"pin", "masked", "most", "sure"}, `masked` being a masked key of the database as hexadecimal; for the last two see
`targets`. Writes {"attempts": [[object, attempt, outcome]], "objects": how many were tried, "never_extractable": names
of those that claim it}. An outcome is the name of the PKCS#11 error that refused it, or GOT. The same attempts on a key
of the thief's own (object "control") show which of them can succeed at all.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

GOT = "GOT"
CONTROL = "control"


def main() -> None:
    request = json.load(sys.stdin)
    os.environ["SOFTHSM2_CONF"] = request["configuration"]
    import pkcs11

    token = pkcs11.lib(request["module"]).get_token(token_label=request["label"])
    with token.open(rw=True, user_pin=request["pin"]) as session:
        thief = Thief(session, token.slot)
        targets = list(thief.targets(request["most"], request["sure"]))
        control = thief.own_key(store=True)
        attempts = list(thief.attempts(CONTROL, control))
        for name, key in targets:
            attempts += thief.attempts(name, key)
        attempts += thief.attempts_with_masked(bytes.fromhex(request["masked"]))
        attempts += thief.attempts_to_play_the_peer()
        claims = [name for name, key in targets if thief.flag(key, "NEVER_EXTRACTABLE")]
        control.destroy()
    json.dump({"attempts": attempts, "objects": len(targets), "never_extractable": claims}, sys.stdout)


class Thief:
    def __init__(self, session: Any, slot: Any) -> None:
        from pkcs11 import Attribute, KeyType, MechanismFlag

        self._session = session
        self._wrapping_mechanisms = [
            mechanism
            for mechanism in slot.get_mechanisms()
            if slot.get_mechanism_info(mechanism).flags & MechanismFlag.WRAP
        ]
        own = {Attribute.SENSITIVE: False}
        self._secrets = [
            session.generate_key(KeyType.AES, 256, capabilities=_all_uses(), template=own),
            session.generate_key(KeyType.DES3, capabilities=_all_uses(), template=own),
        ]
        public, _private = session.generate_keypair(KeyType.RSA, 2048, store=False)
        self._wrapping_keys = [*self._secrets, public]

    def own_key(self, *, store: bool) -> Any:
        from pkcs11 import Attribute, KeyType

        template = {Attribute.SENSITIVE: False, Attribute.EXTRACTABLE: True, Attribute.PRIVATE: True}
        return self._session.generate_key(
            KeyType.AES, 256, label="thief", capabilities=_all_uses(), store=store, template=template
        )

    def targets(self, most: int, sure: str) -> Iterator[tuple[str, Any]]:
        """Every secret and private key that the token keeps; of KMS's keys `most`, and the one called `sure`."""
        from pkcs11 import Attribute, ObjectClass

        kms_keys = 0
        for kind in (ObjectClass.SECRET_KEY, ObjectClass.PRIVATE_KEY):
            for key in self._session.get_objects({Attribute.CLASS: kind, Attribute.TOKEN: True}):
                kms_keys += key.label.startswith("arn:")
                if not key.label.startswith("arn:") or kms_keys <= most or key.label == sure:
                    yield f"{kind.name} {key.label}", key

    def flag(self, key: Any, name: str) -> bool:
        from pkcs11 import Attribute

        return bool(key[Attribute[name]])

    def attempts(self, name: str, key: Any) -> Iterator[tuple[str, str, str]]:
        for kind in (self._read, self._wrap, self._copy, self._set, self._use):
            for attempt, action in kind(key):
                yield name, attempt, outcome(action)

    def _read(self, key: Any) -> Iterator[tuple[str, Callable[[], Any]]]:
        from pkcs11 import Attribute

        values = ("VALUE", "PRIVATE_EXPONENT", "PRIME_1", "PRIME_2", "EXPONENT_1", "EXPONENT_2", "COEFFICIENT")
        for name in values:
            yield f"read {name}", partial(_read_value, key, Attribute[name])

    def _wrap(self, key: Any) -> Iterator[tuple[str, Callable[[], Any]]]:
        from pkcs11 import Attribute, ObjectClass

        stored = {Attribute.CLASS: ObjectClass.SECRET_KEY, Attribute.WRAP: True, Attribute.TOKEN: True}
        theirs = [other for other in self._session.get_objects(stored) if other.label != "thief"]
        for wrapping in [*self._wrapping_keys, *theirs]:
            for mechanism in self._wrapping_mechanisms:
                wrap = partial(wrapping.wrap_key, mechanism=mechanism, mechanism_param=_parameter(mechanism.name))
                name = f"wrap by {mechanism.name} with {wrapping.key_type.name} {wrapping.label}".strip()
                yield name, partial(wrap, key)

    def _copy(self, key: Any) -> Iterator[tuple[str, Callable[[], Any]]]:
        from pkcs11 import Attribute

        for changed in WEAKER:
            attributes = {Attribute[name]: value for name, value in changed.items()}
            yield f"copy with {changed}", partial(key.copy, {Attribute.TOKEN: False, **attributes})

    def _set(self, key: Any) -> Iterator[tuple[str, Callable[[], Any]]]:
        from pkcs11 import Attribute

        for changed in WEAKER:
            for name, value in changed.items():
                yield f"set {name} to {value}", partial(key.__setitem__, Attribute[name], value)

    def _use(self, key: Any) -> Iterator[tuple[str, Callable[[], Any]]]:
        """Mechanisms that would give what AES-GCM alone does not: the bare block cipher."""
        from pkcs11 import Mechanism

        for mechanism in (Mechanism.AES_ECB, Mechanism.AES_CBC):
            parameter = bytes(16) if mechanism != Mechanism.AES_ECB else None
            for verb in ("encrypt", "decrypt"):
                use = partial(_use, key, verb, mechanism=mechanism, mechanism_param=parameter)
                yield f"{verb} by {mechanism.name}", use

    def attempts_with_masked(self, masked: bytes) -> Iterator[tuple[str, str, str]]:
        """A masked key of the database, opened with the token's masking key into a key that may be read."""
        from pkcs11 import Attribute

        for masking in list(self._session.get_objects({Attribute.LABEL: "casemate masking key"})):
            for changed in ({"SENSITIVE": False}, {"EXTRACTABLE": True}, {"SENSITIVE": False, "EXTRACTABLE": True}):
                template = {Attribute[name]: value for name, value in changed.items()}

                yield "masked key", f"unmask with {changed}", outcome(partial(self._unmask, masking, masked, template))

    def attempts_to_play_the_peer(self) -> Iterator[tuple[str, str, str]]:
        """A key wrapped under the transport key, as a peer wraps the masking key, opened into one that may be read."""
        from pkcs11 import Attribute, KeyType, ObjectClass

        (public,) = self._transport(ObjectClass.PUBLIC_KEY)
        (private,) = self._transport(ObjectClass.PRIVATE_KEY)
        travels = self._session.generate_key(KeyType.AES, 256, template={Attribute.EXTRACTABLE: True})
        wrapped = public.wrap_key(travels, **self._oaep())
        for changed in ({"SENSITIVE": False}, {"WRAP_WITH_TRUSTED": False}, {}):
            template = {Attribute[name]: value for name, value in changed.items()}
            yield "transport key", f"open with {changed}", outcome(partial(self._open, private, wrapped, template))

    def _transport(self, of_class: Any) -> list[Any]:
        from pkcs11 import Attribute

        return list(self._session.get_objects({Attribute.LABEL: "casemate transport", Attribute.CLASS: of_class}))

    def _oaep(self) -> dict[str, Any]:
        from pkcs11 import MGF, Mechanism

        return {"mechanism": Mechanism.RSA_PKCS_OAEP, "mechanism_param": (Mechanism.SHA_1, MGF.SHA1, None)}

    def _open(self, private: Any, wrapped: bytes, template: dict[Any, Any]) -> Any:
        from pkcs11 import Attribute, KeyType, ObjectClass

        opened = private.unwrap_key(
            ObjectClass.SECRET_KEY, KeyType.AES, wrapped, store=False, template=template, **self._oaep()
        )
        return opened[Attribute.VALUE]

    def _unmask(self, masking: Any, masked: bytes, template: dict[Any, Any]) -> None:
        from pkcs11 import KeyType, Mechanism, ObjectClass

        masking.unwrap_key(
            ObjectClass.SECRET_KEY,
            KeyType.AES,
            masked,
            mechanism=Mechanism.AES_KEY_WRAP,
            store=False,
            capabilities=_all_uses(),
            template=template,
        )


# What would let a key out, or let it do more than it may.
WEAKER: tuple[dict[str, Any], ...] = (
    {"EXTRACTABLE": True},
    {"SENSITIVE": False},
    {"SENSITIVE": False, "EXTRACTABLE": True},
    {"PRIVATE": False},
    {"MODIFIABLE": True},
    {"WRAP": True},
    {"UNWRAP": True},
    {"DERIVE": True},
    {"SIGN": True},
    {"COPYABLE": True},
    {"WRAP_WITH_TRUSTED": False},
    {"TRUSTED": True},
)


def outcome(action: Callable[[], Any]) -> str:
    """GOT, or why not."""
    from pkcs11.exceptions import PKCS11Error

    try:
        action()
    except PKCS11Error as error:
        return type(error).__name__
    except AttributeError:
        return "NotOffered"  # the client itself sees that the object may not do this
    return GOT


def _read_value(key: Any, attribute: Any) -> None:
    from pkcs11.exceptions import AttributeValueInvalid

    if not key[attribute]:
        raise AttributeValueInvalid  # it is there, and empty


def _use(key: Any, verb: str, **mechanism: Any) -> None:
    getattr(key, verb)(bytes(32), **mechanism)


def _all_uses() -> Any:
    from pkcs11 import MechanismFlag

    return (
        MechanismFlag.ENCRYPT | MechanismFlag.DECRYPT | MechanismFlag.WRAP | MechanismFlag.UNWRAP | MechanismFlag.DERIVE
    )


def _parameter(mechanism: str) -> Any:
    from pkcs11 import MGF, CTRParams, GCMParams, Mechanism

    if "OAEP" in mechanism:
        return (Mechanism.SHA_1, MGF.SHA1, None)
    if mechanism == "AES_CTR":
        return CTRParams(bytes(12))
    if mechanism == "AES_GCM":
        return GCMParams(bytes(12))
    if mechanism.startswith("AES_CBC"):
        return bytes(16)
    return bytes(8) if mechanism.startswith("DES") else None


if __name__ == "__main__":
    main()
