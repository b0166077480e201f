"""A disk of a few megabytes under a folder of a test's own, to be filled and freed. Needs root, and leave to mount."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

_PART_BYTES = 64 * 1024


@contextmanager
def small_disk(folder: Path, *, mib: int) -> Iterator[Path]:
    """Move what is in the folder to a disk of its own, in its place."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    kept = folder.with_name(f"{folder.name} before")
    shutil.copytree(folder, kept)
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={mib}m,mode=0700", "tmpfs", str(folder)],
        capture_output=True,
        text=True,
        check=False,
    )
    if mounted.returncode:
        pytest.skip(f"a full disk needs one that may be filled, and this user may not mount: {mounted.stderr.strip()}")
    try:
        shutil.copytree(kept, folder, dirs_exist_ok=True)
        yield folder
    finally:
        # Lazily: a process of a server that was killed may still be on its way out.
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


@contextmanager
def filled(folder: Path, *, pages: bool = False) -> Iterator[None]:
    """Let no byte be free on the folder's disk.

    pages: fill the last page of each file there too, with newlines, which the file would otherwise still have.
    """
    ballast = folder / "ballast"
    files = [path for path in folder.iterdir() if path.is_file()] if pages else []
    try:
        for path in (ballast, *files):
            _fill(path)
        yield
    finally:
        ballast.unlink(missing_ok=True)


def _fill(path: Path) -> None:
    with path.open("ab", buffering=0) as file:
        for size in (_PART_BYTES, 1):
            with contextlib.suppress(_NoSpaceLeftError):
                while True:
                    _write(file.fileno(), b"\n" * size)


class _NoSpaceLeftError(Exception):
    pass


def _write(descriptor: int, part: bytes) -> None:
    try:
        os.write(descriptor, part)
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        raise _NoSpaceLeftError from error
