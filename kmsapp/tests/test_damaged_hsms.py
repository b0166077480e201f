"""R3, and damage to an HSM as a whole: good keys work, and the HSM is repaired or says what is wrong with it."""

from __future__ import annotations

import os
import shutil
from contextlib import ExitStack
from pathlib import Path

import pytest

from hsmapp import hsm_processes, hsms, keeper, mending
from hsmapp.device import set_aside
from hsmapp.device.protocol import HsmUnreachableError
from hsmapp.hsm_processes import HsmProcess
from hsmapp.models import Finding, Hsm, MaskedKey
from hsmapp.replication import Device
from hsmapp.testing import state_of, wait_until
from hsmapp.tests import token_files
from kmsapp import demo
from kmsapp.errors import CloudHsmClusterInvalidConfigurationException
from kmsapp.tests.one_hsm import FIRST, SECOND, kill, labels, opens_on, restarted, runs, wait_for_successor
from kmsapp.tests.people import answers, call, create_key, decrypt, encrypt
from kmsapp.tests.small_disk import filled, small_disk
from kmsapp.tests.test_reconcile import changes, compare


def folder_of(installation: Path, hsm_id: str) -> Path:
    return installation / "hsm" / hsm_id


def message_of(hsm_id: str) -> str:
    return str(Hsm.objects.values_list("state_message", flat=True).get(hsm_id=hsm_id))


def assert_whole(*key_ids: str) -> None:
    """Each HSM has every key, each key opens there, and there is nothing to repair any more."""
    rows = set(MaskedKey.objects.values_list("label", flat=True))
    for hsm_id in (FIRST, SECOND):
        assert labels(hsm_id) == rows
        assert all(opens_on(hsm_id, key_id) for key_id in key_ids)
    assert [changes(row) for row in compare()] == [0, 0]


def test_half_written_objects_keep_no_hsm_from_its_good_keys(installation: Path) -> None:
    """The shapes that kill -9 leaves behind: no key type, no value, an empty file, a truncated one, a lone lock."""
    key_ids = [create_key() for _ in range(4)]
    tokens = folder_of(installation, FIRST) / "tokens"
    with restarted(FIRST, installation):
        sample = token_files.keys(tokens)[0]
        planted = [sample.with_name(f"0000000{number}-aaaa-bbbb-cccc-dddddddddddd.object") for number in range(4)]
        for path in planted:
            shutil.copyfile(sample, path)
        token_files.cut_before(planted[0], token_files.CKA_KEY_TYPE)
        token_files.cut_before(planted[1], token_files.CKA_VALUE)
        planted[2].write_bytes(b"")
        planted[3].write_bytes(sample.read_bytes()[:300])
        lock = sample.with_name("00000009-aaaa-bbbb-cccc-dddddddddddd.lock")
        lock.touch()
    assert {path.name for path in (folder_of(installation, FIRST) / set_aside.FOLDER).iterdir()} == {
        path.name for path in planted
    }
    assert not lock.exists()
    assert_whole(*key_ids)
    (finding,) = Finding.objects.filter(resolved_at=None)
    assert (finding.kind, finding.hsm and finding.hsm.hsm_id) == ("debris", FIRST)
    assert all(path.name in finding.detail or "4 of its files" in finding.detail for path in planted)
    print(f"R3: {len(planted)} half-written objects and a lone lock; {len(key_ids) + 1} keys work on both HSMs")


def test_a_damaged_masking_key_is_fetched_anew_from_a_peer(installation: Path) -> None:
    key_ids = [create_key() for _ in range(2)]
    with restarted(SECOND, installation):
        token_files.flip_value(token_files.masking_key(folder_of(installation, SECOND)))
    (repaired,) = Finding.objects.filter(kind="masking-key")
    assert repaired.resolved_at is not None and FIRST in repaired.detail
    assert_whole(*key_ids, create_key())


