"""R2: what is in an HSM's token and what the database says come to agree, and a second comparison changes nothing."""

from __future__ import annotations

import datetime
import secrets
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.test import Client
from django.urls import reverse

from hsmapp import clock, hsms, jobs, key_creation, reconcile, tombstones
from hsmapp.device import protocol
from hsmapp.device.protocol import HsmAnswerError
from hsmapp.management.commands import hsm as hsm_command
from hsmapp.models import Finding, Hsm, KeyIntent, MaskedKey, Reconciliation, Tombstone
from hsmapp.replication import Device
from hsmapp.testing import wait_until
from hsmapp.tests import token_files
from kmsapp import demo
from kmsapp.models import User
from kmsapp.tests.one_hsm import FIRST, SECOND, labels, logged_in, opens_on, restarted, runs
from kmsapp.tests.people import ALICE, ELSEWHERE, call, create_key, decrypt, encrypt

STRANGER = f"arn:aws:kms:us-west-2:{demo.ACCOUNT}:key/00000000-0000-0000-0000-000000000000"


def compare(*hsm_ids: str) -> list[Reconciliation]:
    """Have HSMs compared, and return what was done on each."""
    rows = list(Hsm.objects.filter(hsm_id__in=hsm_ids or (FIRST, SECOND)).order_by("hsm_id"))
    asked_at = reconcile.ask(rows)
    done = Reconciliation.objects.filter(begun_at__gte=asked_at)
    wait_until(lambda: done.values("hsm").distinct().count() == len(rows), "the comparison")
    return [done.filter(hsm=row).latest("finished_at") for row in rows]


def changes(row: Reconciliation) -> int:
    return row.restored + row.repaired + row.destroyed + row.quarantined + row.cleared + row.failed


def plant(hsm_id: str, label: str = STRANGER) -> tuple[str, str]:
    """Make a key in one HSM that no row names, as kmsuser; return label and id."""
    id_ = secrets.token_hex(32)
    with logged_in(hsm_id) as hsm:
        made = hsm.call("generate_key", {"label": label, "id": id_}, deadline_seconds=5)
        hsm.call("restore_key", {"label": label, "id": id_, **made}, deadline_seconds=5)
    return label, id_


def test_what_nobody_knows_is_put_aside_and_listed_and_a_second_run_changes_nothing(installation: Path) -> None:
    key_id = create_key()
    plant(SECOND)
    (first,) = compare(SECOND)
    assert (first.quarantined, changes(first)) == (1, 1)
    assert STRANGER not in labels(SECOND)
    (finding,) = Finding.objects.filter(resolved_at=None)
    assert (finding.kind, finding.label, finding.hsm and finding.hsm.hsm_id) == ("orphan", STRANGER, SECOND)
    with restarted(SECOND, installation):
        pass
    again = compare()
    assert [changes(row) for row in again] == [0, 0]
    assert Finding.objects.filter(resolved_at=None).count() == 1, "it stays listed, once"
    assert decrypt(encrypt(key_id, b"kept")) == b"kept"
    print(f"R2: 1 unknown key put aside and listed, {again[0].keys} keys as they should be, 0 changes by a second run")


