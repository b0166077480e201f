"""What an installed Casemate is to other projects: the command `casemate`, and a test kit (`casemate.testing`).

The server's own packages (console, kmsapp, hsmapp) are not importable where this is installed: they lie in a folder
that only the server's processes look into, so they can't collide with anybody's. This package needs nothing but the
standard library. See docs/adr/0011.
"""

from __future__ import annotations

from pathlib import Path

__version__ = "0.1.0"


def code() -> Path:
    """The folder that holds the server's packages: a part of this one where it is installed, else the checkout."""
    here = Path(__file__).resolve().parent
    installed = here / "site"
    return installed if installed.is_dir() else here.parent
