"""kill -9 in the middle of CreateKey, ConnectCustomKeyStore and of deleting keys: R1, R2, R4 and R21.

bin/crash does it a thousand times.

Of a web worker, each HSM process, jobs, the supervisor and bin/serve, aimed at each step between intent and answer and
at random. CASEMATE_KILLS sets another number.
"""

from __future__ import annotations

import os
from pathlib import Path

from hsmapp.steps import CREATE_KEY
from kmsapp.tests.crash.connect import kill_under_connect
from kmsapp.tests.crash.create_key import kill_under_create_key
from kmsapp.tests.crash.delete_key import kill_under_delete_key

KILLS = int(os.environ.get("CASEMATE_KILLS", "50"))
EACH = 5


def test_no_acknowledged_key_is_lost_and_nothing_half_made_stays(tmp_path: Path) -> None:
    report = kill_under_create_key(tmp_path, kills=KILLS, each=EACH)
    print("R1:", *report.lines(), sep="\n")
    assert sum(report.struck.kills.values()) >= KILLS
    assert all(report.struck.in_step(step) >= EACH for step in CREATE_KEY)


def test_a_store_connects_again_after_every_kill(tmp_path: Path) -> None:
    report = kill_under_connect(tmp_path, kills=KILLS // 4)
    print("ConnectCustomKeyStore:", *report.lines(), sep="\n")
    assert len(report.seconds) == KILLS // 4


def test_a_key_is_deleted_once_when_it_is_due_and_never_after_a_cancel_that_was_acknowledged(tmp_path: Path) -> None:
    report = kill_under_delete_key(tmp_path, kills=KILLS // 8)
    print("R21:", *report.lines(), sep="\n")
    assert report.races >= KILLS // 8
