"""What is wrong with an HSM and did not keep its process from starting, for the supervisor to mend or to show.

A defect is kind, name, id and a reason for people. Nothing here is destroyed or mended. The kinds are in protocol.py.
"""

from __future__ import annotations

from collections.abc import Iterator

from hsmapp.device import set_aside
from hsmapp.device.hsm import Hsm
from hsmapp.device.key_table import Key
from hsmapp.device.protocol import (
    DEFECT_DAMAGED_KEY,
    DEFECT_DEBRIS,
    DEFECT_FOREIGN_OBJECT,
    DEFECT_KEY_PAIR,
    DEFECT_MASKING_KEY,
    DEFECT_MASKING_KEY_UNPROVEN,
    DEFECT_ODD_OBJECT,
    DEFECT_QUARANTINED,
    DEFECT_SET_ASIDE,
    DEFECT_STORAGE,
    DEFECT_STRAY_FILE,
    DEFECT_UNOWNED_KEY,
    Defect,
)


def defects(hsm: Hsm) -> list[Defect]:
    """Everything that is known to be wrong, the gravest first."""
    return [*_of_the_hsm(hsm), *_of_keys(hsm), *_of_objects(hsm), *_of_files(hsm)]


def _of_the_hsm(hsm: Hsm) -> Iterator[Defect]:
    if not hsm.token.session.healthy():
        yield Defect(DEFECT_STORAGE, "", "", "the token does not answer: its storage is gone or cannot be read")
    if hsm.masking_check.damaged:
        yield Defect(DEFECT_MASKING_KEY, "", "", "it is not the key that was put there")
    elif hsm.masking_check.unproven:
        yield Defect(DEFECT_MASKING_KEY_UNPROVEN, "", "", "what proves it is not there or damaged")
    for name in hsm.token.key_pairs.lost:
        yield Defect(DEFECT_KEY_PAIR, name, "", "it is not there, or does not do what it is for")


def _of_keys(hsm: Hsm) -> Iterator[Defect]:
    for key in hsm.keys.table:
        if key.damaged:
            yield Defect(DEFECT_DAMAGED_KEY, key.label, key.id, "it fails its check")
        if key.owner is None:
            yield Defect(DEFECT_UNOWNED_KEY, key.label, key.id, "no HSM user owns it")
        yield from _others(key)
    for stored in hsm.keys.table.quarantined:
        yield Defect(DEFECT_QUARANTINED, stored.label, stored.id, "it was quarantined")


def _others(key: Key) -> Iterator[Defect]:
    for _handle in key.handles[1:]:
        yield Defect(DEFECT_FOREIGN_OBJECT, key.label, key.id, "there is another object with this label and id")
    for _handle, id_ in key.others:
        yield Defect(DEFECT_FOREIGN_OBJECT, key.label, id_, f"the label belongs to the key with the id {key.id}")


def _of_objects(hsm: Hsm) -> Iterator[Defect]:
    for one in hsm.keys.debris:
        yield Defect(DEFECT_DEBRIS if one.nameless else DEFECT_ODD_OBJECT, one.label, "", one.reason)


def _of_files(hsm: Hsm) -> Iterator[Defect]:
    try:
        for file in set_aside.files(hsm.folder):
            yield Defect(DEFECT_SET_ASIDE, file.name, "", file.reason)
        for stray in set_aside.strays(hsm.tokens):
            yield Defect(DEFECT_STRAY_FILE, stray.name, "", stray.reason)
    except OSError as error:
        yield Defect(DEFECT_STORAGE, "", "", f"the HSM's folder cannot be read ({error.strerror})")
