"""`python -m console.serving`: the command behind bin/serve."""

from __future__ import annotations

import sys

from console.serving import stopping


def run() -> int:
    try:
        stopping.on_signals()
        from console.serving.server import main

        return main(sys.argv[1:])
    except stopping.StopRequested:
        return 0


if __name__ == "__main__":
    sys.exit(run())
