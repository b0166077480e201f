"""bin/coverage: writes docs/coverage.md."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

import django


def main() -> int:
    given = _parser().parse_args()
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "console.settings")
    django.setup()

    from kmsapp import dispatch  # noqa: F401  fills the registry, and needs Django
    from kmsapp.tests.scorecard import page

    if given.calls:
        page.Run.of(given.calls).keep()
    run = page.Run.of(page.CALLS)
    page.PAGE.write_text(page.text(run))
    print(f"{page.PAGE} is written, with {run.counted.total:,} calls of {run.command} on {run.date}.")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="bin/coverage", description="Write docs/coverage.md from what is there.")
    parser.add_argument(
        "--calls", type=Path, metavar="FILE", help="take the counts of calls from what bin/test has left in this file"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
