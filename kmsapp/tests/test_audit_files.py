"""The audit files: every line proves the one before, every record is read in once, and no write means no answer."""

from __future__ import annotations

import hashlib
import json
import os
import resource
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.db import connection
from django.db.models import signals
from django.test.utils import CaptureQueriesContext

from hsmapp import clock, epochs
from hsmapp.testing import wait_until
from kmsapp import audit
from kmsapp.audit import ChainFile
from kmsapp.audit_reading import READ_LINES, read_in
from kmsapp.call import Call
from kmsapp.errors import NotFoundException
from kmsapp.models import AuditChain, AuditEvent
from kmsapp.tests.people import ALICE, admit, call

HEAD = len('{"chain":"') + 64 + len('","event":')
RECORDS = 1200  # more than two rounds of reading in


@pytest.fixture
def data(transactional_db: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A data folder of the test's own; no HSM runs in it."""
    monkeypatch.setattr(settings, "DATA", tmp_path)
    audit.close_file()
    epochs.forget_all()
    admit(ALICE)
    yield tmp_path
    audit.close_file()


@pytest.fixture
def chain(data: Path) -> ChainFile:
    return ChainFile(data / "audit")


def record(user_agent: str = "a test") -> dict[str, Any]:
    """The event of a call, as dispatch makes it."""
    caller = replace(ALICE, user_agent=user_agent)
    return audit.event(Call(caller, "kms", "ListKeys", {}, "request", read_only=True))


def verified(path: Path) -> int:
    """How many lines are as they were written, counted from the first: by the format's description, not by its code."""
    link = hashlib.sha256(path.stem.encode()).hexdigest()
    count = 0
    for line in path.read_text().splitlines():
        head, text = line[:HEAD], line[HEAD:-1]
        link = hashlib.sha256((link + text).encode()).hexdigest()
        if head != f'{{"chain":"{link}","event":' or not line.endswith("}"):
            break
        count += 1
    return count


def lines(chain: ChainFile) -> list[str]:
    return chain.path.read_text().splitlines()


def rewrite(chain: ChainFile, changed: list[str]) -> None:
    chain.path.write_text("".join(f"{line}\n" for line in changed))


def test_a_chain_verifies_line_by_line_and_shows_where_it_was_touched(chain: ChainFile) -> None:
    for number in range(20):
        chain.append(record(f"client {number}"))
    whole = lines(chain)
    assert verified(chain.path) == len(whole) == 20
    rewrite(chain, [*whole[:7], whole[7].replace("client 7", "client X"), *whole[8:]])
    assert verified(chain.path) == 7
    rewrite(chain, whole[:7] + whole[8:])
    assert verified(chain.path) == 7
    rewrite(chain, [*whole[:7], whole[8], whole[7], *whole[9:]])
    assert verified(chain.path) == 7
    rewrite(chain, whole[1:])
    assert verified(chain.path) == 0


def test_a_chain_of_another_file_does_not_verify(data: Path) -> None:
    first, second = ChainFile(data / "audit"), ChainFile(data / "audit")
    first.append(record())
    second.path.write_text(first.path.read_text())
    assert (verified(first.path), verified(second.path)) == (1, 0)


def test_lines_of_many_threads_form_one_chain(chain: ChainFile) -> None:
    def write() -> None:
        for _ in range(50):
            chain.append(record())

    threads = [threading.Thread(target=write) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert verified(chain.path) == 400


INJECTIONS = {
    "a newline": 'x\n{"chain":"0","event":{"eventName":"forged"}}',
    "a carriage return": "x\r\ny",
    "Unicode's line separators": "x\u2028y\u2029z\x85",
    "the end of a record": '"}}\n{"chain":"',
    "a NUL and an escape": "x\0\x1b[2J",
    "half a character": "x\ud800y",
}


@pytest.mark.parametrize("text", INJECTIONS.values(), ids=INJECTIONS)
def test_what_a_caller_sends_stays_within_one_line(chain: ChainFile, text: str) -> None:
    chain.append(record(text))
    chain.append(record())
    assert chain.path.read_bytes().count(b"\n") == 2
    assert verified(chain.path) == 2
    assert json.loads(lines(chain)[0])["event"]["userAgent"] == text


def test_a_files_owner_alone_reads_it(chain: ChainFile) -> None:
    assert (chain.path.stat().st_mode & 0o777, chain.path.parent.stat().st_mode & 0o777) == (0o600, 0o700)


def test_a_record_is_a_row_after_it_was_read_in(chain: ChainFile) -> None:
    written = record()
    chain.append(written)
    assert not AuditEvent.objects.exists()
    assert read_in(clock.now()) == 1
    assert AuditEvent.objects.get(event_id=written["eventID"]).event == written
    assert read_in(clock.now()) == 0


def test_a_torn_tail_waits_for_its_rest(chain: ChainFile) -> None:
    chain.append(record())
    chain.append(record())
    whole = chain.path.read_bytes()
    end_of_first = whole.index(b"\n") + 1
    for length in (end_of_first, end_of_first + 1, len(whole) - 2, len(whole) - 1):
        chain.path.write_bytes(whole[:length])
        read_in(clock.now())
        assert AuditEvent.objects.count() == 1
    chain.path.write_bytes(whole)
    assert read_in(clock.now()) == 1
    assert AuditEvent.objects.count() == 2


def test_records_are_read_in_once_by_many_readers(chain: ChainFile) -> None:
    written = [record() for _ in range(RECORDS)]
    for each in written:
        chain.append(each)
    counts: list[int] = []
    start = threading.Barrier(4)

    def read() -> None:
        try:
            start.wait()
            while AuditChain.objects.get().read_bytes < chain.path.stat().st_size:
                counts.append(read_in(clock.now()))
        finally:
            connection.close()

    readers = [threading.Thread(target=read) for _ in range(4)]
    for reader in readers:
        reader.start()
    for reader in readers:
        reader.join()
    print(f"{RECORDS} records, 4 readers, {len(counts)} rounds, {sum(counts)} read in")
    assert sum(counts) == AuditEvent.objects.count() == RECORDS
    rows = {str(event_id) for event_id in AuditEvent.objects.values_list("event_id", flat=True)}
    assert rows == {each["eventID"] for each in written}


def test_a_reader_that_lost_its_place_makes_no_second_rows(chain: ChainFile) -> None:
    """The offset is a shortcut; the event id is what makes a record one row."""
    for _ in range(5):
        chain.append(record())
    assert read_in(clock.now()) == 5
    AuditChain.objects.update(read_bytes=0)
    read_in(clock.now())
    assert AuditEvent.objects.count() == 5


def test_every_chain_is_read(data: Path) -> None:
    for _ in range(3):
        ChainFile(data / "audit").append(record())
    assert read_in(clock.now()) == 3


def test_a_call_and_a_refusal_are_a_line_each(data: Path) -> None:
    call("ListKeys")
    with pytest.raises(NotFoundException):
        call("DescribeKey", KeyId="alias/none")
    read_in(clock.now())
    rows = AuditEvent.objects.order_by("id").values_list("event_name", "error_code", "principal")
    assert list(rows) == [
        ("ListKeys", "", ALICE.principal_arn),
        ("DescribeKey", "NotFoundException", ALICE.principal_arn),
    ]


def test_without_a_record_there_is_no_answer(data: Path) -> None:
    """The disk is full: /dev/full gives the kernel's own error. No record before it, whose fsync could still be due."""
    audit.open_file()
    _fill_disk()
    with pytest.raises(OSError, match="No space left"):
        call("ListKeys")
    with pytest.raises(OSError, match="No space left"):
        call("DescribeKey", KeyId="alias/none")


def test_a_record_that_fits_only_in_part_leaves_nothing_behind(chain: ChainFile) -> None:
    """The disk fills up in the middle of a line; the next record is a line of its own again."""
    chain.append(record())
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (chain.path.stat().st_size + 20, hard))
    try:
        with pytest.raises(OSError, match="only a part"):
            chain.append(record())
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    chain.append(record())
    assert verified(chain.path) == 2
    assert read_in(clock.now()) == 2


def test_a_file_that_does_not_reach_the_disk_is_trusted_with_nothing_more(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    call("ListKeys")
    first = audit._files[os.getpid()]

    fsync = os.fsync

    def broken(descriptor: int) -> None:
        if descriptor == first._file.fileno():
            raise OSError(5, "Input/output error")
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", broken)
    call("ListAliases")
    wait_until(lambda: first.failed, "the failure to be noticed")
    call("ListKeys")
    assert audit._files[os.getpid()] is not first


def test_a_damaged_file_keeps_no_other_from_being_read(data: Path) -> None:
    """What stands before the damage is read; then the file is left to a person, and the log says so once."""
    damaged, sound = ChainFile(data / "audit"), ChainFile(data / "audit")
    damaged.append(record())
    whole = damaged.path.stat().st_size
    with damaged.path.open("ab") as file:
        file.write(b"not a record\n")
    damaged.append(record())
    sound.append(record())
    assert read_in(clock.now()) == 2
    assert AuditEvent.objects.count() == 2
    row = AuditChain.objects.get(chain_id=damaged.chain_id)
    assert (row.state, row.read_bytes) == ("damaged", whole)
    assert read_in(clock.now()) == 0


def test_a_chain_is_closed_when_its_writer_is_gone_and_it_was_read_to_its_end(chain: ChainFile) -> None:
    for _ in range(READ_LINES + 1):
        chain.append(record())
    assert read_in(clock.now()) == READ_LINES
    chain.close()
    assert read_in(clock.now()) == 1
    row = AuditChain.objects.get()
    assert (row.state, row.read_bytes) == ("closed", chain.path.stat().st_size)
    assert AuditEvent.objects.count() == READ_LINES + 1


def test_a_chain_with_as_many_lines_as_are_read_at_once_stays_open_for_another_look(chain: ChainFile) -> None:
    for _ in range(READ_LINES):
        chain.append(record())
    chain.close()
    assert read_in(clock.now()) == READ_LINES
    assert AuditChain.objects.get().state == "open"
    assert read_in(clock.now()) == 0
    assert AuditChain.objects.get().state == "closed"


def test_a_chain_stays_open_while_its_writer_lives_however_long_it_is_silent(chain: ChainFile) -> None:
    """The writer here is another process, which then is killed with SIGKILL."""
    chain.append(record())
    chain.close()
    with chain.path.open("ab") as file:
        file.write(b'{"chain":"the tail of a call that was never answer')
    hold = "import fcntl, sys; file = open(sys.argv[1]); fcntl.flock(file, fcntl.LOCK_EX); print(flush=True); input()"
    command = [sys.executable, "-c", hold, str(chain.path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as writer:
        assert writer.stdout is not None and writer.stdout.readline()
        assert [read_in(clock.now()) for _ in range(3)] == [1, 0, 0]
        assert AuditChain.objects.get().state == "open"
        writer.kill()
    assert read_in(clock.now()) == 0
    assert AuditChain.objects.get().state == "closed"
    assert chain.path.exists()


def test_closed_chains_cost_nothing(chain: ChainFile) -> None:
    """A thousand starts later, a round reads as many rows and makes as many queries as on the first day."""
    chain.append(record())
    first = _cost_of_a_round()
    now = clock.now()
    AuditChain.objects.bulk_create(
        AuditChain(chain_id=f"old {number}", file_name=f"old {number}.jsonl", started_at=now, state="closed")
        for number in range(1000)
    )
    chain.append(record())
    later = _cost_of_a_round()
    print(f"1,000 closed chains: {later} (queries, chains) in a round; without them {first}")
    assert later == first
    assert first[1] == 1
    assert "open_audit_chains" in AuditChain.objects.filter(state="open").explain()


def _cost_of_a_round() -> tuple[int, int]:
    """How many queries a round makes and how many chains it looks at."""
    seen: list[object] = []

    def count(**said: object) -> None:
        seen.append(said["instance"])

    signals.post_init.connect(count, sender=AuditChain)
    try:
        with CaptureQueriesContext(connection) as queries:
            assert read_in(clock.now()) == 1
    finally:
        signals.post_init.disconnect(count, sender=AuditChain)
    return len(queries), len(seen)


def test_without_a_file_there_is_no_answer(data: Path) -> None:
    (data / "audit").write_text("a file where the folder should be")
    with pytest.raises(OSError, match="File exists"):
        call("ListKeys")


def _fill_disk() -> None:
    """Turn this process's audit file into a full disk."""
    chain = audit._files[os.getpid()]
    full = os.open("/dev/full", os.O_WRONLY)
    os.dup2(full, chain._file.fileno())
    os.close(full)
