"""What was deleted must go from every HSM: tombstones, and how they are carried out.

On an HSM that serves the supervisor does it (Undertaker): at once, and once more when everybody who had read the masked
key has let go of it; then the HSM is taken off the tombstone, and with the last one the tombstone goes. An HSM that was
away does it when it is compared with the database (reconcile.py).
"""

from __future__ import annotations

import datetime
import logging
import time
from collections.abc import Collection, Mapping

from django.db import transaction
from django.db.models import BooleanField, ExpressionWrapper, Q
from django.db.models.functions import Now

from hsmapp import findings, steps
from hsmapp.device.protocol import HsmAnswerError, HsmUnreachableError
from hsmapp.findings import Subject
from hsmapp.models import Hsm, Tombstone
from hsmapp.replication import SHORT_SECONDS, Device
from hsmapp.states import FindingKind, HsmState
from hsmapp.steps import Step

logger = logging.getLogger(__name__)

# Whoever has read a masked key has by then made the object that it was read for, or never will: a call that makes an
# HSM a key which it lacks waits for cluster.CALL_SECONDS.
LET_GO_SECONDS = 10
LOOK_EVERY_SECONDS = 0.5
AGAIN_SECONDS = 30.0  # until an HSM that could not do it is asked again
MOST_AT_ONCE = 50  # so that a supervisor's round stays short
LEFT_BEHIND = "Its KMS key was deleted while the key store was disconnected. It is kept in the token, and not used."

Task = tuple[int, str]  # tombstone, HSM id


def let_go() -> Q:
    """The tombstones whose object nobody is left to make again, by the clock that wrote them."""
    return Q(created_at__lt=Now() - datetime.timedelta(seconds=LET_GO_SECONDS))


def confirm(pk: int, hsm_id: str) -> None:
    """This HSM has carried the tombstone out. With its last HSM it goes, unless it says what objects stay."""
    with transaction.atomic():
        tombstone = Tombstone.objects.select_for_update().filter(pk=pk).first()
        if tombstone is None or hsm_id not in tombstone.hsms:
            return
        rows = Hsm.objects.filter(cluster=tombstone.cluster_id).exclude(state=HsmState.DELETED)
        there = set(rows.values_list("hsm_id", flat=True)) - {hsm_id}
        tombstone.hsms = [one for one in tombstone.hsms if one in there]
        if tombstone.hsms or tombstone.leaves_objects:
            tombstone.save(update_fields=["hsms"])
        else:
            tombstone.delete()


class Undertaker:
    """Carries tombstones out on the HSMs of one machine."""

    def __init__(self) -> None:
        self._look_at = 0.0  # monotonic, as all times here
        self._asked_until: dict[Task, float] = {}  # what has been asked -> when it is asked again

    def round(self, devices: Mapping[str, Device]) -> None:
        """devices: by HSM id, those that run here."""
        now = time.monotonic()
        if now < self._look_at:
            return
        self._look_at = now + LOOK_EVERY_SECONDS
        is_let_go = ExpressionWrapper(let_go(), output_field=BooleanField())
        rows = Tombstone.objects.exclude(hsms=[]).annotate(is_let_go=is_let_go).order_by("pk")
        waiting: dict[Task, Tombstone] = {(row.pk, hsm_id): row for row in rows for hsm_id in row.hsms}
        self._asked_until = {task: until for task, until in self._asked_until.items() if task in waiting}
        due = [task for task in waiting if task[1] in devices and self._asked_until.get(task, 0.0) <= now]
        serving = _serving(devices) if due else set()
        for task in [task for task in due if task[1] in serving][:MOST_AT_ONCE]:
            self._carry_out(waiting[task], devices[task[1]])
        steps.leave()

    def _carry_out(self, tombstone: Tombstone, device: Device) -> None:
        task = tombstone.pk, device.hsm.hsm_id
        try:
            carry_out(tombstone, device)
        except (HsmAnswerError, HsmUnreachableError) as error:
            logger.warning("%s still holds %s: %s", device.hsm.hsm_id, tombstone, error)
            self._asked_until[task] = time.monotonic() + AGAIN_SECONDS
            return
        steps.reach(Step.OBJECT_DESTROYED)
        if tombstone.is_let_go:  # type: ignore[attr-defined]  # annotated
            confirm(*task)
        else:
            self._asked_until[task] = time.monotonic() + LET_GO_SECONDS


def _serving(devices: Collection[str]) -> set[str]:
    """The others are brought up to date before they serve, which does all of it."""
    rows = Hsm.objects.filter(hsm_id__in=list(devices), state=HsmState.ACTIVE)
    return set(rows.values_list("hsm_id", flat=True))


def carry_out(tombstone: Tombstone, device: Device) -> None:
    """Destroy the tombstone's objects in an HSM, or put aside what stays.

    Raises: HsmAnswerError, HsmUnreachableError.
    """
    what = {"label": tombstone.label, "id": tombstone.backing_key_id}
    if not tombstone.leaves_objects:
        device.ask_within(SHORT_SECONDS, "release_key", **what)  # it may have been put aside as a stranger
        device.ask_within(SHORT_SECONDS, "destroy_key", **what)
    elif device.ask_within(SHORT_SECONDS, "quarantine_key", **what)["objects"]:
        findings.note(orphaned(tombstone, device.hsm), LEFT_BEHIND)


def orphaned(tombstone: Tombstone, hsm: Hsm) -> Subject:
    """What is listed of an HSM that holds objects which stay."""
    return Subject(hsm.cluster, FindingKind.ORPHANED, hsm, tombstone.label, tombstone.backing_key_id)
