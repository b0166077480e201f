"""What the tokens of a stopped installation hold, beside what a database says that they should.

For `restore`, which has no supervisor: it starts each HSM's process itself, as their parent, and asks it. Nothing is
destroyed here, and nothing in a token is changed.
"""

from __future__ import annotations

import subprocess
from contextlib import ExitStack
from dataclasses import dataclass, field
from enum import StrEnum

from hsmapp import hsm_processes
from hsmapp.hsm_processes import TOKEN_UNUSABLE, NotReadyError
from hsmapp.models import Hsm, MaskedKey
from hsmapp.reconcile import keys_in
from hsmapp.replication import Device
from hsmapp.states import HsmState


class Storage(StrEnum):
    """What there is of an HSM."""

    OPENS = "opens"
    GONE = "gone"
    UNUSABLE = "unusable"  # something is there that the PIN in the database does not open


class Kind(StrEnum):
    """How a token differs from the database."""

    MISSING = "missing"
    DAMAGED = "damaged"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class Difference:
    hsm_id: str
    kind: Kind
    label: str
    backing_key_id: str


@dataclass
class Surveyed:
    """One HSM. reason: why it is unusable. device: its process, while that runs."""

    hsm: Hsm
    storage: Storage
    reason: str = ""
    device: Device | None = None
    has_masking_key: bool = False
    keys: int = 0
    differences: list[Difference] = field(default_factory=list)


def survey(using: str, processes: ExitStack) -> list[Surveyed]:
    """Look into the token of every HSM of a database. Sorted by cluster.

    using: the database's alias.  processes: ends those of the HSMs that open.
    Raises: SoftHsmMissingError, ProcessEndedError for a failure that is not the token's.
    """
    rows = Hsm.objects.using(using).select_related("cluster").exclude(state=HsmState.DELETED)
    return [_look(hsm, processes) for hsm in rows.order_by("cluster_id", "hsm_id")]


def _look(hsm: Hsm, processes: ExitStack) -> Surveyed:
    if not any((hsm_processes.hsm_folder(hsm.hsm_id) / "tokens").rglob("token.object")):
        return Surveyed(hsm, Storage.GONE)
    try:
        device = started(hsm, processes)
    except NotReadyError as error:
        if error.status != TOKEN_UNUSABLE:
            raise
        return Surveyed(hsm, Storage.UNUSABLE, reason=error.said)
    found = Surveyed(hsm, Storage.OPENS, device=device)
    found.has_masking_key = device.ask("masking_key")["present"]
    _compare(found, device)
    return found


def started(hsm: Hsm, processes: ExitStack) -> Device:
    """The process of an HSM, until `processes` ends it. Raises: ProcessEndedError, OSError, SoftHsmMissingError."""
    process = hsm_processes.start(hsm, stderr=subprocess.DEVNULL)
    processes.callback(process.stop)
    return Device(hsm, process.connect(hsm.hsm_id))


def _compare(found: Surveyed, device: Device) -> None:
    hsm = found.hsm
    using = hsm._state.db
    present = {(label, id_) for label, id_, _ in keys_in(device)}
    found.keys = len(present)
    for row in MaskedKey.objects.using(using).filter(cluster_id=hsm.cluster_id).order_by("label").iterator(500):
        if (row.label, row.backing_key_id) not in present:
            found.differences.append(Difference(hsm.hsm_id, Kind.MISSING, row.label, row.backing_key_id))
            continue
        present.discard((row.label, row.backing_key_id))
        if not device.ask("check_key", label=row.label, check=bytes(row.check_ciphertext))["good"]:
            found.differences.append(Difference(hsm.hsm_id, Kind.DAMAGED, row.label, row.backing_key_id))
    found.differences += [Difference(hsm.hsm_id, Kind.UNKNOWN, *pair) for pair in sorted(present)]
