"""The other calibration line: AES-GCM of 32 bytes by a key in a token, straight through PKCS#11, nothing around it.

A program of its own, because SoftHSM reads its configuration once per process. Reads one JSON object on standard input:
{"module", "configuration", "label", "pin", "seconds"}; prints how many encryptions it did in a second.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from typing import Any

from kmsapp.tests.token_copies import TokenCopy


def per_second(copy: TokenCopy, seconds: float) -> float:
    """Encryptions a second with a key of the copied token, by a process of its own."""
    request = {"module": copy.module, "configuration": str(copy.configuration), "label": copy.label, "pin": copy.pin}
    done = subprocess.run(
        [sys.executable, "-m", __name__],
        input=json.dumps({**request, "seconds": seconds}),
        capture_output=True,
        text=True,
        timeout=seconds + 60,
        check=True,
    )
    return float(done.stdout)


def main() -> None:
    request = json.load(sys.stdin)
    os.environ["SOFTHSM2_CONF"] = request["configuration"]
    import pkcs11

    token = pkcs11.lib(request["module"]).get_token(token_label=request["label"])
    with token.open(user_pin=request["pin"]) as session:
        wanted = {
            pkcs11.Attribute.CLASS: pkcs11.ObjectClass.SECRET_KEY,
            pkcs11.Attribute.ENCRYPT: True,
            pkcs11.Attribute.KEY_TYPE: pkcs11.KeyType.AES,
        }
        print(f"{_encrypt(next(iter(session.get_objects(wanted))), request['seconds']):.0f}")


def _encrypt(key: Any, seconds: float) -> float:
    import pkcs11

    plaintext, count, started = os.urandom(32), 0, time.perf_counter()
    while (now := time.perf_counter()) < started + seconds:
        parameters = pkcs11.GCMParams(os.urandom(12), b"", 128)
        key.encrypt(plaintext, mechanism=pkcs11.Mechanism.AES_GCM, mechanism_param=parameters)
        count += 1
    return count / (now - started)


if __name__ == "__main__":
    main()
