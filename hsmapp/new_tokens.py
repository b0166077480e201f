"""Give an HSM a new token in the place of one that is gone or does not open. Nothing of the old one is destroyed."""

from __future__ import annotations

import datetime
import errno
from pathlib import Path

from django.conf import settings

from hsmapp import hsm_processes
from hsmapp.durable import sync
from hsmapp.models import Hsm

INSIDE = "replaced"  # in the folder of an HSM that has a file system of its own


def folder_for_replaced(now: datetime.datetime) -> Path:
    """Where what is replaced now is kept."""
    folder: Path = settings.DATA / "replaced" / now.strftime("%Y%m%dT%H%M%S.%fZ")
    return folder


def begin_anew(hsm: Hsm, kept: Path) -> Path | None:
    """Have the token made as at the HSM's first start, with the PIN it had; what is there goes to `kept`.

    Returns where it went, None if there was nothing. Raises: OSError.
    """
    folder = hsm_processes.hsm_folder(hsm.hsm_id)
    put = _put_aside(folder, kept / "hsm" / hsm.hsm_id) if _contents(folder) else None
    if hsm.token_made or hsm.certificate:
        # A new token has a new identity key: the old certificate would vouch for a key that nobody has.
        hsm.token_made, hsm.certificate = False, ""
        hsm.save(update_fields=["token_made", "certificate"])
    return put


def _contents(folder: Path) -> list[Path]:
    """What is in an HSM's folder, without what was put aside in it before."""
    return [path for path in folder.iterdir() if path.name != INSIDE] if folder.exists() else []


def _put_aside(folder: Path, target: Path) -> Path:
    target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    place = _free(target)
    try:
        folder.rename(place)
    except OSError as error:
        if error.errno not in (errno.EBUSY, errno.EXDEV):
            raise
        return _put_aside_inside(folder, target.parent.parent.name)
    sync(place.parent)
    sync(folder.parent)
    return place


def _put_aside_inside(folder: Path, name: str) -> Path:
    """Put aside what is in a folder that is a file system of its own, which can't be renamed."""
    place = _free(folder / INSIDE / name)
    place.mkdir(mode=0o700, parents=True)
    for path in _contents(folder):
        path.rename(place / path.name)
    sync(place)
    sync(folder)
    return place


def _free(place: Path) -> Path:
    """The place itself, or one beside it if something is there already."""
    places = (place, *(place.with_name(f"{place.name}.{number}") for number in range(1, 1000)))
    return next(place for place in places if not place.exists())
