"""What a person's shell has after `. <data>/aws.env`, and nothing else that an AWS client would read."""

from __future__ import annotations

import os
import shlex
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from kmsapp.testing import Casemate, clean_environment


def environment_of(casemate: Casemate, home: Path, *, access_key_id: str = "", secret: str = "") -> dict[str, str]:
    """The whole environment for a client. home: a folder without configuration. An access key stands in for alice's."""
    shell = {name: clean_environment().get(name, "") for name in ("PATH", "LANG")} | {"HOME": str(home)}
    script = f". {shlex.quote(str(casemate.data / 'aws.env'))} && env -0"
    done = subprocess.run(["sh", "-c", script], env=shell, capture_output=True, text=True, timeout=10, check=True)
    found = dict(line.split("=", 1) for line in done.stdout.split("\0") if line)
    if access_key_id:
        found |= {"AWS_ACCESS_KEY_ID": access_key_id, "AWS_SECRET_ACCESS_KEY": secret}
    return found


@contextmanager
def this_process_in(environment: dict[str, str]) -> Iterator[None]:
    """Clients of this process see the environment, and nothing of the machine's own AWS configuration."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        for name in [name for name in os.environ if name.startswith("AWS_")]:
            monkeypatch.delenv(name)
        for name in ("HOME", *(name for name in environment if name.startswith("AWS_"))):
            monkeypatch.setenv(name, environment[name])
        yield
