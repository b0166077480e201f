"""Builds the PKCS#11 module that makes IVs itself (own_iv_module.c) over the module that the tests use.

Needs a C compiler: `cc`. A real module over real tokens, so that nothing about it is pretended.
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from hsmapp.tests.device_process import find_module

SOURCE = Path(__file__).with_suffix(".c")


def build(folder: Path) -> Path:
    """Return the path of the module, built in this folder."""
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.fail("these tests need a C compiler: install one that is called cc (Debian: the package gcc)")
    module = folder / "own_iv_module.so"
    underlying = f'-DUNDERLYING="{find_module()}"'
    command = [compiler, "-shared", "-fPIC", "-O1", "-Wall", underlying, "-o", str(module), str(SOURCE), "-ldl"]
    subprocess.run(command, check=True)
    return module
