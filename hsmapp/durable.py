"""Bring files to the disk: a new file, a replaced one, or all of a folder."""

from __future__ import annotations

import os
from pathlib import Path


def write_durably(path: Path, content: bytes) -> None:
    """Write a file, mode 0600, so that after a crash the old content or the new one is there."""
    fresh = path.with_name(path.name + ".new")
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)
    sync(path.parent)


def sync_folder(folder: Path) -> None:
    """Bring every file and folder under `folder` to the disk. SoftHSM itself never does."""
    for parent, _folders, names in os.walk(folder):
        for name in names:
            sync(Path(parent) / name)
        sync(Path(parent))


def sync_subfolders(folder: Path) -> None:
    """Bring the entries of the folders in `folder` to the disk, so that what was deleted there stays deleted."""
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_dir():
                sync(Path(entry.path))


def sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
