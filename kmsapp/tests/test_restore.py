"""R17: backup and restore with real tokens: matched and mismatched pairs, tokens gone, restores that are killed."""

from __future__ import annotations

import os
import re
import secrets
import shutil
import signal
import sqlite3
import stat
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest

from hsmapp import restore_journal
from kmsapp.testing import ROOT, Casemate, clean_environment, free_port, stopped_server
from kmsapp.tests.past_installation import (
    Past,
    assert_everything_opens,
    changed_backup,
    command,
    contents,
    copies,
    make_past,
    manage,
    served,
    surroundings,
)
from kmsapp.tests.token_copies import HSMS

KILLS = int(os.environ.get("CASEMATE_RESTORE_KILLS", "6"))


@pytest.fixture(scope="module")
def past(stopped_server: Path, tmp_path_factory: pytest.TempPathFactory) -> Past:
    return make_past(stopped_server, tmp_path_factory.mktemp("past"))


def restored(data: Path, backup: Path, *options: str | Path) -> str:
    done = manage(data, "restore", backup, *options)
    assert done.returncode == 0, done.stderr
    return done.stdout


def assert_refused(done: subprocess.CompletedProcess[str], sentence: str) -> None:
    assert done.returncode == 2, done
    assert sentence in done.stderr, done.stderr
    assert done.stderr.count("\n") == 1, f"not one line: {done.stderr}"


def differences(report: str, kind: str) -> dict[str, set[str]]:
    """HSM id -> key ARNs that `restore` lists as this kind."""
    found: dict[str, set[str]] = {}
    hsm_id = ""
    for line in report.splitlines():
        words = line.split()
        if words and words[0] in HSMS:
            hsm_id = words[0]
            found[hsm_id] = set()
        elif len(words) == 3 and words[0] == kind:
            found[hsm_id].add(words[1])
    return found


def keys_in_tokens(casemate: Casemate, folder: Path) -> dict[str, set[str]]:
    shutil.rmtree(folder, ignore_errors=True)
    return {
        hsm_id: {label for label in token.ask()["keys"] if label.startswith("arn:")}
        for hsm_id, token in copies(casemate, folder).items()
    }


def test_a_backup_of_a_running_service_is_one_file_for_its_owner_alone(past: Past) -> None:
    folder = past.t0.backup.parent
    assert {path.name for path in folder.iterdir()} == {"backup", "hsm"}, "nothing else is left beside it"
    assert stat.S_IMODE(past.t0.backup.stat().st_mode) == 0o600


def test_a_matched_pair_has_no_difference_and_every_key_decrypts(past: Past, tmp_path: Path) -> None:
    data = past.folder(tmp_path / "data", past.t0.tokens)
    report = restored(data, past.t0.backup)
    for kind in ("missing", "damaged", "unknown"):
        assert differences(report, kind) == {hsm_id: set() for hsm_id in HSMS}
    with served(data) as casemate:
        assert_everything_opens(casemate, past.t0.sealed, tmp_path / "copies")
    print(f"R17 matched pair: {len(past.t0.sealed)} keys of T0 decrypt")


def test_all_tokens_gone_and_every_key_decrypts_from_database_and_master_key_file(past: Past, tmp_path: Path) -> None:
    data = past.folder(tmp_path / "data")
    key_file = tmp_path / "kept elsewhere"
    (data / "secret" / "master.key").rename(key_file)
    assert_refused(manage(data, "restore", past.t1.backup), "There is no master key file at")
    report = restored(data, past.t1.backup, "--master-key-file", key_file)
    assert report.count("no token") == len(HSMS)
    assert "has the masking key of cluster-1a23b4cdefg again, from its backup key" in report
    assert not (data / "secret" / "master.key").exists()
    key_file.rename(data / "secret" / "master.key")
    with served(data) as casemate:
        assert_everything_opens(casemate, past.t1.sealed, tmp_path / "copies")
        kms = casemate.boto3("kms")
        made = kms.create_key(Origin="AWS_CLOUDHSM", CustomKeyStoreId="cks-1234567890abcdef0")
        assert made["KeyMetadata"]["Enabled"]
        cluster = casemate.boto3("cloudhsmv2").describe_clusters()["Clusters"][0]
        assert cluster["State"] == "ACTIVE"
    print(f"R17 all tokens gone: {len(past.t1.sealed)} keys decrypt, and are in the tokens of both HSMs")


