"""`manage.py` where there is no installation, and by a Python that has no Django."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
COMMANDS = {
    "hsm list": ["hsm", "list"],
    "hsm token-env": ["hsm", "token-env", "hsm-abcdefghijk"],
    "clock": ["clock", "show"],
    "demo": ["demo", "add-cluster"],
}


def manage(*arguments: str, data: Path, python_options: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *python_options, str(ROOT / "manage.py"), *arguments],
        env={**os.environ, "CASEMATE_DATA": str(data)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize("arguments", COMMANDS.values(), ids=COMMANDS)
def test_a_folder_without_an_installation_is_named_and_left_as_it_is(tmp_path: Path, arguments: list[str]) -> None:
    done = manage(*arguments, data=tmp_path)
    assert done.returncode == 1
    assert f"There is no Casemate in the data folder {tmp_path}" in done.stderr
    assert done.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_a_python_without_django_is_told_which_one_has_it(tmp_path: Path) -> None:
    done = manage("hsm", "list", data=tmp_path, python_options=("-S",))  # -S: without what is installed
    assert done.returncode == 1
    assert ".venv/bin/python manage.py" in done.stderr
    assert done.stderr.count("\n") == 1
