"""Finds the SoftHSM module, the PKCS#11 library that HSM processes load unless another one is named.

Order: what PKCS11_MODULE or SOFTHSM2_MODULE names, an installed SoftHSM, and at last Debian's package, fetched and
unpacked under the data folder: without root, and without a change to the system.
Imports nothing of Django. `python -m hsmapp.softhsm <folder>` prints the path.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Callable
from pathlib import Path

PACKAGE = "libsofthsm2"
LIBRARY = "softhsm/libsofthsm2.so"


class SoftHsmMissingError(Exception):
    """There is no PKCS#11 module and none could be fetched. The message says what to do."""


def find_module(data: Path, *, announce: Callable[[str], None] = lambda line: None) -> Path:
    """Return the path of the PKCS#11 module. Raises SoftHsmMissingError.

    data: the data folder, where Debian's package is unpacked if nothing else is there.
    announce: told before a download begins, which takes a few seconds.
    """
    found = _named() or _installed() or _unpacked(data)
    if found is None:
        announce("Fetching SoftHSM …")
        found = _fetch(data)
    return found


def _named() -> Path | None:
    for name in ("PKCS11_MODULE", "SOFTHSM2_MODULE"):
        if value := os.environ.get(name):
            if not Path(value).is_file():
                raise SoftHsmMissingError(f"{name} names {value}, which is not a file.")
            return Path(value).absolute()
    return None


def _library_folders(root: Path) -> list[Path]:
    triplet = sysconfig.get_config_var("MULTIARCH") or ""
    return [root / "usr/lib", root / "usr/lib" / triplet, root / "usr/lib64", root / "usr/local/lib"]


def _first_library(root: Path) -> Path | None:
    return next((found for folder in _library_folders(root) if (found := folder / LIBRARY).is_file()), None)


def _installed() -> Path | None:
    return _first_library(Path("/"))


def _package_folder(data: Path) -> Path:
    return data / "softhsm" / "package"


def _unpacked(data: Path) -> Path | None:
    return _first_library(_package_folder(data))


def _fetch(data: Path) -> Path:
    """Download and unpack Debian's package. The folder appears whole or not at all."""
    if not (shutil.which("apt-get") and shutil.which("dpkg")):
        raise SoftHsmMissingError(
            "SoftHSM is not installed and this is not a Debian system: install SoftHSM 2.6 and set SOFTHSM2_MODULE "
            "to the path of libsofthsm2.so."
        )
    data.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=data, prefix="softhsm-fetch-") as name:
        work = Path(name)
        archive = _download(work)
        _run(["dpkg", "-x", str(archive), str(work / "package")], work)
        target = _package_folder(data)
        shutil.rmtree(target, ignore_errors=True)
        target.parent.mkdir(exist_ok=True)
        os.replace(work / "package", target)
    found = _unpacked(data)
    if found is None:
        raise SoftHsmMissingError(f"Debian's package {PACKAGE} does not hold {LIBRARY}: set SOFTHSM2_MODULE.")
    _check_it_loads(found)
    return found


def _download(work: Path) -> Path:
    """Fetch the package into `work`: with the system's package lists, else with lists of our own."""
    system_lists = _apt_options(work, own_lists=False)
    own_lists = _apt_options(work, own_lists=True)
    try:
        _run(["apt-get", *system_lists, "download", PACKAGE], work)
    except SoftHsmMissingError:
        # Error-Mode: by default apt-get says that all went well when no list could be fetched.
        _run(["apt-get", *own_lists, "-o", "APT::Update::Error-Mode=any", "update"], work)
        _run(["apt-get", *own_lists, "download", PACKAGE], work)
    return next(work.glob("*.deb"))


def _apt_options(work: Path, *, own_lists: bool) -> list[str]:
    """Options that keep apt from writing anywhere but in `work`."""
    (work / "cache/archives/partial").mkdir(parents=True, exist_ok=True)
    options = {"Dir::Cache": str(work / "cache"), "Debug::NoLocking": "1"}
    if os.geteuid() == 0:
        # apt drops to a user of its own, who may not enter the data folder.
        options["APT::Sandbox::User"] = "root"
    if own_lists:
        (work / "lists/partial").mkdir(parents=True, exist_ok=True)
        options["Dir::State::Lists"] = str(work / "lists")
    return ["-q", *(part for option, value in options.items() for part in ("-o", f"{option}={value}"))]


def _run(command: list[str], work: Path) -> None:
    try:
        done = subprocess.run(  # noqa: S603
            command, cwd=work, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise _cannot_fetch(str(error)) from error
    if done.returncode != 0:
        lines = done.stderr.strip().splitlines() or ["no message"]
        raise _cannot_fetch(next((line for line in lines if line.startswith("E:")), lines[-1]))


def _cannot_fetch(reason: str) -> SoftHsmMissingError:
    return SoftHsmMissingError(
        f"SoftHSM is not installed and Debian's package {PACKAGE} can't be fetched ({reason}): "
        "install softhsm2, or set SOFTHSM2_MODULE to the path of libsofthsm2.so."
    )


def _check_it_loads(module: Path) -> None:
    """Load the module in a process of its own, which tells a missing shared library apart from a broken HSM."""
    done = subprocess.run(  # noqa: S603
        [sys.executable, "-c", "import ctypes, sys; ctypes.CDLL(sys.argv[1])", str(module)],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        reason = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise SoftHsmMissingError(f"The SoftHSM module {module} can't be loaded: {reason}.")


if __name__ == "__main__":
    try:
        print(find_module(Path(sys.argv[1])))
    except SoftHsmMissingError as error:
        sys.exit(str(error))