def test_tokens_newer_than_the_database_are_listed_and_nothing_in_them_is_destroyed(past: Past, tmp_path: Path) -> None:
    """The whole installation of T1 takes the database of T0.

    An intent was open then and done later; the deletion of a key, due long ago, was pending then and cancelled later.
    """
    data = tmp_path / "data"
    shutil.copytree(past.data, data, ignore=shutil.ignore_patterns("run", "static"))
    intended, scheduled = sorted(past.later)[0], sorted(past.t0.sealed)[0]
    statements = open_intent(data, intended), pending_deletion(scheduled)
    backup = changed_backup(past.t0.backup, data, tmp_path / "backup", *statements)
    before = contents(data)
    report = manage(data, "restore", "--check", backup).stdout
    assert differences(report, "unknown") == dict.fromkeys(HSMS, past.later)
    assert report.endswith("Nothing was changed.\n")
    assert contents(data) == before
    report = restored(data, backup)
    assert differences(report, "unknown") == dict.fromkeys(HSMS, past.later)
    for hsm_id in HSMS:
        assert f"{hsm_id}: kmsuser has the password of the backup again." in report
    with served(data) as casemate:
        kms = casemate.boto3("kms")
        assert kms.describe_key(KeyId=scheduled)["KeyMetadata"]["KeyState"] == "PendingDeletion"
        assert "the database was restored from a backup" in casemate.manage("clock", "show")
        kms.cancel_key_deletion(KeyId=scheduled)
        kms.enable_key(KeyId=scheduled)
        assert_everything_opens(casemate, past.t0.sealed, tmp_path / "copies")
        (state,) = query(data, "SELECT state FROM hsmapp_keyintent WHERE label = ?", intended)
        assert state == ("restored",)
        held = keys_in_tokens(casemate, tmp_path / "copies")
        assert all(past.later <= keys for keys in held.values()), (
            "the jobs and the supervisor left them where they were"
        )
    (kept,) = (data / "replaced").glob("*/casemate.sqlite3")
    assert kept.stat().st_size > 0
    restored(data, past.t1.backup)
    with served(data) as casemate:
        assert_everything_opens(casemate, past.t1.sealed, tmp_path / "later copies")
    print(
        f"R17 tokens newer: {len(past.later)} keys listed on each HSM, none destroyed, and back with the later backup"
    )


def open_intent(data: Path, label: str) -> tuple[str, tuple[object, ...]]:
    """An intent that was open at T0, of a key that was acknowledged after T0."""
    ((id_,),) = query(data, "SELECT backing_key_id FROM hsmapp_maskedkey WHERE label = ?", label)
    columns = "cluster_id, label, backing_key_id, attempt, hsms, state, reserves, requested_by, created_at, deadline"
    hsms = '["hsm-abcdefghijk", "hsm-zyxwvutsrqp"]'
    long_ago = "2020-01-01 00:00:00"
    return (
        f"INSERT INTO hsmapp_keyintent ({columns}) SELECT id, ?, ?, 1, ?, 'open', '', '', ?, ? FROM hsmapp_cluster",  # noqa: S608 - our own names
        (label, id_, hsms, long_ago, long_ago),
    )


def pending_deletion(arn: str) -> tuple[str, tuple[object, ...]]:
    """A deletion of the key that was scheduled and due long ago."""
    return (
        "UPDATE kmsapp_kmskey SET key_state = 'PendingDeletion', deletion_scheduled_at = ?, deletion_date = ? "
        "WHERE key_id = ?",
        ("2020-01-01 00:00:00", "2020-01-08 00:00:00", arn.rpartition("/")[2]),
    )


def query(data: Path, statement: str, *parameters: object) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(data / "casemate.sqlite3")) as database:
        return database.execute(statement, parameters).fetchall()


def test_a_database_newer_than_the_tokens_is_listed_and_every_key_is_made_again(past: Past, tmp_path: Path) -> None:
    data = past.folder(tmp_path / "data", past.t0.tokens)
    report = restored(data, past.t1.backup)
    assert differences(report, "missing") == dict.fromkeys(HSMS, past.later)
    assert differences(report, "unknown") == {hsm_id: set() for hsm_id in HSMS}
    with served(data) as casemate:
        assert_everything_opens(casemate, past.t1.sealed, tmp_path / "copies")
    print(f"R17 database newer: {len(past.later)} keys listed on each HSM and made again")


def test_a_second_restore_changes_nothing(past: Past, tmp_path: Path) -> None:
    data = past.folder(tmp_path / "data", past.t1.tokens)
    restored(data, past.t0.backup)
    before = contents(data)
    report = restored(data, past.t0.backup)
    assert "nothing to do there" in report
    assert contents(data) == before
    print(f"R17 second run: {len(before)} files unchanged")


