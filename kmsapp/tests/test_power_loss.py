"""R16: what is on the disk before CreateKey is answered: the order of the syncs, as strace sees them.

The durable copy of a key is its masked key in the database. SoftHSM never syncs its object files; what a power cut
takes of them is made again from the masked key, which needs the masking key: its file is synced when it is made.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from hsmapp.tests.device_process import DeviceProcess, ask
from kmsapp.testing import Casemate, served_copy
from kmsapp.tests.crash.makers import STORE
from kmsapp.tests.system_calls import Call, traced
from kmsapp.tests.token_copies import HSMS

KEYS = 5
WAL = "casemate.sqlite3-wal"


@pytest.fixture
def casemate(stopped_server: Path, tmp_path: Path) -> Iterator[Casemate]:
    with served_copy(stopped_server, tmp_path / "data", "--immediate", "--workers", "1") as casemate:
        yield casemate


def first(calls: list[Call], is_it: Callable[[Call], bool]) -> int:
    return next(at for at, call in enumerate(calls) if is_it(call))


def last(calls: list[Call], is_it: Callable[[Call], bool]) -> int:
    return max(at for at, call in enumerate(calls) if is_it(call))


def test_the_masked_key_is_on_the_disk_before_create_key_is_answered(casemate: Casemate, tmp_path: Path) -> None:
    kms = casemate.boto3("kms")
    processes = [*casemate.server.web_workers(), *(casemate.hsm_pid(hsm_id) for hsm_id in HSMS)]
    object_syncs = 0
    for _ in range(KEYS):
        with traced(processes, tmp_path) as calls:
            kms.create_key(Origin="AWS_CLOUDHSM", CustomKeyStoreId=STORE)
        answer = first(calls, lambda call: call.is_write and "HTTP/1.1 200" in call.text)
        before = calls[:answer]
        committed = last(before, lambda call: call.is_write and call.place.endswith(WAL))
        synced = last(before, lambda call: call.is_sync and call.place.endswith(WAL))
        assert committed < synced < answer, "the last change of the database is synced before the answer"
        intent = first(before, lambda call: call.is_sync and call.place.endswith(WAL))
        for hsm_id in HSMS:
            owner = first(before, lambda call, end=f"{hsm_id}/owners": call.is_sync and call.place.endswith(end))  # type: ignore[misc]
            stored = first(before, lambda call, part=f"{hsm_id}/tokens/": call.is_write and part in call.place)  # type: ignore[misc]
            assert intent < owner < stored < committed, "intent, owner journal, token object, masked key"
        object_syncs += sum(call.is_sync and call.place.endswith(".object") for call in calls)
    print(
        f"R16: {KEYS} CreateKey: each time intent synced, owner journals of both HSMs synced, token objects written, "
        f"masked key synced, answered; {object_syncs} syncs of token objects"
    )


def test_a_masking_key_is_on_the_disk_before_the_hsm_says_that_it_is_made(tmp_path: Path) -> None:
    device = DeviceProcess(tmp_path, "hsm-abcdefghijk").start()
    with device.control() as control, traced([device.running.pid], tmp_path) as calls:
        ask(control, "make_masking_key")
    device.stop()
    answer = last(calls, lambda call: call.name == "sendto")
    written = {call.place for call in calls if call.is_write and f"{device.hsm_id}/tokens/" in call.place}
    objects = {place for place in written if place.endswith(".object")}
    for place in objects:
        end = last(calls, lambda call, place=place: call.is_write and call.place == place)  # type: ignore[misc]
        assert any(call.is_sync and call.place == place for call in calls[end:answer]), place
    print(f"R16: a masking key: {len(objects)} object files written, each synced before the answer")
    assert objects
