"""Builds the PKCS#11 module that fails when it is told to (faulty_module.c), and tells it to.

A real module over real tokens: what it lets through is what the module beneath it does.
"""

from __future__ import annotations

from pathlib import Path

from hsmapp.device.opening import SOFTHSM_CONFIGURATION
from hsmapp.tests import c_compiler
from hsmapp.tests.device_process import find_module

SOURCE = Path(__file__).with_suffix(".c")
ALWAYS = 1_000_000_000


def build(folder: Path) -> Path:
    """Return the path of the module, built in this folder."""
    return c_compiler.build(SOURCE, folder, UNDERLYING=find_module())


def fail(hsm_folder: Path, function: str, *, times: int = ALWAYS) -> None:
    """Let so many calls of the function (C_Decrypt, ...) fail on the HSM whose folder this is; 0: no more."""
    order = _order(hsm_folder, function)
    fresh = order.with_suffix(".new")
    fresh.write_text(f"{times}\n")
    fresh.replace(order)


def failures_left(hsm_folder: Path, function: str) -> int:
    """How many calls of the function are still to fail."""
    return int(_order(hsm_folder, function).read_text().split()[0])


def _order(hsm_folder: Path, function: str) -> Path:
    return hsm_folder / f"{SOFTHSM_CONFIGURATION}.{function}"
