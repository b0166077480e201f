"""`python -m console.serving`: the command behind bin/serve."""

from __future__ import annotations

import sys

from console.serving.server import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
