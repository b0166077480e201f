"""bin/soak: calls on a server of its own while its HSMs are killed or frozen; prints what failed, what was wrong."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import tempfile
from pathlib import Path

from hsmapp.softhsm import find_module
from kmsapp.testing import Casemate, Server
from kmsapp.tests.outage import Plan, outage
from kmsapp.tests.soak import soak
from kmsapp.tests.token_copies import HSMS


def main() -> int:
    given = _parser().parse_args()
    os.environ.setdefault("SOFTHSM2_MODULE", str(find_module(Path(sys.prefix))))
    with tempfile.TemporaryDirectory(prefix="casemate-soak-") as folder:
        server = Server(Path(folder) / "data", "--immediate")
        server.start()
        try:
            sound = _open_loop(Casemate(server), given) if given.rate else _closed_loop(Casemate(server), given)
        finally:
            server.stop()
    return 0 if sound else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="bin/soak", description="Encrypt and decrypt on a server of its own while its HSMs are killed or frozen."
    )
    parser.add_argument("--seconds", type=float, default=60.0, help="how long (default: 60)")
    parser.add_argument("--freeze", action="store_true", help="stop HSM processes (SIGSTOP) instead of killing them")
    closed = parser.add_argument_group("each client sends its next call when it has an answer (without --rate)")
    closed.add_argument("--kills", type=int, default=2, help="kills or stops, the HSMs in turn (default: 2)")
    closed.add_argument("--clients", type=int, default=3, help="clients at the same time (default: 3)")
    opened = parser.add_argument_group("calls at fixed moments, one HSM being away for the middle third of the time")
    opened.add_argument("--rate", type=float, default=0.0, help="calls a second")
    opened.add_argument("--count", type=int, default=1, help="how often, the HSMs in turn (default: 1)")
    return parser


def _closed_loop(casemate: Casemate, given: argparse.Namespace) -> bool:
    how = signal.SIGSTOP if given.freeze else signal.SIGKILL
    report = soak(casemate, seconds=given.seconds, kills=given.kills, clients=given.clients, how=how)
    print("\n".join(report.lines()))
    return not report.failures and not report.wrong and report.calls > 0


def _open_loop(casemate: Casemate, given: argparse.Namespace) -> bool:
    sound = True
    for number in range(given.count):
        plan = Plan(
            rate=given.rate,
            seconds=given.seconds,
            gone_at=given.seconds / 3,
            back_at=given.seconds * 2 / 3,
            freeze=given.freeze,
            hsm_id=HSMS[number % len(HSMS)],
        )
        report = outage(casemate, plan)
        print("\n".join(report.lines()), flush=True)
        sound = sound and not report.failed and not report.wrong
    return sound


if __name__ == "__main__":
    sys.exit(main())
