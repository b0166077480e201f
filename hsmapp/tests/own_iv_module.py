"""Builds the PKCS#11 module that makes IVs itself (own_iv_module.c) over the module that the tests use.

A real module over real tokens, so that nothing about it is pretended.
"""

from __future__ import annotations

from pathlib import Path

from hsmapp.tests import c_compiler
from hsmapp.tests.device_process import find_module

SOURCE = Path(__file__).with_suffix(".c")


def build(folder: Path) -> Path:
    """Return the path of the module, built in this folder."""
    return c_compiler.build(SOURCE, folder, UNDERLYING=find_module())
