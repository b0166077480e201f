"""Files of an HSM that cannot be used, moved out of the way into the folder `set-aside` beside its token: never
destroyed, for somebody may still find something in them, and never in the way of what is good.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from pathlib import Path

from hsmapp.device import object_files
from hsmapp.device.object_files import GENERATION_FILE, LOCK_SUFFIX, OBJECT_SUFFIX, TOKEN_FILE, ObjectFileError
from hsmapp.durable import sync

FOLDER = "set-aside"


@dataclass(frozen=True)
class SetAside:
    """One file. name: what it is called there, which begins with its own name. reason: why it is no use."""

    name: str
    reason: str


@dataclass(frozen=True)
class Stray:
    """Something in the token's folder that SoftHSM did not put there; it is left alone."""

    name: str
    reason: str


def make_folder(folder: Path) -> None:
    """Make the folder while there is room: a full disk, which leaves half-written files, may have none for a folder."""
    with contextlib.suppress(OSError):
        (folder / FOLDER).mkdir(mode=0o700, exist_ok=True)


def move(folder: Path, path: Path) -> None:
    """Move a file of the HSM in `folder` aside, durably. Raises: OSError."""
    aside = folder / FOLDER
    aside.mkdir(mode=0o700, exist_ok=True)
    number, target = 0, aside / path.name
    while target.exists():
        number += 1
        target = aside / f"{path.name}.{number}"
    path.rename(target)
    sync(aside)
    sync(path.parent)


def move_unreadable_objects(folder: Path, tokens: Path) -> None:
    """Move the object files aside that no module could read, before one tries to: see object_files.py.

    The token's own file stays where it is. Raises: ObjectFileError if that cannot be read, once the others were moved;
    OSError.
    """
    unusable: str | None = None
    for path in tokens.glob(f"*/*{OBJECT_SUFFIX}"):
        reason = _why_unreadable(path)
        if reason is None:
            continue
        if path.name == TOKEN_FILE:
            unusable = reason
            continue
        move(folder, path)
        path.with_suffix(LOCK_SUFFIX).unlink(missing_ok=True)
    _remove_lost_locks(tokens)
    if unusable is not None:
        raise ObjectFileError(unusable)


def _remove_lost_locks(tokens: Path) -> None:
    """Remove the empty lock files of objects that are not there, as killed processes leave them."""
    for lock in tokens.glob(f"*/*{LOCK_SUFFIX}"):
        if not lock.with_suffix(OBJECT_SUFFIX).exists() and lock.stat().st_size == 0:
            lock.unlink(missing_ok=True)


def files(folder: Path) -> list[SetAside]:
    """What was moved aside, in order of names."""
    aside = folder / FOLDER
    if not aside.is_dir():
        return []
    return [SetAside(path.name, _reason_of(path)) for path in sorted(aside.iterdir())]


def strays(tokens: Path) -> list[Stray]:
    """What lies in the token's folder and is none of its files."""
    found = []
    for path in sorted(tokens.iterdir()):
        if not path.is_dir():
            found.append(Stray(path.name, "it lies where only tokens do"))
        elif not (path / TOKEN_FILE).exists():
            found.append(Stray(path.name, f"it is a folder without {TOKEN_FILE}"))
        else:
            found += [Stray(f"{path.name}/{name}", "it is no file of a token") for name in _strangers(path)]
    return found


def _strangers(token: Path) -> list[str]:
    names = (path.name for path in token.iterdir())
    return sorted(name for name in names if not name.endswith((OBJECT_SUFFIX, LOCK_SUFFIX)) and name != GENERATION_FILE)


def _reason_of(path: Path) -> str:
    if OBJECT_SUFFIX in path.name:
        return _why_unreadable(path) or "it was moved aside"
    return "it is damaged"


def _why_unreadable(path: Path) -> str | None:
    try:
        check = object_files.check_token if path.name == TOKEN_FILE else object_files.check_object
        check(path.read_bytes())
    except ObjectFileError as error:
        return str(error)
    except OSError as error:
        return f"it cannot be read ({error.strerror})"
    return None
