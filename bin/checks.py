"""The four checks of bin/test, one after another; all of them run even if one fails.

Tests run in two processes, for they wait more than they compute, then those that are marked `alone` in one; what they
counted is shown at the end, and what their servers were asked over the wire is left for bin/coverage.
Each check dies with this process, even when this process is killed with SIGKILL, and whatever the tests start dies with
the tests.
"""

from __future__ import annotations

import datetime
import json
import os
import shlex
import signal
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

import pytest

from hsmapp.parent import die_with_parent
from kmsapp.tests.scorecard.wire_calls import merged

ROOT = Path(__file__).resolve().parent.parent
TOOLS = Path(sys.executable).parent
WIRE_CALLS = ROOT / ".venv" / "casemate-wire-calls.json"
# By file, because tests of one file share a server; the files as they come, because the longest come first.
IN_TWO = ["-n", "2", "--dist", "loadfile", "--no-loadscope-reorder"]


def checks(pytest_arguments: list[str], counts: str, wire_calls: str) -> dict[str, list[list[str]]]:
    """Name -> commands."""
    tests = [sys.executable, "-m", "pytest", f"--counts={counts}", f"--wire-calls={wire_calls}"]
    return {
        "format": [[str(TOOLS / "ruff"), "format", "--check", "."]],
        "lint": [[str(TOOLS / "ruff"), "check", "."]],
        "types": [[str(TOOLS / "mypy")]],
        "tests": [
            [*tests, "--part=shared", *IN_TWO, *pytest_arguments],
            [*tests, "--part=alone", *pytest_arguments],
        ],
    }


def run(command: list[str]) -> int:
    """Run one command and return its exit code; SIGTERM and Ctrl-C end it with us."""
    process = subprocess.Popen(  # noqa: S603
        command, cwd=ROOT, preexec_fn=partial(die_with_parent, os.getpid())
    )
    try:
        return process.wait()
    finally:
        if process.poll() is None:
            process.terminate()
            process.wait()


def worst(codes: list[int]) -> int:
    """0 if all passed. Arguments may choose tests of one part only, but not none at all."""
    ran = [code for code in codes if code != pytest.ExitCode.NO_TESTS_COLLECTED]
    return max(ran, key=abs) if ran else codes[0]


def keep(wire_calls: Path, pytest_arguments: list[str]) -> None:
    """Put together what all servers were asked, and leave it for bin/coverage."""
    counted = merged(wire_calls.glob("*.json"))
    about = {"command": shlex.join(["bin/test", *pytest_arguments]), "date": datetime.date.today().isoformat()}
    WIRE_CALLS.write_text(json.dumps({**about, **counted.as_json()}))
    print(f"== {counted.total:,} calls over the wire, of {len(counted.calls)} operations: {WIRE_CALLS}")


def main() -> int:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    # Tests start Python some thousand times, and the code is to be compiled once.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    failed = []
    with (
        tempfile.NamedTemporaryFile("r", prefix="casemate-counts-") as counts,
        tempfile.TemporaryDirectory(prefix="casemate-calls-") as wire_calls,
    ):
        for name, commands in checks(sys.argv[1:], counts.name, wire_calls).items():
            print(f"== {name}", flush=True)
            started = time.monotonic()
            code = worst([run(command) for command in commands])
            print(
                f"== {name}: {'passed' if code == 0 else f'failed ({code})'} in {time.monotonic() - started:.1f} s",
                flush=True,
            )
            if code:
                failed.append(name)
        print("== what was counted", counts.read(), sep="\n", end="")
        keep(Path(wire_calls), sys.argv[1:])
    print(f"Failed: {', '.join(failed)}." if failed else "All four checks passed.")
    return 1 if failed else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
