"""Operations of the supervisor on what is wrong with the HSM: list it, put aside what nobody knows, clear what is half
made.
"""

from __future__ import annotations

from hsmapp.device import arguments as args
from hsmapp.device.defects import defects
from hsmapp.device.hsm import Hsm, Session
from hsmapp.device.operations.operation import CONTROL, PAGE_BYTES, Answer, Arguments, Operation
from hsmapp.device.protocol import Defect
from hsmapp.durable import sync_subfolders


def list_defects(hsm: Hsm, _session: Session, given: Arguments) -> Answer:
    """defects: rows of kind, name, id and reason; next: where to go on, 0 at the end; count: of them all."""
    found = defects(hsm)
    page = _fitting(found[given["start"] :])
    following = given["start"] + len(page)
    return {
        "defects": [list(defect) for defect in page],
        "next": following if following < len(found) else 0,
        "count": len(found),
    }


def _fitting(found: list[Defect]) -> list[Defect]:
    room = PAGE_BYTES
    for count, defect in enumerate(found):
        room -= sum(len(part.encode()) + 8 for part in defect)
        if room < 0:
            return found[: max(count, 1)]
    return found


def quarantine_key(hsm: Hsm, _session: Session, given: Arguments) -> Answer:
    """Take the objects with this label and id out of use without destroying them; objects: how many they are."""
    return {"objects": hsm.keys.quarantine(given["label"], given["id"])}


def release_key(hsm: Hsm, _session: Session, given: Arguments) -> Answer:
    """Let quarantined objects be a key of no owner again; objects: how many they are."""
    return {"objects": hsm.keys.release(given["label"], given["id"])}


def clear_debris(hsm: Hsm, _session: Session, _given: Arguments) -> Answer:
    """Destroy nameless objects, which are what is left of keys that were not made to the end, and nobody's."""
    destroyed = hsm.keys.clear_debris()
    if destroyed:
        sync_subfolders(hsm.tokens)
    return {"destroyed": destroyed}


# The id of another program's object can be anything.
_OBJECT = {"label": args.LABEL, "id": args.AFTER}

OPERATIONS: dict[str, Operation] = {
    "list_defects": Operation(list_defects, CONTROL, {"start": args.START}),
    "quarantine_key": Operation(quarantine_key, CONTROL, _OBJECT),
    "release_key": Operation(release_key, CONTROL, _OBJECT),
    "clear_debris": Operation(clear_debris, CONTROL, {}),
}
