"""Builds small C libraries that tests put under real programs. Needs a C compiler: `cc`."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest


def build(source: Path, folder: Path, **defined: str | Path) -> Path:
    """Compile one file to a shared library in this folder and return its path.

    defined: names that the source finds defined as strings.
    """
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.fail("these tests need a C compiler: install one that is called cc (Debian: the package gcc)")
    library = folder / f"{source.stem}.so"
    strings = [f'-D{name}="{value}"' for name, value in defined.items()]
    command = [compiler, "-shared", "-fPIC", "-O1", "-Wall", *strings, "-o", str(library), str(source), "-ldl"]
    subprocess.run(command, check=True)
    return library
