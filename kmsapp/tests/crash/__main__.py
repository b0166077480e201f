"""bin/crash: any number of kills, with the histogram."""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path

from hsmapp.softhsm import find_module
from kmsapp.tests.crash.connect import kill_under_connect
from kmsapp.tests.crash.create_key import kill_under_create_key
from kmsapp.tests.crash.delete_key import kill_under_delete_key


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="bin/crash", description="Kill processes of servers of its own with SIGKILL in the middle of a call."
    )
    parser.add_argument("--call", choices=["CreateKey", "ConnectCustomKeyStore", "DeleteKey"], default="CreateKey")
    parser.add_argument("--count", type=int, default=50, help="kills (default: 50)")
    parser.add_argument("--each", type=int, default=5, help="calls struck in each step at the least (default: 5)")
    given = parser.parse_args()
    os.environ.setdefault("SOFTHSM2_MODULE", str(find_module(Path(sys.prefix))))
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="casemate-crash-") as folder:
        if given.call == "CreateKey":
            lines = kill_under_create_key(Path(folder), kills=given.count, each=given.each).lines()
        elif given.call == "DeleteKey":
            lines = kill_under_delete_key(Path(folder), kills=given.count).lines()
        else:
            lines = kill_under_connect(Path(folder), kills=given.count).lines()
    print("\n".join(lines))
    print(f"{time.monotonic() - started:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
