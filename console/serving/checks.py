"""What must be true of the machine before a start: the port is free, the data folder is ours and can be written.

These checks leave nothing behind; whatever they find wrong is a CannotStartError.
"""

from __future__ import annotations

import errno
import os
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from console.serving.options import CannotStartError, Options
from hsmapp import data_folder, restore_journal

# Bytes that must be free for a start: the database, two tokens and the static files of an empty installation.
NEEDED_BYTES = 32 * 1024 * 1024


def claim_port(options: Options) -> socket.socket:
    """Check that the port is free, and return the claim on it, which holds until it is closed.

    Another server on a port in use would start without an error and share its requests (SO_REUSEPORT), so binding is
    tried here without that option. Two starts at the same moment meet at the claim, a name that only one can have.
    """
    claim = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        claim.bind(f"\0casemate {options.host} {options.port}")
        _try_to_listen(options)
    except OSError as error:
        claim.close()
        raise CannotStartError(_why_not(options, error)) from error
    return claim


def _try_to_listen(options: Options) -> None:
    family, kind, protocol, _, address = socket.getaddrinfo(
        options.host, options.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[0]
    with socket.socket(family, kind, protocol) as probe:
        # As servers do: connections of a server that has just ended must not hold the port.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind(address)
        probe.listen(1)


def _why_not(options: Options, error: OSError) -> str:
    place = f"Port {options.port} of {options.host}"
    if isinstance(error, PermissionError):
        return f"{place} is reserved for root: choose one from 1024 on with --port."
    if error.errno == errno.EADDRINUSE:
        return f"{place} is in use by another program: choose another one with --port."
    return f"{place} can't be used: {error.strerror}."


def check_folder(data: Path) -> None:
    """Check that the data folder is there, or can be made, and has room."""
    if data.exists() and not data.is_dir():
        raise CannotStartError(f"The data folder {data} is a file: name a folder with --data.")
    existing = next(folder for folder in (data, *data.parents) if folder.exists())
    try:
        with tempfile.TemporaryFile(dir=existing) as probe:
            os.posix_fallocate(probe.fileno(), 0, NEEDED_BYTES)
    except OSError as error:
        if error.errno in {errno.ENOSPC, errno.EDQUOT}:
            raise CannotStartError(
                f"The data folder {data} is full: it needs {NEEDED_BYTES >> 20} MiB to start."
            ) from error
        raise CannotStartError(f"The data folder {data} can't be written: {error.strerror}.") from error


@contextmanager
def folder_lock(data: Path) -> Iterator[None]:
    """Hold the data folder for this server."""
    try:
        with data_folder.held(data):
            yield
    except data_folder.FolderInUseError as error:
        raise CannotStartError(
            f"Another server is running on the data folder {data}: stop it, or choose another folder with --data."
        ) from error


def check_restore(data: Path) -> None:
    """Check that no restore was cut short: a server would go on with half of it."""
    if restore_journal.is_unfinished(data):
        raise CannotStartError(f"A restore into the data folder {data} was cut short: run manage.py restore again.")


def check_master_key_file(path: Path) -> None:
    """Check that the master key file, if there is one, can be a master key."""
    try:
        size = len(path.read_bytes())
    except FileNotFoundError:
        return
    except OSError as error:
        raise CannotStartError(f"The master key file {path} can't be read: {error.strerror}.") from error
    if size != 32:
        raise CannotStartError(
            f"The master key file {path} has {size} bytes; a master key has 32: name the right file."
        )
