"""Give an HSM a new token in the place of one that is gone or does not open. Nothing of the old one is destroyed."""

from __future__ import annotations

import datetime
from pathlib import Path

from django.conf import settings

from hsmapp import hsm_processes
from hsmapp.durable import sync
from hsmapp.models import Hsm


def folder_for_replaced(now: datetime.datetime) -> Path:
    """Where what is replaced now is kept."""
    folder: Path = settings.DATA / "replaced" / now.strftime("%Y%m%dT%H%M%S.%fZ")
    return folder


def begin_anew(hsm: Hsm, kept: Path) -> Path | None:
    """Have the token made as at the HSM's first start, with the PIN it had; what is there goes to `kept`.

    Returns where it went, None if there was nothing.
    """
    folder = hsm_processes.hsm_folder(hsm.hsm_id)
    put = _put_aside(folder, kept / "hsm" / hsm.hsm_id) if folder.exists() and any(folder.iterdir()) else None
    if hsm.token_made or hsm.certificate:
        # A new token has a new identity key: the old certificate would vouch for a key that nobody has.
        hsm.token_made, hsm.certificate = False, ""
        hsm.save(update_fields=["token_made", "certificate"])
    return put


def _put_aside(folder: Path, target: Path) -> Path:
    target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    places = (target, *(target.with_name(f"{target.name}.{number}") for number in range(1, 1000)))
    place = next(place for place in places if not place.exists())
    folder.rename(place)
    sync(place.parent)
    sync(folder.parent)
    return place
