"""Findings are rows: one open per subject, whoever notes it, and none for a key that an active HSM may have sound."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from django.db import IntegrityError, connection, transaction

from hsmapp import clock, epochs, findings
from hsmapp.findings import Subject
from hsmapp.models import Finding, Hsm
from hsmapp.states import FindingKind, HsmState
from hsmapp.tests.cluster_row import ACCOUNT, new_cluster

LABEL = "arn:aws:kms:us-west-2:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab"


def subject(*, states: tuple[HsmState, ...] = (HsmState.ACTIVE, HsmState.ACTIVE)) -> Subject:
    """A key of a new cluster with an HSM in each of the states: hsm-0, hsm-1, …"""
    cluster = new_cluster()
    for number, state in enumerate(states):
        Hsm.objects.create(
            hsm_id=f"hsm-{number}",
            cluster=cluster,
            availability_zone="us-west-2a",
            subnet_id="subnet-1",
            eni_id="eni-1",
            eni_ip="10.0.0.1",
            state=state,
            wanted=False,
            pin_sealed=b"",
            so_pin_sealed=b"",
            created_at=clock.now(),
        )
    return Subject(cluster, FindingKind.AT_FAULT, label=LABEL, backing_key_id="ab" * 32)


@pytest.mark.django_db
def test_a_finding_is_one_row_until_it_is_resolved_and_then_history() -> None:
    key = subject()
    assert findings.note(key, "first")
    assert not findings.note(key, "second")
    (row,) = findings.open_of(key.cluster)
    assert (row.detail, row.hsm, findings.is_at_fault(LABEL)) == ("second", None, True)
    assert findings.resolve(key)
    assert not findings.resolve(key)
    assert not findings.open_of(key.cluster).exists() and not findings.is_at_fault(LABEL)
    assert findings.note(key, "again")
    assert Finding.objects.count() == 2


@pytest.mark.django_db
@pytest.mark.parametrize("of_an_hsm", [True, False])
def test_the_database_itself_refuses_a_second_open_row(of_an_hsm: bool) -> None:
    key = subject()
    hsm = key.cluster.hsms.first() if of_an_hsm else None
    now = clock.now()
    same = {"cluster": key.cluster, "hsm": hsm, "kind": key.kind, "label": LABEL, "found_at": now, "seen_at": now}
    Finding.objects.create(**same, resolved_at=now)
    Finding.objects.create(**same)
    with pytest.raises(IntegrityError), transaction.atomic():
        Finding.objects.create(**same)


@pytest.mark.django_db(transaction=True)
def test_many_that_note_the_same_at_once_make_one_row() -> None:
    key = subject()

    def note(_: int) -> bool:
        try:
            return findings.note(key, "seen by many")
        finally:
            connection.close()

    with ThreadPoolExecutor(8) as threads:
        news = list(threads.map(note, range(24)))
    assert sum(news) == 1 and Finding.objects.count() == 1


@pytest.mark.django_db
def test_every_worker_learns_of_a_finding_by_the_accounts_epoch() -> None:
    key = subject()
    before = epochs.current(ACCOUNT)
    findings.note(key, "")
    noted = epochs.current(ACCOUNT)
    findings.note(key, "")
    assert before < noted == epochs.current(ACCOUNT)
    findings.resolve(key)
    assert epochs.current(ACCOUNT) > noted


@pytest.mark.django_db
def test_a_key_is_at_fault_only_when_no_active_hsm_was_left_out() -> None:
    key = subject(states=(HsmState.ACTIVE, HsmState.ACTIVE, HsmState.DEGRADED, HsmState.DELETED))
    assert not findings.note_refusals(key, {"hsm-0": "MaskedKeyWrong"})
    assert not Finding.objects.exists()
    assert findings.note_refusals(key, {"hsm-0": "MaskedKeyWrong", "hsm-1": "MaskedKeyWrong"})
    (row,) = findings.open_of(key.cluster)
    assert "hsm-0: MaskedKeyWrong, hsm-1: MaskedKeyWrong" in row.detail
    assert "Not asked: hsm-2" in row.detail and "hsm-3" not in row.detail
