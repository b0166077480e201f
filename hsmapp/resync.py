"""Bring an HSM up to date before it serves: users, keys made meanwhile, objects that must not stay.

The HSM is in standby while this runs, so nobody meets a half-updated one. A key made between the listing and `serve`
needs no second look: an HSM that is asked for a key it lacks gets it from the masked key (cluster.py).
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from django.db import transaction

from hsmapp import credentials
from hsmapp.device import protocol
from hsmapp.device.protocol import HsmAnswerError, HsmUnreachableError
from hsmapp.models import ClusterCredential, Hsm, HsmOnPreviousPassword, KeyIntent, MaskedKey, Tombstone
from hsmapp.replication import CONTROL_SECONDS, SHORT_SECONDS, Device
from hsmapp.states import IntentState

logger = logging.getLogger(__name__)

_PAGE = 500


@dataclass
class Report:
    """What was done, for the log and for people."""

    restored: int = 0
    destroyed: int = 0
    refused: int = 0  # masked keys that this HSM could not open


def bring_up_to_date(device: Device) -> Report:
    """Give the HSM what it missed and take from it what must go. Safe to run twice."""
    _change_passwords(device)
    report = Report()
    present = set(keys_in(device))
    for label, backing_key_id in _unwanted(device, present):
        report.destroyed += _destroy(device, label, backing_key_id)
        present.discard((label, backing_key_id))
    for row in MaskedKey.objects.filter(cluster_id=device.hsm.cluster_id).iterator(_PAGE):
        if (row.label, row.backing_key_id) not in present:
            _restore(device, row, report)
    return report


def clean(intent: KeyIntent, devices: Mapping[str, Device]) -> None:
    """Destroy what an abandoned intent left on these HSMs, and note which are still to go."""
    left = [hsm_id for hsm_id in intent.hsms if hsm_id not in devices or not _cleaned(devices[hsm_id], intent)]
    if left != intent.hsms:
        KeyIntent.objects.filter(pk=intent.pk, state=IntentState.ABANDONED).update(hsms=left)


def _cleaned(device: Device, intent: KeyIntent) -> bool:
    try:
        _destroy(device, intent.label, intent.backing_key_id, seconds=SHORT_SECONDS)
    except (HsmAnswerError, HsmUnreachableError) as error:
        logger.warning("%s can't destroy %s: %s", device.hsm.hsm_id, intent.label, error)
        return False
    return True


def _change_passwords(device: Device) -> None:
    for late in HsmOnPreviousPassword.objects.filter(hsm=device.hsm).select_related("credential__cluster"):
        credential = late.credential
        device.ask("change_password", user=credential.user_name, password=credentials.current_password(credential))
        with transaction.atomic():
            # Under the lock that a connect holds while it writes such notes: if the password has changed again since
            # it was read, the note is needed again.
            Hsm.objects.select_for_update().get(pk=device.hsm.pk)
            now = ClusterCredential.objects.get(pk=credential.pk)
            if bytes(now.password_sealed) == bytes(credential.password_sealed):
                late.delete()


def keys_in(device: Device) -> Iterator[tuple[str, str]]:
    """(label, backing key id) of every key the token holds."""
    after = ""
    while True:
        page = device.ask("list_keys", after=after, limit=_PAGE)
        for row in page["keys"]:
            yield row[0], row[1]
        after = page["next"]
        if not after:
            return


def _unwanted(device: Device, present: set[tuple[str, str]]) -> list[tuple[str, str]]:
    """Keys here that nobody was ever told about, and keys deleted while this HSM was away.

    Only what an abandoned intent or a tombstone names is destroyed; an object that nobody knows stays where it is.
    """
    cluster = device.hsm.cluster_id
    intents = KeyIntent.objects.filter(cluster_id=cluster, state=IntentState.ABANDONED)
    named = set(intents.values_list("label", "backing_key_id"))
    named |= set(Tombstone.objects.filter(cluster_id=cluster).values_list("label", "backing_key_id"))
    acknowledged = MaskedKey.objects.filter(cluster_id=cluster, backing_key_id__in=[pair[1] for pair in named])
    named -= set(acknowledged.values_list("label", "backing_key_id"))
    return sorted(named & present)


def _destroy(device: Device, label: str, backing_key_id: str, *, seconds: float = CONTROL_SECONDS) -> int:
    destroyed: int = device.ask_within(seconds, "destroy_key", label=label, id=backing_key_id)["destroyed"]
    return destroyed


def _restore(device: Device, row: MaskedKey, report: Report) -> None:
    try:
        device.ask(
            "restore_key",
            label=row.label,
            id=row.backing_key_id,
            owner=row.owner,
            masked=bytes(row.masked),
            check=bytes(row.check_ciphertext),
        )
        report.restored += 1
    except HsmAnswerError as error:
        # One key that can't be restored must not keep the HSM, and all its good keys, from serving.
        if error.name == protocol.TOKEN_FAILED:
            raise
        logger.error("%s can't restore %s: %s", device.hsm.hsm_id, row.label, error.name)
        report.refused += 1
