"""Delete the keys whose waiting period is over.

A key is claimed by a conditional UPDATE in the transaction that deletes it, so a CancelKeyDeletion that was answered
has won for good, and of several processes one deletes it. That transaction takes everything: the key, its policy,
aliases, tags and grants, its masked key; and it writes the event and the tombstone by which the HSMs follow
(hsmapp/key_deletion.py).

Never early: what is due is held back while nobody can prove that the time has passed (hsmapp/clock_watch.py).
"""

from __future__ import annotations

import datetime
import json

from django.db import transaction

from hsmapp import clock, clock_watch, database_files, epochs, jobs, key_deletion, steps
from hsmapp.models import MaskedKey
from hsmapp.steps import Step
from kmsapp import audit
from kmsapp.models import Alias, CustomKeyStore, Grant, KmsKey, Tag
from kmsapp.models.key_stores import ConnectionState

MOST_AT_ONCE = 20  # keys, so that other jobs get their turn
# Whether a store is connected shows in a moment, so the deletion of its keys waits for that.
_CHANGING = {ConnectionState.CONNECTING, ConnectionState.DISCONNECTING}


@jobs.handler("delete keys")
def delete_due(now: datetime.datetime) -> int:
    pending = KmsKey.objects.filter(key_state=KmsKey.State.PENDING_DELETION)
    due = list(clock.due(pending, "deletion_date", now=now, account_field="account").order_by("deletion_date"))
    if not due:
        return 0
    holds = clock_watch.look_for_holds()
    deleted = 0
    for key in due:
        if deleted < MOST_AT_ONCE and not _is_held(key, holds):
            deleted += _delete(key)
    if deleted:
        database_files.forget_erased()
    steps.leave()
    return deleted


def _is_held(key: KmsKey, holds: clock_watch.Holds) -> bool:
    if key.deletion_confirmed_at is not None:
        return False
    if key.deletion_date is None or key.deletion_scheduled_at is None:
        return True  # no operation writes such a row
    return holds.on(key.account, scheduled_at=key.deletion_scheduled_at, due_at=key.deletion_date) is not None


def _delete(key: KmsKey) -> bool:
    """Delete the key, unless its deletion has been cancelled since it was read."""
    with transaction.atomic():
        steps.reach(Step.DELETING)
        store = CustomKeyStore.objects.select_for_update().filter(keys=key).first()
        material = MaskedKey.objects.select_related("cluster").filter(kms_key=key).first()
        if store is None or material is None or store.connection_state in _CHANGING:
            return False
        as_read = KmsKey.objects.filter(
            pk=key.pk, key_state=KmsKey.State.PENDING_DELETION, deletion_date=key.deletion_date
        )
        if as_read.update(material=None) != 1:
            return False
        audit.record_change(_event(key, store, material))
        for rows in (Alias.objects, Tag.objects, Grant.objects):
            rows.filter(key=key).delete()
        as_read.delete()
        key_deletion.erase(material, leave_objects=not store.is_connected)
        epochs.raise_epoch(key.account)
    steps.reach(Step.DELETED)
    return True


def _event(key: KmsKey, store: CustomKeyStore, material: MaskedKey) -> audit.Event:
    """https://docs.aws.amazon.com/kms/latest/developerguide/ct-delete-key.html"""
    backing_key = {"backingKeyId": material.backing_key_id}
    # The tombstone that is written with it sees to it that this comes true.
    status = "SUCCESS" if store.is_connected else "FAILURE"
    more = {
        "customKeyStoreId": store.custom_key_store_id,
        "clusterId": material.cluster.cluster_id,
        "backingKeys": json.dumps([backing_key]),
        "backingKeysDeletionStatus": json.dumps([{**backing_key, "deletionStatus": status}]),
    }
    return audit.service_event("DeleteKey", key.arn, more=more)
