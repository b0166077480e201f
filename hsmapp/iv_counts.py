"""Counts the IVs of keys in HSMs whose PKCS#11 module makes them at random, as AWS CloudHSM's does.

96 random bits repeat sooner or later, so NIST SP 800-38D (8.3) allows 2^32 of them for one key, over all HSMs. A
process reserves them by blocks in the database before it uses the first, so that neither a kill -9 nor a restart of
anything turns the count back: what is left of a block then is lost, never used twice.

Such an HSM encrypts nothing that is not said to be counted, and that answer is how a process learns it: clusters
whose HSM processes make the IVs are never asked for anything here.
"""

from __future__ import annotations

import os
import threading
from typing import Any

from django.db.models import F

from hsmapp.device import protocol
from hsmapp.device.protocol import Connection, HsmAnswerError
from hsmapp.errors import IvsUsedUpError
from hsmapp.models import ReservedIvs

BLOCK = 1 << 16
# The check ciphertext took one when the key was made.
MAX_IVS = (1 << 32) - 1

_lock = threading.Lock()
_left: dict[tuple[int, str], int] = {}  # (cluster, label) -> IVs of this process's block that are not used yet
_counting: set[int] = set()  # clusters that have an HSM which wants its IVs counted


def forget() -> None:
    """Give up this process's blocks: what a new process has. Two processes never use one block."""
    _left.clear()
    _counting.clear()


os.register_at_fork(after_in_child=forget)


def encrypt(
    connection: Connection, cluster_pk: int, label: str, args: dict[str, Any], *, deadline_seconds: float
) -> dict[str, Any]:
    """Ask an HSM to encrypt, and count the IV first if it makes IVs itself.

    Raises: IvsUsedUpError, and what Connection.call raises.
    """
    if cluster_pk not in _counting:
        try:
            return connection.call("encrypt", args, deadline_seconds=deadline_seconds)
        except HsmAnswerError as error:
            if error.name != protocol.IV_NOT_COUNTED:
                raise
        _counting.add(cluster_pk)
    # Before each request, not each message: one that was not answered may have been carried out.
    take(cluster_pk, label)
    return connection.call("encrypt", args | {"counted": True}, deadline_seconds=deadline_seconds)


def take(cluster_pk: int, label: str) -> None:
    """Use up one IV of the key. Raises: IvsUsedUpError."""
    with _lock:
        left = _left.get((cluster_pk, label), 0) or _reserve(cluster_pk, label)
        _left[cluster_pk, label] = left - 1


def _reserve(cluster_pk: int, label: str) -> int:
    row, _made = ReservedIvs.objects.get_or_create(cluster_id=cluster_pk, label=label)
    room = ReservedIvs.objects.filter(pk=row.pk, reserved__lte=MAX_IVS - BLOCK)
    if not room.update(reserved=F("reserved") + BLOCK):
        raise IvsUsedUpError(f"{label} has encrypted {MAX_IVS:,} times, which is as often as its HSMs allow.")
    return BLOCK