def test_a_peer_that_leaves_while_it_gives_its_masking_key_is_not_taken_for_the_hsm_that_gets_it(
    installation: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fetch, start = mending.fetch_masking_key, hsm_processes.start
    fetched: list[str] = []
    started: list[str] = []

    def leaves_at_first(device: Device, peer: Device) -> None:
        fetched.append(device.hsm.hsm_id)
        if len(fetched) == 1:
            raise HsmUnreachableError("no answer from the HSM process to wrap_masking_key")
        fetch(device, peer)

    def noted(hsm: Hsm) -> HsmProcess:
        started.append(hsm.hsm_id)
        return start(hsm)

    monkeypatch.setattr(mending, "fetch_masking_key", leaves_at_first)
    with restarted(SECOND, installation):
        token_files.flip_value(token_files.masking_key(folder_of(installation, SECOND)))
        monkeypatch.setattr(hsm_processes, "start", noted)
    assert (fetched, started) == ([SECOND, SECOND], [SECOND])
    assert_whole(create_key())


def test_without_any_sound_masking_key_the_keys_work_and_new_ones_are_refused(
    installation: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keeper, "PEER_SECONDS", 1.0)
    blob = encrypt(demo.KEY_ID, b"kept")
    with restarted(FIRST, installation), restarted(SECOND, installation):
        for hsm_id in (FIRST, SECOND):
            token_files.flip_value(token_files.masking_key(folder_of(installation, hsm_id)))
    wait_until(lambda: state_of(FIRST) == state_of(SECOND) == "ACTIVE", "both HSMs to serve")
    assert Finding.objects.filter(kind="masking-key", resolved_at=None).count() == 2
    assert {decrypt(blob) for _ in range(6)} == {b"kept"}
    with pytest.raises(CloudHsmClusterInvalidConfigurationException):
        create_key()


@pytest.mark.parametrize("damage", ["deleted", "emptied", "no token file", "a truncated token file", "no users"])
def test_an_hsm_whose_storage_is_lost_is_made_anew_with_all_keys(
    installation: Path, damage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keeper, "REPLACE_AFTER_SECONDS", 0.5)
    key_ids = [create_key() for _ in range(3)]
    blobs = [encrypt(key_id, key_id.encode()) for key_id in key_ids]
    folder = folder_of(installation, FIRST)
    with restarted(FIRST, installation):
        (token,) = (folder / "tokens").glob("*/token.object")
        match damage:
            case "deleted":
                shutil.rmtree(folder)
            case "emptied":
                for path in folder.rglob("*.object"):
                    path.unlink()
            case "no token file":
                token.unlink()
            case "a truncated token file":
                os.truncate(token, 100)
            case "no users":
                (folder / "users").unlink()
        assert [decrypt(blob) for blob in blobs] == [key_id.encode() for key_id in key_ids]
    assert_whole(*key_ids, create_key())
    assert not Finding.objects.filter(kind="storage", resolved_at=None).exists()
    if damage not in ("deleted", "no users"):
        (kept,) = (installation / "replaced").glob(f"*/hsm/{FIRST}")
        assert any(kept.rglob("*")), "what was there is not destroyed"


def test_storage_that_goes_away_under_a_running_hsm_is_not_taken_for_deleted_keys(
    installation: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keeper, "REPLACE_AFTER_SECONDS", 0.5)
    key_ids = [create_key() for _ in range(3)]
    blobs = [encrypt(key_id, key_id.encode()) for key_id in key_ids]
    before = MaskedKey.objects.count()
    shutil.rmtree(folder_of(installation, SECOND) / "tokens")
    for _ in range(3):
        assert [decrypt(blob) for blob in blobs] == [key_id.encode() for key_id in key_ids]
    wait_until(lambda: state_of(SECOND) != "ACTIVE", "the loss to be noticed")
    wait_until(lambda: state_of(SECOND) == "ACTIVE", "the HSM to have a new token")
    assert MaskedKey.objects.count() == before
    assert_whole(*key_ids)


def test_all_tokens_lost_is_said_and_comes_back_with_the_storage(
    installation: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keeper, "REPLACE_AFTER_SECONDS", 0.5)
    blob = encrypt(demo.KEY_ID, b"kept")
    both = [folder_of(installation, hsm_id) for hsm_id in (FIRST, SECOND)]
    for hsm in Hsm.objects.select_related("cluster"):
        hsms.stop(hsm)
    wait_until(lambda: not any(_runs(installation)), "both processes to end")
    for folder in both:
        folder.rename(folder.with_suffix(".away"))
    for hsm in Hsm.objects.select_related("cluster"):
        hsms.start(hsm)
    wait_until(lambda: all("make and restore a backup" in message_of(one) for one in (FIRST, SECOND)), "the reason")
    assert {state_of(FIRST), state_of(SECOND)} == {"DEGRADED"}
    assert Finding.objects.filter(kind="storage", resolved_at=None).count() == 2
    assert call("DescribeKey", KeyId=demo.KEY_ID)["KeyMetadata"]["KeyState"] == "Enabled"
    for folder in both:
        shutil.rmtree(folder, ignore_errors=True)
        folder.with_suffix(".away").rename(folder)
    wait_until(lambda: state_of(FIRST) == state_of(SECOND) == "ACTIVE", "both HSMs to serve again")
    wait_until(lambda: answers(blob), "calls to be answered again")
    assert decrypt(blob) == b"kept"
    assert not Finding.objects.filter(kind="storage", resolved_at=None).exists()


def test_a_token_lost_from_a_file_system_of_its_own_is_put_aside_inside_it(
    installation: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keeper, "REPLACE_AFTER_SECONDS", 0.5)
    folder = folder_of(installation, SECOND)
    with ExitStack() as disks:
        with restarted(SECOND, installation):
            disks.enter_context(small_disk(folder, mib=4))
            (token,) = (folder / "tokens").glob("*/token.object")
            token.unlink()
        assert_whole(create_key())
        (kept,) = (folder / "replaced").iterdir()
        assert list(kept.glob("tokens/*/*.object")), "what was there is not destroyed"
        (finding,) = Finding.objects.filter(kind="storage")
        assert finding.resolved_at is not None and f"hsm/{SECOND}/replaced/{kept.name}" in finding.detail
        hsms.stop(Hsm.objects.select_related("cluster").get(hsm_id=SECOND))
        wait_until(lambda: not runs(SECOND, installation), "the process to end")


def test_half_an_object_on_a_full_disk_keeps_no_hsm_from_its_good_keys(installation: Path) -> None:
    key_ids = [create_key() for _ in range(2)]
    folder = folder_of(installation, SECOND)
    with ExitStack() as disks:
        with restarted(SECOND, installation):
            disks.enter_context(small_disk(folder, mib=4))
            (sample, *_) = token_files.keys(folder)
            half = sample.with_name("00000000-aaaa-bbbb-cccc-dddddddddddd.object")
            half.write_bytes(sample.read_bytes()[:300])
            disks.enter_context(filled(folder))
        assert (folder / set_aside.FOLDER / half.name).exists()
        assert all(opens_on(SECOND, key_id) for key_id in key_ids)
        hsms.stop(Hsm.objects.select_related("cluster").get(hsm_id=SECOND))
        wait_until(lambda: not runs(SECOND, installation), "the process to end")


def test_a_lost_token_that_can_not_be_put_aside_is_said_and_ends_no_keeper(
    installation: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(keeper, "REPLACE_AFTER_SECONDS", 0.0)
    (installation / "replaced").write_text("no folder")
    with restarted(SECOND, installation):
        (token,) = (folder_of(installation, SECOND) / "tokens").glob("*/token.object")
        token.rename(installation / "token.object")
        hsms.start(Hsm.objects.select_related("cluster").get(hsm_id=SECOND))
        wait_until(lambda: "can't be put aside: Not a directory" in message_of(SECOND), "the reason")
        (installation / "token.object").rename(token)
    assert opens_on(SECOND, demo.KEY_ID)
    assert not [record for record in caplog.records if record.exc_info]


def _runs(installation: Path) -> list[bool]:

    return [runs(hsm_id, installation) for hsm_id in (FIRST, SECOND)]


def test_a_folder_that_can_not_be_used_is_said_and_nothing_is_replaced(
    installation: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file where the folder of tokens should be stands for all that the system refuses: root may read everything."""
    monkeypatch.setattr(keeper, "REPLACE_AFTER_SECONDS", 0.0)
    tokens = folder_of(installation, FIRST) / "tokens"
    blob = encrypt(demo.KEY_ID, b"kept")
    hsms.stop(Hsm.objects.select_related("cluster").get(hsm_id=FIRST))
    wait_until(lambda: not runs(FIRST, installation), "the process to end")
    tokens.rename(tokens.with_name("elsewhere"))
    tokens.write_text("")
    hsms.start(Hsm.objects.select_related("cluster").get(hsm_id=FIRST))
    wait_until(lambda: "can't be used: File exists" in message_of(FIRST), "the reason")
    assert state_of(FIRST) == "DEGRADED" and decrypt(blob) == b"kept"
    tokens.unlink()
    tokens.with_name("elsewhere").rename(tokens)
    wait_until(lambda: state_of(FIRST) == "ACTIVE", "the HSM to serve again")
    assert opens_on(FIRST, demo.KEY_ID)
    assert not (installation / "replaced").exists()


def test_key_pairs_that_were_lost_are_made_anew_and_trusted_again(installation: Path) -> None:
    before = {row.hsm_id: row.certificate for row in Hsm.objects.all()}
    tokens = folder_of(installation, SECOND)
    with restarted(SECOND, installation):
        for path in token_files.objects(tokens):
            if path not in token_files.keys(tokens) and path != token_files.masking_key(tokens):
                path.unlink()
        token_files.masking_key(tokens).unlink()  # so that the new transport key is used at once
    after = {row.hsm_id: row.certificate for row in Hsm.objects.all()}
    assert after[FIRST] == before[FIRST] and after[SECOND] != before[SECOND]
    assert_whole(create_key())
    killed = kill(SECOND, installation)
    wait_for_successor(SECOND, killed, installation)
    assert {row.hsm_id: row.certificate for row in Hsm.objects.all()} == after