def test_what_nobody_was_told_of_or_was_deleted_is_destroyed(
    installation: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster = Hsm.objects.get(hsm_id=FIRST).cluster
    given_up, deleted = plant(FIRST, STRANGER), plant(FIRST, f"{STRANGER[:-1]}1")
    being_made = plant(FIRST, f"{STRANGER[:-1]}2")
    now, hour = clock.now(), datetime.timedelta(hours=1)
    for (label, id_), state, deadline in ((given_up, "abandoned", now - hour), (being_made, "open", now + hour)):
        KeyIntent.objects.create(
            # Without HSMs: nobody but the comparison looks for it.
            **{"cluster": cluster, "label": label, "backing_key_id": id_, "hsms": []},
            state=state,
            created_at=now,
            deadline=deadline,
        )
    label, id_ = deleted
    # Made so long ago that a comparison confirms it; nobody but the comparison carries it out.
    monkeypatch.setattr(tombstones.Undertaker, "round", lambda *_: None)
    told = {"cluster": cluster, "label": label, "backing_key_id": id_, "hsms": [FIRST, SECOND]}
    Tombstone.objects.create(**told, created_at=now - hour)
    (first,) = compare(FIRST)
    assert (first.destroyed, first.quarantined) == (2, 0)
    assert labels(FIRST) - set(MaskedKey.objects.values_list("label", flat=True)) == {being_made[0]}
    assert Tombstone.objects.get().hsms == [SECOND], "the other HSM has not confirmed yet"
    compare(SECOND)
    assert not Tombstone.objects.exists()
    assert not Finding.objects.filter(resolved_at=None).exists()


def test_what_was_put_aside_is_destroyed_once_an_abandoned_intent_names_it(installation: Path) -> None:
    label, id_ = plant(SECOND)
    assert [row.quarantined for row in compare(SECOND)] == [1]
    now, hour = clock.now(), datetime.timedelta(hours=1)
    KeyIntent.objects.create(
        cluster=Hsm.objects.get(hsm_id=SECOND).cluster,
        label=label,
        backing_key_id=id_,
        hsms=[],
        state="abandoned",
        created_at=now - hour,
        deadline=now - hour,
    )
    assert [row.destroyed for row in compare(SECOND)] == [1]
    assert not Finding.objects.filter(resolved_at=None).exists()
    with restarted(SECOND, installation):
        pass
    assert [changes(row) for row in compare()] == [0, 0]


def test_an_intent_is_being_made_or_let_go_of_at_every_moment(installation: Path) -> None:
    """However its deadline and state change meanwhile, an object that an intent names is never taken for a stranger."""
    cluster = Hsm.objects.get(hsm_id=FIRST).cluster
    now, second = clock.now(), datetime.timedelta(seconds=1)
    pairs = [plant(FIRST, f"{STRANGER[:-2]}{number:02}") for number in range(12)]
    for number, (label, id_) in enumerate(pairs):
        deadline = now - (key_creation.LET_GO_SECONDS - 2) * second + number * second / 4
        KeyIntent.objects.create(
            cluster=cluster,
            label=label,
            backing_key_id=id_,
            hsms=[],
            state="abandoned" if number % 2 else "open",
            created_at=now,
            deadline=deadline,
        )
    runs = 0
    while KeyIntent.objects.filter(label__in=[label for label, _ in pairs]).exclude(state="abandoned").exists() or (
        labels(FIRST) & {label for label, _ in pairs}
    ):
        assert [row.quarantined for row in compare(FIRST)] == [0]
        jobs.run_due()
        runs += 1
    assert not Finding.objects.exists()
    print(f"R2: {len(pairs)} intents that were given up during {runs} comparisons: 0 taken for strangers")


def test_what_can_not_be_destroyed_is_not_confirmed_and_tried_again(
    installation: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    label, id_ = plant(FIRST)
    told = {"cluster": Hsm.objects.get(hsm_id=FIRST).cluster, "label": label, "backing_key_id": id_, "hsms": [FIRST]}
    monkeypatch.setattr(tombstones.Undertaker, "round", lambda *_: None)
    tombstone = Tombstone.objects.create(**told, created_at=clock.now() - datetime.timedelta(hours=1))
    ask = Device.ask

    def refuses(device: Device, op: str, **args: Any) -> dict[str, Any]:
        if op == "destroy_key":
            raise HsmAnswerError(protocol.TOKEN_FAILED, "the token cannot destroy a key")
        return ask(device, op, **args)

    with monkeypatch.context() as patch:
        patch.setattr(Device, "ask", refuses)
        compare(FIRST)
        assert Tombstone.objects.filter(pk=tombstone.pk, hsms=[FIRST]).exists()
        assert Finding.objects.get(resolved_at=None).detail.startswith("It can't be destroyed: ")
    (second,) = compare(FIRST)
    assert (second.destroyed, second.quarantined) == (1, 0)
    assert not Tombstone.objects.exists() and not Finding.objects.filter(resolved_at=None).exists()


def test_what_was_put_aside_and_is_known_to_be_deleted_since_is_destroyed(
    installation: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tombstones.Undertaker, "round", lambda *_: None)
    label, id_ = plant(FIRST)
    (first,) = compare(FIRST)
    assert first.quarantined == 1
    told = {"cluster": Hsm.objects.get(hsm_id=FIRST).cluster, "label": label, "backing_key_id": id_, "hsms": [FIRST]}
    Tombstone.objects.create(**told, created_at=clock.now() - datetime.timedelta(hours=1))
    (second,) = compare(FIRST)
    assert (second.destroyed, changes(second)) == (1, 1)
    assert not Tombstone.objects.exists() and not Finding.objects.filter(resolved_at=None).exists()
    with restarted(FIRST, installation):
        pass
    (third,) = compare(FIRST)
    assert changes(third) == 0 and label not in labels(FIRST)


def test_a_key_that_vanished_is_made_again(installation: Path) -> None:
    before = set(token_files.keys(installation / "hsm" / FIRST))
    key_ids = [create_key() for _ in range(4)]
    blobs = [encrypt(key_id, key_id.encode()) for key_id in key_ids]
    with restarted(FIRST, installation):
        for path in set(token_files.keys(installation / "hsm" / FIRST)) - before:
            path.unlink()
    wait_until(lambda: Reconciliation.objects.filter(hsm__hsm_id=FIRST, restored=4).exists(), "the comparison")
    assert all(opens_on(FIRST, key_id) for key_id in key_ids)
    assert [decrypt(blob) for blob in blobs] == [key_id.encode() for key_id in key_ids]
    assert [changes(row) for row in compare()] == [0, 0]


def test_a_key_whose_bit_flipped_is_repaired_before_anyone_uses_it(installation: Path) -> None:
    with restarted(SECOND, installation):
        files = token_files.keys(installation / "hsm" / SECOND)
        for path in files:
            token_files.flip_value(path)
    wait_until(
        lambda: Reconciliation.objects.filter(hsm__hsm_id=SECOND, repaired=len(files)).exists(), "the comparison"
    )
    assert opens_on(SECOND, demo.KEY_ID)
    history = Finding.objects.filter(kind="damaged")
    assert history.count() == len(files) and not history.filter(resolved_at=None).exists()


def test_a_key_that_can_not_be_made_again_is_listed_until_it_can(installation: Path) -> None:
    key_id = create_key()
    row = MaskedKey.objects.get(kms_key__key_id=key_id)
    sound = bytes(row.masked)
    with logged_in(FIRST) as hsm:
        hsm.call("destroy_key", {"label": row.label, "id": row.backing_key_id}, deadline_seconds=5)
    MaskedKey.objects.filter(pk=row.pk).update(masked=bytes(40))
    (first,) = compare(FIRST)
    assert (first.failed, first.restored) == (1, 0)
    (finding,) = Finding.objects.filter(resolved_at=None)
    assert (finding.kind, finding.label) == ("missing", row.label)
    MaskedKey.objects.filter(pk=row.pk).update(masked=sound)
    (second,) = compare(FIRST)
    assert (second.failed, second.restored) == (0, 1)
    assert not Finding.objects.filter(resolved_at=None).exists()


def test_the_command_reports_what_was_done_and_what_stays_wrong(
    installation: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plant(FIRST)
    call_command("hsm", "reconcile")
    shown = capsys.readouterr().out
    assert f"{FIRST}  keys as they should be: 1; 1 unknown, quarantined" in shown
    assert f"{SECOND}  keys as they should be: 1; nothing to do" in shown
    assert f"Unknown key  {FIRST}  {STRANGER}" in shown
    call_command("hsm", "reconcile", FIRST)
    assert f"{FIRST}  keys as they should be: 1; nothing to do" in capsys.readouterr().out
    with pytest.raises(CommandError, match="There is no HSM hsm-nowhere"):
        call_command("hsm", "reconcile", "hsm-nowhere")


def test_the_command_reports_what_was_compared_beside_an_hsm_that_is_away(
    installation: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hsm_command, "ANSWER_SECONDS", 3.0)
    monkeypatch.setattr(hsm_command, "PATIENT_SECONDS", 0.5)
    plant(SECOND)
    hsms.stop(Hsm.objects.select_related("cluster").get(hsm_id=FIRST))
    wait_until(lambda: not runs(FIRST, installation), "the process to end")
    with pytest.raises(CommandError, match=f"^{FIRST}: not compared within 3 s"):
        call_command("hsm", "reconcile", FIRST, SECOND)
    shown = capsys.readouterr()
    assert f"{FIRST}  not compared: it is DEGRADED. The HSM was stopped." in shown.out
    assert f"{SECOND}  keys as they should be: 1; 1 unknown, quarantined" in shown.out
    assert f"Unknown key  {SECOND}  {STRANGER}" in shown.out
    assert f"Waiting for {FIRST}, which is DEGRADED. The HSM was stopped." in shown.err


def test_the_cluster_page_shows_what_was_compared_found_and_repaired_to_its_own_account(installation: Path) -> None:
    plant(FIRST)
    with restarted(SECOND, installation):
        for path in token_files.keys(installation / "hsm" / SECOND):
            token_files.flip_value(path)
    compare()
    answer = call("console:ListFindings", ALICE, ClusterId=demo.CLUSTER_ID)
    assert [row["HsmId"] for row in answer["Reconciliations"]] == [FIRST, SECOND]
    assert [row["Title"] for row in answer["Repaired"]] == ["Damaged key"]
    assert call("console:ListFindings", ELSEWHERE, ClusterId=demo.CLUSTER_ID)["Reconciliations"] == []
    alice = Client()
    alice.force_login(User.objects.get(account_id=demo.ACCOUNT, user_name="alice"))
    shown = alice.get(reverse("console:cluster", args=[demo.CLUSTER_ID])).content.decode()
    for part in ("Unknown key", STRANGER, "Damaged key", reverse("console:key", args=[demo.KEY_ID]), "On request"):
        assert part in shown, part
