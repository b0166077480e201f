"""bin/fuzz: any number of wrong requests, with what they were answered."""

from __future__ import annotations

import argparse
import os
import secrets
import sys
import tempfile
from pathlib import Path

import django

from hsmapp.softhsm import find_module
from kmsapp.testing import Casemate, Server


def main() -> int:
    given = _parser().parse_args()
    os.environ.setdefault("SOFTHSM2_MODULE", str(find_module(Path(sys.prefix))))
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "console.settings")
    django.setup()

    from kmsapp import dispatch  # noqa: F401  fills the registry, and needs Django
    from kmsapp.tests.fuzz import campaign, requests
    from kmsapp.tests.remains import digests

    with tempfile.TemporaryDirectory(prefix="casemate-fuzz-") as folder:
        server = Server(Path(folder) / "data", "--immediate")
        server.start()
        try:
            casemate = Casemate(server)
            requests.prepare(casemate)
            before = digests(casemate)
            seed = given.seed if given.seed is not None else secrets.randbelow(1 << 32)
            report = campaign.run(casemate, count=given.count, seed=seed, connections=given.connections)
            made = [table for table, digest in digests(casemate).items() if digest != before[table]]
        finally:
            server.stop()
    print("\n".join(report.lines()))
    print(f"tables that are not as they were: {', '.join(made) or 'none'}")
    return 1 if report.faults or made else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="bin/fuzz", description="Send wrong requests to a server of its own and compare the answers with AWS's."
    )
    parser.add_argument("--count", type=int, default=20_000, help="requests (default: 20000)")
    parser.add_argument("--seed", type=int, help="the same requests as another time (default: drawn, and printed)")
    parser.add_argument("--connections", type=int, default=4, help="at the same time (default: 4)")
    return parser


if __name__ == "__main__":
    sys.exit(main())
