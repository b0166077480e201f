"""Counts the IVs of one HSM over many encryptions, keys, connections and starts, and looks for one that came twice.

By hand, because it takes minutes: `python -m hsmapp.tests.count_ivs --encryptions 1000000`. The tests count fewer. It
exits with 1 if an IV repeats.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import threading
import time
from pathlib import Path

from hsmapp.tests.device_process import PASSWORD, DeviceProcess, MaskedKey, activated, ask, new_key

KEYS = 8


def encrypt_on(device: DeviceProcess, keys: list[MaskedKey], times: int, ivs: list[bytes]) -> None:
    """Encrypt so often over a connection of its own, under each key in turn, and add the IVs that the HSM gave."""
    with device.login("kmsuser", PASSWORD) as connection:
        for number in range(times):
            key = keys[number % len(keys)]
            answer = ask(connection, "encrypt", label=key.label, check=key.check, plaintext=b"x" * 16, aad=b"")
            ivs.append(answer["iv"])


def one_life(device: DeviceProcess, keys: list[MaskedKey], times: int, connections: int) -> list[bytes]:
    """The IVs of one start of the HSM process, its encryptions spread over the connections."""
    parts: list[list[bytes]] = [[] for _ in range(connections)]
    threads = [threading.Thread(target=encrypt_on, args=(device, keys, times // connections, part)) for part in parts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    ivs = [iv for part in parts for iv in part]
    if len(ivs) != times // connections * connections:
        raise SystemExit("a connection failed")
    return ivs


def main() -> int:
    parser = argparse.ArgumentParser(description="Look for an IV that an HSM gives twice.")
    parser.add_argument("--encryptions", type=int, default=1_000_000)
    parser.add_argument("--starts", type=int, default=4, help="kill -9 of the HSM process in between")
    parser.add_argument("--connections", type=int, default=4)
    given = parser.parse_args()
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="casemate-ivs-") as folder:
        device = activated(Path(folder))
        with device.login("kmsuser", PASSWORD) as connection:
            keys = [new_key(connection) for _ in range(KEYS)]
        ivs = [key.check[:12] for key in keys]
        for number in range(given.starts):
            if number:
                device.kill()
                device.start()
                with device.control() as control:
                    ask(control, "serve")
            ivs += one_life(device, keys, given.encryptions // given.starts, given.connections)
        device.stop()
    repeats, prefixes = len(ivs) - len(set(ivs)), len({iv[:8] for iv in ivs})
    print(
        f"{len(ivs):,} IVs of {KEYS} keys over {given.starts} starts and {given.connections} connections: "
        f"{repeats} repeats, {prefixes} prefixes, {time.monotonic() - started:.0f} s"
    )
    return 1 if repeats or prefixes != given.starts else 0


if __name__ == "__main__":
    sys.exit(main())