def test_tokens_of_another_installation_are_put_aside_and_kept(past: Past, tmp_path: Path) -> None:
    """A new machine whose server was started before the restore: its demo has HSMs of the same names."""
    another = stopped_server(tmp_path / "another")  # from nothing: copies of one installation have one PIN
    data = past.folder(tmp_path / "data", another / "hsm")
    report = restored(data, past.t0.backup)
    assert report.count("its PIN is wrong") == 2 * len(HSMS), report
    (kept,) = (data / "replaced").iterdir()
    for hsm_id in HSMS:
        theirs, put_aside = contents(another / "hsm" / hsm_id), contents(kept / "hsm" / hsm_id)
        assert theirs.keys() == put_aside.keys()
    assert "has the masking key of cluster-1a23b4cdefg again" in report


def test_what_does_not_belong_together_is_refused_and_nothing_is_changed(past: Past, tmp_path: Path) -> None:
    data = past.folder(tmp_path / "data", past.t0.tokens)
    newer = ("INSERT INTO django_migrations (app, name, applied) VALUES ('hsmapp', '9999_later', '2030-01-01')", ())
    later_schema = changed_backup(past.t0.backup, data, tmp_path / "newer", newer)
    damaged = tmp_path / "damaged"
    damaged.write_bytes(past.t0.backup.read_bytes()[:-1])
    wrong_key, no_key = tmp_path / "wrong key", tmp_path / "no key"
    wrong_key.write_bytes(bytes(32))
    no_key.write_bytes(b"too short")
    before = contents(data)
    assert_refused(manage(data, "restore", past.t0.backup, "--master-key-file", wrong_key), "another master key")
    assert_refused(manage(data, "restore", past.t0.backup, "--master-key-file", no_key), "must be 32 bytes")
    assert_refused(manage(data, "restore", later_schema), "newer than this code (hsmapp.9999_later is unknown here)")
    assert_refused(manage(data, "restore", damaged), "is damaged: it is not what was written")
    assert_refused(manage(data, "restore", tmp_path / "nowhere"), "can't be read")
    assert contents(data) == before


def test_a_running_installation_is_backed_up_and_never_restored_into(casemate: Casemate, tmp_path: Path) -> None:
    shown = casemate.manage("backup", str(tmp_path / "backup"))
    assert re.search(r"backup: [\d,]+ bytes, 1 clusters, 2 HSMs, \d+ keys, 0 open intents", shown)
    assert_refused(manage(casemate.data, "restore", tmp_path / "backup"), "A server is running on the data folder")


def test_a_backup_that_has_no_room_leaves_nothing_behind(casemate: Casemate, tmp_path: Path) -> None:
    done = manage(casemate.data, "backup", tmp_path / "no such folder" / "backup")
    assert_refused(done, "can't be written")
    assert list(tmp_path.iterdir()) == []


def test_a_restore_that_is_killed_is_run_again_and_works(past: Past, tmp_path: Path) -> None:
    """Tokens gone and an older database in place: every step has something to do. No server starts in between."""
    data = past.folder(tmp_path / "data")
    shutil.copy(past.data / "casemate.sqlite3", data)
    old = (data / "casemate.sqlite3").read_bytes()
    seconds = timed_restore(past, tmp_path / "measure")
    seen = {"before the database": 0, "after it": 0}
    number = 0
    while number < KILLS or not seen["after it"]:  # the machine may have become slower since the measurement
        was_killed = killed_restore(data, past.t0.backup, seconds * (number + secrets.randbelow(1000) / 1000) / KILLS)
        number += 1
        assert number < 5 * KILLS, seen
        replaced = (data / "casemate.sqlite3").read_bytes() != old
        seen["after it" if replaced else "before the database"] += 1
        if was_killed and restore_journal.is_unfinished(data):  # else it had done its work, and was about to end
            assert_refused(start(data), "was cut short: run manage.py restore again")
    report = restored(data, past.t0.backup)
    (kept,) = (data / "replaced").glob("*/casemate.sqlite3")
    assert kept.read_bytes() == old
    with served(data) as casemate:
        assert_everything_opens(casemate, past.t0.sealed, tmp_path / "copies")
    print(f"R17: {number} kills of a restore of {seconds:.1f} s {seen}; the next run restored everything")
    assert report.endswith("Restored. bin/serve brings the HSMs up to date.\n")


def timed_restore(past: Past, folder: Path) -> float:
    data = past.folder(folder)
    started = time.monotonic()
    restored(data, past.t0.backup)
    return time.monotonic() - started


def killed_restore(data: Path, backup: Path, after_seconds: float) -> bool:
    """Kill a restore after this time; return whether it was still under way."""
    with subprocess.Popen(command("restore", backup), **surroundings(data), stdout=subprocess.DEVNULL) as process:
        try:
            process.wait(after_seconds)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
        return process.wait() != 0


def start(data: Path) -> subprocess.CompletedProcess[str]:
    """A start of the server that is expected to be refused."""
    return subprocess.run(
        [sys.executable, "-m", "console.serving", "--data", data, "--port", str(free_port())],
        cwd=ROOT,
        env=clean_environment(),
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
