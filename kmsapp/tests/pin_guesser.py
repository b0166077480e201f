"""Somebody who tries PINs on a copy of a token: a program of its own, as token_client.py.

Reads {"module", "configuration", "label", "pins"} on standard input. Writes {"opened": the indices of those
that log in}.
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
    opened = [at for at, pin in enumerate(request["pins"]) if logs_in(token, pin)]
    json.dump({"opened": opened}, sys.stdout)


def logs_in(token: Any, pin: str) -> bool:
    from pkcs11.exceptions import PKCS11Error

    try:
        with token.open(user_pin=pin):
            return True
    except PKCS11Error:
        return False


if __name__ == "__main__":
    main()
