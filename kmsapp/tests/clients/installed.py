"""Where bin/test has put the clients that are no packages of .venv, and how the AWS SDK for JavaScript is run."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

HERE = Path(__file__).parent
JAVASCRIPT = HERE / "javascript"
ANSIBLE = HERE / "ansible"
SCRIPT = JAVASCRIPT / "kms.test.mjs"
_TAP_LINE = re.compile(r"^(ok|not ok) \d+ - (.*)$", re.MULTILINE)


def installed_javascript() -> Path:
    return _installed(JAVASCRIPT, "package-lock.json")


def installed_ansible() -> Path:
    return _installed(ANSIBLE, "*.txt")


def _installed(beside: Path, pins: str) -> Path:
    """The folder that bin/clients.sh has made. Skips the test if there is none."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    pinned = b"".join(path.read_bytes() for path in sorted(beside.glob(pins)))
    folder = cache / "casemate" / "clients" / f"{beside.name}-{hashlib.sha256(pinned).hexdigest()[:12]}"
    if not folder.is_dir():
        pytest.skip(f"{beside.name} is not in {folder}: bin/test puts it there, where it can")
    return folder


@dataclass(frozen=True)
class JavascriptRun:
    """What the script's tests have said."""

    outcomes: dict[str, bool]  # title -> whether it passed
    output: str


def run_javascript(environment: dict[str, str], folder: Path, *options: str) -> JavascriptRun:
    """Run the script's tests in one process. folder: an empty one. options: of node."""
    node = shutil.which("node")
    installed = installed_javascript()
    assert node is not None, "its packages are there, and Node.js is not"
    # Node.js looks for packages beside the script and above it.
    (folder / "node_modules").symlink_to(installed / "node_modules")
    script = Path(shutil.copy(SCRIPT, folder))
    done = subprocess.run(
        [node, "--no-warnings", "--test-reporter=tap", *options, str(script)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    outcomes = {title.rstrip(): word == "ok" for word, title in _TAP_LINE.findall(done.stdout)}
    return JavascriptRun(outcomes, done.stdout + done.stderr)


def javascript_version() -> str:
    """Of the SDK, as it is installed."""
    package = installed_javascript() / "node_modules" / "@aws-sdk" / "client-kms" / "package.json"
    found = re.search(r'"version": "([\d.]+)"', package.read_text())
    assert found
    return found.group(1)
