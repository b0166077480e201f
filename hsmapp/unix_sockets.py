"""Addresses of Unix sockets, of which the kernel takes 107 bytes only. Imports nothing of Django."""

from __future__ import annotations

from pathlib import Path


def unix_address(folder_descriptor: int, path: Path) -> str:
    """Return an address for `path` that fits a Unix socket address; the descriptor is of its folder, open as long as
    it is used.
    """
    return f"/proc/self/fd/{folder_descriptor}/{path.name}"
