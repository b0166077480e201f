"""`bin/bench`: starts a server of its own and measures it. `bin/bench --help` lists the options."""

from __future__ import annotations

import argparse
import os
import shlex
import sys
import tempfile
from pathlib import Path

from hsmapp.softhsm import find_module
from kmsapp.testing import Casemate, Server
from kmsapp.tests.bench import decisions, many_keys, processor, rates, report


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(prog="bin/bench", description="Measure a server of its own.", allow_abbrev=False)
    made.add_argument("--connections", type=int, default=8, help="connections of the closed loop (default: 8)")
    made.add_argument("--seconds", type=float, default=2.0, help="seconds of each measurement (default: 2)")
    made.add_argument("--rounds", type=int, default=3, help="rounds; medians are shown (default: 3)")
    made.add_argument("--workers", type=int, default=2, help="web worker processes (default: 2)")
    made.add_argument(
        "--rate",
        type=float,
        nargs="*",
        default=[500.0, 1000.0, 2000.0],
        help="calls a second of the open loop (default: 500 1000 2000); none leaves it out",
    )
    made.add_argument("--keys", type=int, default=0, help="measure a cluster with so many keys instead of the calls")
    made.add_argument("--authorization", action="store_true", help="measure authorizing alone instead of the calls")
    made.add_argument("--no-moto", action="store_true", help="leave moto_server out")
    made.add_argument("--write", action="store_true", help="put the results into docs/measurements.md, too")
    return made


def main(arguments: list[str]) -> None:
    given = parser().parse_args(arguments)
    if given.keys and given.keys <= many_keys.FEW:
        raise SystemExit(f"--keys {given.keys}: more than {many_keys.FEW}, which they are compared with.")
    os.environ.setdefault("SOFTHSM2_MODULE", str(find_module(Path(sys.prefix))))
    with tempfile.TemporaryDirectory(prefix="casemate-bench-") as folder:
        server = Server(Path(folder) / "data", "--immediate", "--workers", str(given.workers))
        starts = [server.start()]
        server.stop()
        starts.append(server.start())
        try:
            sections = measure(given, Casemate(server), starts)
        finally:
            server.stop()
    command = shlex.join(["bin/bench", *(argument for argument in arguments if argument != "--write")])
    for title, lines in sections.items():
        if given.write:
            report.write_section(title, [report.circumstances(command), "", *lines])


def measure(given: argparse.Namespace, casemate: Casemate, starts: list[float]) -> dict[str, list[str]]:
    """Measure what the options ask for, print it as it comes, and return it by section."""
    sections: dict[str, list[str]] = {}

    def keep(title: str, lines: list[str]) -> None:
        sections[title] = lines
        print(f"{title}\n" + "\n".join(lines) + "\n", flush=True)

    print(f"first start {starts[0]:.2f} s, second start {starts[1]:.2f} s\n", flush=True)
    if given.keys:
        lines = many_keys.measure(casemate, given.keys, seconds=given.seconds, rounds=given.rounds)
        keep("Many keys in one cluster", lines)
        return sections
    if given.authorization:
        keep("Authorization", decisions.measure(casemate, rounds=given.rounds))
        return sections
    keep(
        "Calls, closed loop",
        rates.closed_loop(
            casemate,
            connections=given.connections,
            seconds=given.seconds,
            rounds=given.rounds,
            with_moto=not given.no_moto,
        ),
    )
    keep(
        "Calls, processor time",
        processor.per_call(casemate, connections=given.connections, rounds=given.rounds, with_moto=not given.no_moto),
    )
    keep("Authorization", decisions.measure(casemate, rounds=given.rounds))
    if given.rate:
        keep("Calls, open loop", rates.open_loop(casemate, given.rate, seconds=given.seconds, rounds=given.rounds))
    return sections


if __name__ == "__main__":
    main(sys.argv[1:])
