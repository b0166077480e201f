"""A data folder that a server has begun and left, made once for each version and seed, and copied for every server.

Most of a first start is the work of making clusters, tokens and keys. Copies are alike: their people, passwords, access
keys and ids are the same on this machine until the version or the seed changes.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import sys
import tempfile
from pathlib import Path

from casemate import __version__, code
from casemate.server import ServerProcess

SUFFIXES = {".py", ".html", ".yaml"}  # of files that decide what a new data folder holds
KEEP = 5  # templates; the oldest go


def cache() -> Path:
    """CASEMATE_CACHE, or casemate in the user's cache folder."""
    named = os.environ.get("CASEMATE_CACHE")
    users = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return Path(named) if named else users / "casemate"


def copy(data: Path, seed: Path | None) -> None:
    """Make `data` a new data folder with the content of the seed file; None: the demo."""
    # Sockets can't be copied.
    shutil.copytree(_template(seed), data, ignore=shutil.ignore_patterns("run", "reset"))


def _template(seed: Path | None) -> Path:
    folder = cache() / "templates"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    template = folder / _fingerprint(seed)
    # Test runs that begin at once wait for the one that makes it.
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not template.is_dir():
            _make(template, seed)
        os.utime(template)
        _forget_old(folder)
    return template


def _make(template: Path, seed: Path | None) -> None:
    """The folder appears whole or not at all."""
    with tempfile.TemporaryDirectory(dir=template.parent, prefix="new-") as name:
        data = Path(name) / "data"
        server = ServerProcess(data, "--immediate", "--resettable", *(["--seed", str(seed)] if seed else []))
        try:
            server.start()
        finally:
            server.stop()
        data.replace(template)


def _fingerprint(seed: Path | None) -> str:
    """Changes with whatever a new data folder depends on: the code, the Python that runs it, the seed."""
    root = code()
    digest = hashlib.sha256(f"{__version__} {sys.version} {sys.prefix}".encode())
    for folder in ("console", "kmsapp", "hsmapp"):
        for path in sorted((root / folder).rglob("*")):
            if path.suffix in SUFFIXES and "tests" not in path.parts:
                digest.update(f"{path.relative_to(root)} {path.stat().st_size} {path.stat().st_mtime_ns}\n".encode())
    digest.update(seed.read_bytes() if seed else b"")
    return digest.hexdigest()[:32]


def _forget_old(folder: Path) -> None:
    templates = sorted((path for path in folder.iterdir() if path.is_dir()), key=lambda path: path.stat().st_mtime)
    for path in templates[:-KEEP]:
        shutil.rmtree(path, ignore_errors=True)
