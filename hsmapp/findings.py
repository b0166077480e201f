"""What is wrong in clusters, as rows that people read: noted when it is seen, resolved when it is right again.

One open row per cluster, HSM, kind and key, whoever sees it and however often. A resolved row stays as history. Noting
a key's finding raises the account's epoch, so every worker knows which keys have one (cluster.Material.at_fault) and
a key without one costs nothing.
"""

from __future__ import annotations

import datetime
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from django.db import IntegrityError, transaction
from django.db.models import QuerySet

from hsmapp import clock, epochs
from hsmapp.models import Cluster, Finding, Hsm
from hsmapp.states import FindingKind, HsmState

# A finding that callers meet at each call is written once in so long.
SEEN_EVERY = datetime.timedelta(minutes=1)
MAX_DETAIL = 300


@dataclass(frozen=True)
class Subject:
    """What a finding is about. hsm: None for what is wrong in the whole cluster."""

    cluster: Cluster
    kind: FindingKind
    hsm: Hsm | None = None
    label: str = ""  # key ARN
    backing_key_id: str = ""

    def rows(self) -> QuerySet[Finding]:
        """The open row, if there is one."""
        return Finding.objects.filter(**self._columns, resolved_at=None)

    def write(self, detail: str, *, found_at: datetime.datetime, resolved_at: datetime.datetime | None = None) -> None:
        """Write a row of it."""
        times = {"found_at": found_at, "seen_at": found_at, "resolved_at": resolved_at}
        Finding.objects.create(**self._columns, **times, detail=detail[:MAX_DETAIL])

    @property
    def _columns(self) -> dict[str, Any]:
        return {
            "cluster": self.cluster,
            "hsm": self.hsm,
            "kind": self.kind,
            "label": self.label,
            "backing_key_id": self.backing_key_id,
        }


def note(subject: Subject, detail: str) -> bool:
    """Write that this was seen now; True if it is news. detail: a sentence for people, without secrets."""
    now = clock.now()
    known = subject.rows().first()
    if known is not None:
        if known.detail != detail[:MAX_DETAIL] or now - known.seen_at >= SEEN_EVERY:
            subject.rows().update(detail=detail[:MAX_DETAIL], seen_at=now)
        return False
    try:
        with transaction.atomic():
            subject.write(detail, found_at=now)
            epochs.raise_epoch(subject.cluster.account)
    except IntegrityError:
        return False  # somebody else has just noted it
    return True


def note_refusals(subject: Subject, answers: dict[str, str]) -> bool:
    """Write that a key is at fault, if no active HSM is left that was not asked: that one may have it sound.

    answers: id of each HSM that refused the key -> name of its answer.
    """
    hsms = dict(subject.cluster.hsms.exclude(state=HsmState.DELETED).values_list("hsm_id", "state"))
    if {hsm_id for hsm_id, state in hsms.items() if state == HsmState.ACTIVE} - answers.keys():
        return False
    refusals = ", ".join(f"{hsm_id}: {name}" for hsm_id, name in sorted(answers.items()))
    away = ", ".join(sorted(hsms.keys() - answers.keys()))
    return note(subject, f"Refused by every active HSM ({refusals})." + (f" Not asked: {away}." if away else ""))


def resolve(subject: Subject) -> bool:
    """Write that it is right again; True if that is news."""
    with transaction.atomic():
        if not subject.rows().update(resolved_at=clock.now()):
            return False
        epochs.raise_epoch(subject.cluster.account)
    return True


def note_repaired(subject: Subject, detail: str) -> None:
    """Write that something was found and is right again already. detail: what was done, a sentence for people."""
    with transaction.atomic():
        now = clock.now()
        if subject.rows().update(detail=detail[:MAX_DETAIL], seen_at=now, resolved_at=now):
            epochs.raise_epoch(subject.cluster.account)
            return
        subject.write(detail, found_at=now, resolved_at=now)


def settle(hsm: Hsm, kinds: Collection[FindingKind], wrong: Mapping[Subject, str], *, complete: bool) -> None:
    """Write what is wrong with an HSM, each with a sentence. complete: nothing else of these kinds is wrong with it."""
    for subject, detail in wrong.items():
        note(subject, detail)
    if not complete:
        return
    for row in Finding.objects.filter(hsm=hsm, kind__in=kinds, resolved_at=None).select_related("cluster"):
        subject_of_row = Subject(row.cluster, FindingKind(row.kind), hsm, row.label, row.backing_key_id)
        if subject_of_row not in wrong:
            resolve(subject_of_row)


def repaired_lately(cluster: Cluster) -> QuerySet[Finding]:
    """What was wrong in the cluster and is right again, newest first."""
    return cluster.findings.exclude(resolved_at=None).select_related("hsm").order_by("-resolved_at", "-pk")


def open_of(cluster: Cluster) -> QuerySet[Finding]:
    """The cluster's open findings, newest first."""
    return cluster.findings.filter(resolved_at=None).select_related("hsm")


def is_at_fault(label: str) -> bool:
    """Whether a key is known to be usable on no HSM."""
    return Finding.objects.filter(label=label, kind=FindingKind.AT_FAULT, resolved_at=None).exists()
