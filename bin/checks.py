"""The four checks of bin/test, one after another; all of them run even if one fails.

Each check dies with this process, even when this process is killed with SIGKILL, and whatever the tests start dies with
the tests.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

from hsmapp.parent import die_with_parent

ROOT = Path(__file__).resolve().parent.parent
TOOLS = Path(sys.executable).parent


def checks(pytest_arguments: list[str]) -> dict[str, list[str]]:
    return {
        "format": [str(TOOLS / "ruff"), "format", "--check", "."],
        "lint": [str(TOOLS / "ruff"), "check", "."],
        "types": [str(TOOLS / "mypy")],
        "tests": [sys.executable, "-m", "pytest", *pytest_arguments],
    }


def run(command: list[str]) -> int:
    """Run one check and return its exit code; SIGTERM and Ctrl-C end it with us."""
    process = subprocess.Popen(  # noqa: S603
        command, cwd=ROOT, preexec_fn=partial(die_with_parent, os.getpid())
    )
    try:
        return process.wait()
    finally:
        if process.poll() is None:
            process.terminate()
            process.wait()


def main() -> int:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    failed = []
    for name, command in checks(sys.argv[1:]).items():
        print(f"== {name}", flush=True)
        started = time.monotonic()
        code = run(command)
        print(
            f"== {name}: {'passed' if code == 0 else f'failed ({code})'} in {time.monotonic() - started:.1f} s",
            flush=True,
        )
        if code:
            failed.append(name)
    print(f"Failed: {', '.join(failed)}." if failed else "All four checks passed.")
    return 1 if failed else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
