"""New HSMs, and starting and stopping them.

A row is enough: the supervisor starts a process for every HSM that is wanted, and makes its token the first time.
"""

from __future__ import annotations

import secrets

from django.db import transaction
from django.db.models import Q

from hsmapp import clock, epochs, sealing
from hsmapp.models import Cluster, Hsm, HsmOnPreviousPassword
from hsmapp.states import HSM_CREATED, HSM_STARTING, HSM_STOPPED, HsmState

_TABLE = "hsmapp_hsm"


def new_hsm(cluster: Cluster, *, hsm_id: str, availability_zone: str, subnet_id: str, eni_id: str, eni_ip: str) -> Hsm:
    """Write the row of a new HSM, with PINs of its own."""
    keyring = sealing.keyring()
    return Hsm.objects.create(
        hsm_id=hsm_id,
        cluster=cluster,
        availability_zone=availability_zone,
        subnet_id=subnet_id,
        eni_id=eni_id,
        eni_ip=eni_ip,
        state=HsmState.CREATE_IN_PROGRESS,
        pin_sealed=keyring.seal(_pin(), purpose=sealing.HSM_PIN, table=_TABLE, row=hsm_id),
        so_pin_sealed=keyring.seal(_pin(), purpose=sealing.HSM_SO_PIN, table=_TABLE, row=hsm_id),
        created_at=clock.now(),
    )


def _pin() -> bytes:
    return secrets.token_hex(16).encode()


def pin(hsm: Hsm) -> str:
    return sealing.keyring().open(hsm.pin_sealed, purpose=sealing.HSM_PIN, table=_TABLE, row=hsm.hsm_id).decode()


def so_pin(hsm: Hsm) -> str:
    return sealing.keyring().open(hsm.so_pin_sealed, purpose=sealing.HSM_SO_PIN, table=_TABLE, row=hsm.hsm_id).decode()


def stop(hsm: Hsm) -> None:
    """Take the HSM out: the supervisor ends its process and does not start it again until `start`."""
    _set(hsm, wanted=False, state=HsmState.DEGRADED, state_message=HSM_STOPPED)


def start(hsm: Hsm) -> None:
    """Let the supervisor start the HSM's process; it serves once it is up to date."""
    _set(hsm, wanted=True)


def none_runs() -> None:
    """No HSM process runs on this machine (yet): say so, so that nobody is told that an HSM serves before it does, nor
    what was wrong with it when the last process ended.
    """
    to_run = Q(state=HsmState.ACTIVE) | Q(state=HsmState.DEGRADED, wanted=True)
    for hsm in Hsm.objects.select_related("cluster").filter(to_run):
        set_state(hsm, HsmState.DEGRADED, HSM_STARTING)


def let_in(hsm: Hsm) -> bool:
    """Make an HSM that serves ACTIVE, unless it was stopped or a password has changed since it was brought up to date.

    The same lock is held while a changed password is noted for HSMs that are away (credentials.py), so an HSM is
    either counted as active there, or finds the note here.
    """
    with transaction.atomic():
        row = Hsm.objects.select_for_update().get(pk=hsm.pk)
        if not row.wanted or HsmOnPreviousPassword.objects.filter(hsm=row).exists():
            return False
        _set(hsm, state=HsmState.ACTIVE, state_message=HSM_CREATED, serving_since=clock.now())
        return True


def set_state(hsm: Hsm, state: HsmState, message: str) -> None:
    """Write a state that the supervisor has seen, if it is news."""
    if (hsm.state, hsm.state_message) != (state, message):
        _set(hsm, state=state, state_message=message)


def _set(hsm: Hsm, **fields: object) -> None:
    for name, value in fields.items():
        setattr(hsm, name, value)
    with transaction.atomic():
        hsm.save(update_fields=list(fields))
        epochs.raise_epoch(hsm.cluster.account)
