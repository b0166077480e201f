"""Bring an HSM up to date before it serves: users, keys made meanwhile, objects that must not stay.

The HSM is in standby while this runs, so nobody meets a half-updated one. A key made between the listing and `serve`
needs no second look: an HSM that is asked for a key it lacks gets it from the masked key (cluster.py).
"""

from __future__ import annotations

import logging
from collections.abc import Mapping

from django.db import transaction

from hsmapp import credentials, reconcile
from hsmapp.device.protocol import HsmAnswerError, HsmUnreachableError
from hsmapp.models import ClusterCredential, Hsm, HsmOnPreviousPassword, KeyIntent
from hsmapp.reconcile import Report
from hsmapp.replication import SHORT_SECONDS, Device
from hsmapp.states import IntentState

logger = logging.getLogger(__name__)


def bring_up_to_date(device: Device) -> Report:
    """Give the HSM what it missed and take from it what must go. Safe to run twice."""
    _change_passwords(device)
    return reconcile.reconcile(device, check_keys=False)


def clean(intent: KeyIntent, devices: Mapping[str, Device]) -> None:
    """Destroy what an abandoned intent left on these HSMs, and note which are still to go."""
    left = [hsm_id for hsm_id in intent.hsms if hsm_id not in devices or not _cleaned(devices[hsm_id], intent)]
    if left != intent.hsms:
        KeyIntent.objects.filter(pk=intent.pk, state=IntentState.ABANDONED).update(hsms=left)


def _cleaned(device: Device, intent: KeyIntent) -> bool:
    try:
        device.ask_within(SHORT_SECONDS, "destroy_key", label=intent.label, id=intent.backing_key_id)
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
