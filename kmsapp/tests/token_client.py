"""A small PKCS#11 client of somebody else: it opens a copy of a token and tells what is in it.

A program of its own, because SoftHSM reads its configuration once per process. Reads one JSON object on standard input:
{"module", "configuration", "label", "pin", "open": [{"label", "iv", "sealed", "aad"}]}, bytes as hexadecimal.
Writes {"keys": [attributes of each AES key], "opened": [plaintext or an error's name]}.
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any


def main() -> None:
    request = json.load(sys.stdin)
    os.environ["SOFTHSM2_CONF"] = request["configuration"]
    import pkcs11

    token = pkcs11.lib(request["module"]).get_token(token_label=request["label"])
    with token.open(user_pin=request["pin"]) as session:
        found: list[Any] = list(session.get_objects({pkcs11.Attribute.CLASS: pkcs11.ObjectClass.SECRET_KEY}))
        by_label: dict[str, list[Any]] = {}
        for key in found:
            by_label.setdefault(key.label, []).append(key)
        answer = {
            "keys": [described(key) for key in found],
            "opened": [opened(by_label[message.pop("label")], **message) for message in request["open"]],
        }
    json.dump(answer, sys.stdout)


def described(key: Any) -> dict[str, Any]:
    from pkcs11 import Attribute

    flags = ("sensitive", "extractable", "token", "private", "modifiable", "encrypt", "decrypt", "wrap", "unwrap")
    shown: dict[str, Any] = {name: bool(key[Attribute[name.upper()]]) for name in flags}
    shown |= {"label": key.label, "id": key.id.decode("latin-1"), "class": key.object_class.name}
    shown["type"] = key.key_type.name
    shown["value"] = attempt(lambda: key[Attribute.VALUE].hex())
    return shown


def opened(keys: list[Any], *, iv: str, sealed: str, aad: str) -> str:
    from pkcs11 import GCMParams, Mechanism

    (key,) = keys
    parameters = GCMParams(bytes.fromhex(iv), bytes.fromhex(aad), 128)
    return attempt(
        lambda: key.decrypt(bytes.fromhex(sealed), mechanism=Mechanism.AES_GCM, mechanism_param=parameters).hex()
    )


def attempt(action: Any) -> str:
    """What the action gives, or the name of the PKCS#11 error that refused it."""
    from pkcs11.exceptions import PKCS11Error

    try:
        return str(action())
    except PKCS11Error as error:
        return type(error).__name__


if __name__ == "__main__":
    main()
