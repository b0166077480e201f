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
    due = CustomKeyStore.objects.select_related("cluster", "credential__cluster").filter(
        connection_state__in=[ConnectionState.CONNECTING, ConnectionState.DISCONNECTING], transition_due_at__lte=now
    )
    return sum(_carry_out_one(store, now) for store in due)


def _carry_out_one(store: CustomKeyStore, now: datetime.datetime) -> int:
    lease = now + datetime.timedelta(seconds=LEASE_SECONDS)
    claimed = CustomKeyStore.objects.filter(
        pk=store.pk, connection_state=store.connection_state, transition_due_at=store.transition_due_at
    ).update(transition_due_at=lease)
    if claimed != 1:
        return 0
    if store.connection_state == ConnectionState.CONNECTING:
        _connect(store)
    else:
        credentials.disconnect(store.credential)
        _end(store, ConnectionState.DISCONNECTING, ConnectionState.DISCONNECTED)
    return 1


def _connect(store: CustomKeyStore) -> None:
    try:
        credentials.connect(store.credential)
    except ConnectError as error:
        logger.warning("%s can't connect: %s %s", store.custom_key_store_id, error.code, error)
        _end(store, ConnectionState.CONNECTING, ConnectionState.FAILED, error_code=error.code)
        return
    _end(store, ConnectionState.CONNECTING, ConnectionState.CONNECTED)


def _end(store: CustomKeyStore, begun: ConnectionState, state: ConnectionState, *, error_code: str = "") -> None:
    """Write the end state, unless the store has been told something else meanwhile (disconnect while connecting)."""
    with transaction.atomic():
        CustomKeyStore.objects.filter(pk=store.pk, connection_state=begun).update(
            connection_state=state, connection_error_code=error_code, transition_due_at=None
        )
        epochs.raise_epoch(store.account)
