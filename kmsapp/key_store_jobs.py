"""The second half of connecting and disconnecting a key store: what CONNECTING and DISCONNECTING announce.

Whoever moves the due time of such a row by a conditional UPDATE carries it out; if that process is killed, the row is
due again after LEASE_SECONDS, and a password rotation that was begun is finished (hsmapp/credentials.py).
"""

from __future__ import annotations

import datetime
import logging

from django.conf import settings
from django.db import transaction

from hsmapp import clock, credentials, epochs, jobs
from hsmapp.errors import ConnectError
from hsmapp.models import ClusterCredential
from kmsapp.models import CustomKeyStore
from kmsapp.models.key_stores import ConnectionState

logger = logging.getLogger(__name__)

LEASE_SECONDS = 30


def carry_out_if_immediate() -> None:
    """With immediate transitions the call itself sees the end state, as tests and lessons want it."""
    if settings.IMMEDIATE:
        carry_out(clock.now())


@jobs.handler("connect and disconnect key stores")
def carry_out(now: datetime.datetime) -> int:
    announced = CustomKeyStore.objects.select_related("cluster", "credential__cluster").filter(
        connection_state__in=[ConnectionState.CONNECTING, ConnectionState.DISCONNECTING]
    )
    # On wall time, whatever the account's clock shows: the due time is also the lease of whoever is at work on HSMs.
    return sum(_carry_out_one(store, now) for store in clock.due(announced, "transition_due_at", now=now))


def _carry_out_one(store: CustomKeyStore, now: datetime.datetime) -> int:
    lease = now + datetime.timedelta(seconds=LEASE_SECONDS)
    claimed = CustomKeyStore.objects.filter(
        pk=store.pk, connection_state=store.connection_state, transition_due_at=store.transition_due_at
    ).update(transition_due_at=lease)
    if claimed != 1:
        return 0
    if store.connection_state == ConnectionState.CONNECTING:
        state, error_code = _connect(store)
        _end(store, lease, state, error_code=error_code)
    else:
        _disconnect(store)
        _end(store, lease, ConnectionState.DISCONNECTED)
    return 1


def _connect(store: CustomKeyStore) -> tuple[ConnectionState, str]:
    try:
        credentials.connect(store.credential)
    except ConnectError as error:
        logger.warning("%s can't connect: %s %s", store.custom_key_store_id, error.code, error)
        return ConnectionState.FAILED, error.code
    except Exception:  # the job's last stage: whatever it was, the store must not be CONNECTING for ever
        logger.exception("%s can't connect", store.custom_key_store_id)
        return ConnectionState.FAILED, "INTERNAL_ERROR"
    return ConnectionState.CONNECTED, ""


def _disconnect(store: CustomKeyStore) -> None:
    try:
        credentials.disconnect(store.credential)
    except Exception:  # the job's last stage: a store that can't say goodbye is disconnected all the same
        logger.exception("%s can't log out", store.custom_key_store_id)


def _end(store: CustomKeyStore, lease: datetime.datetime, state: ConnectionState, *, error_code: str = "") -> None:
    """Write the end state, unless the store has been told something else, or the lease has passed to somebody else."""
    with transaction.atomic():
        ours = CustomKeyStore.objects.filter(
            pk=store.pk, connection_state=store.connection_state, transition_due_at=lease
        )
        if not ours.update(connection_state=state, connection_error_code=error_code, transition_due_at=None):
            return
        ClusterCredential.objects.filter(pk=store.credential.pk).update(connected=state == ConnectionState.CONNECTED)
        epochs.raise_epoch(store.account)
