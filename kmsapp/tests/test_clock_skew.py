"""R20: a server whose wall clock is wrong, jumps, or comes to a moment that clocks are known to stumble over.

The clock is that of the whole server, moved while it runs (wrong_clock.c); its time zone has daylight saving time.
"""

from __future__ import annotations

import datetime
import shutil
import struct
from base64 import b64decode, b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from hsmapp.tests import c_compiler
from kmsapp.testing import Casemate, Server
from kmsapp.tests.crash.makers import STORE
from kmsapp.tests.remains import query
from kmsapp.tests.signed_http import post

SECOND, MINUTE, HOUR, DAY = (datetime.timedelta(seconds=seconds) for seconds in (1, 60, 3600, 86400))
SOURCE = Path(__file__).with_name("wrong_clock.c")
ZONE = "America/New_York"


@dataclass(frozen=True)
class Clock:
    """The server's clock."""

    file: Path

    def move(self, offset: datetime.timedelta) -> None:
        with self.file.open("r+b") as file:  # the same file: it is mapped
            file.write(struct.pack("=q", round(offset.total_seconds())))

    @contextmanager
    def moved(self, offset: datetime.timedelta) -> Iterator[datetime.timedelta]:
        self.move(offset)
        try:
            yield offset
        finally:
            self.move(datetime.timedelta())


@pytest.fixture(scope="module")
def clock(tmp_path_factory: pytest.TempPathFactory) -> Clock:
    made = Clock(tmp_path_factory.mktemp("clock") / "offset")
    made.file.write_bytes(bytes(8))
    return made


@pytest.fixture(scope="module")
def casemate(stopped_server: Path, clock: Clock) -> Iterator[Casemate]:
    data = clock.file.parent / "data"
    shutil.copytree(stopped_server, data)
    library = c_compiler.build(SOURCE, clock.file.parent, OFFSET=clock.file)
    server = Server(data, "--immediate", environment={"LD_PRELOAD": str(library), "TZ": ZONE})
    server.start()
    yield Casemate(server)
    server.stop()


def now() -> datetime.datetime:
    """The right time."""
    return datetime.datetime.now(datetime.UTC)


@pytest.mark.parametrize("skew", [20 * MINUTE, -20 * MINUTE, HOUR, -HOUR], ids=str)
def test_a_signature_is_good_for_five_minutes_of_the_servers_clock(
    casemate: Casemate, clock: Clock, skew: datetime.timedelta
) -> None:
    with clock.moved(skew):
        codes = {}
        for off in (0 * MINUTE, 4 * MINUTE, -4 * MINUTE, 6 * MINUTE, -6 * MINUTE, -skew):
            codes[off] = post(casemate, {}, at=now() + skew + off).code
    assert codes.pop(-skew) == "InvalidSignatureException", "signed by a right clock"
    refused = {off for off, code in codes.items() if code == "InvalidSignatureException"}
    assert refused == {6 * MINUTE, -6 * MINUTE} and len([code for code in codes.values() if not code]) == 3, codes
    print(f"R20: server's clock {skew} off: 3 of 6 signatures good, 3 out of the 5 minutes refused")
    assert post(casemate, {}, at=now()).status == 200, "right again"


MOMENTS = {
    "daylight saving time begins": datetime.datetime(2027, 3, 14, 6, 59, 58, tzinfo=datetime.UTC),
    "daylight saving time ends": datetime.datetime(2027, 11, 7, 5, 59, 58, tzinfo=datetime.UTC),
    "29 February": datetime.datetime(2028, 2, 28, 23, 59, 58, tzinfo=datetime.UTC),
    "the end of 32-bit seconds": datetime.datetime(2038, 1, 19, 3, 14, 6, tzinfo=datetime.UTC),
}


@pytest.mark.parametrize("moment", MOMENTS.values(), ids=MOMENTS)
def test_keys_are_made_and_used_from_before_such_a_moment_to_after_it(
    casemate: Casemate, clock: Clock, moment: datetime.datetime
) -> None:
    calls = 0
    with clock.moved(moment - now()) as offset:
        while now() + offset < moment + 3 * SECOND:
            make_and_use_a_key(casemate, offset)
            calls += 4
    make_and_use_a_key(casemate, datetime.timedelta())
    print(f"R20: {calls} calls around {moment:%Y-%m-%d %H:%M} UTC, and 4 after the clock was set back: 0 failed")
    assert_no_length_of_time_is_negative(casemate)


def test_a_clock_that_jumps_back_an_hour_between_calls_fails_none(casemate: Casemate, clock: Clock) -> None:
    for _ in range(3):
        with clock.moved(HOUR) as offset:
            make_and_use_a_key(casemate, offset)
        make_and_use_a_key(casemate, datetime.timedelta())
    print("R20: 3 jumps back of an hour, 24 calls before and after: 0 failed")
    assert_no_length_of_time_is_negative(casemate)


def test_a_jump_of_forty_days_deletes_no_key_before_somebody_confirms_it(casemate: Casemate, clock: Clock) -> None:
    newest = "SELECT id, begins_at, ends_at FROM hsmapp_unprovenspan WHERE id > ? ORDER BY id"
    ((last,),) = query(casemate, "SELECT coalesce(max(id), 0) FROM hsmapp_unprovenspan")
    # Jobs may not have looked since another test set the clock back.
    noted = "SELECT count(*) FROM hsmapp_clocknote WHERE wall > ?"
    casemate.wait_until(
        lambda: query(casemate, noted, f"{now():%Y-%m-%d %H:%M:%S}") == [(0,)], "a note of the right time"
    )
    key = answered(casemate, "CreateKey", Origin="AWS_CLOUDHSM", CustomKeyStoreId=STORE)["KeyMetadata"]["Arn"]
    answered(casemate, "ScheduleKeyDeletion", KeyId=key, PendingWindowInDays=30)
    is_there = "SELECT count(*) FROM hsmapp_maskedkey WHERE label = ?"
    with clock.moved(40 * DAY) as jump:
        casemate.wait_until(lambda: bool(query(casemate, newest, last)), "the jump to be noticed by jobs")
        span, begins, ends = query(casemate, newest, last)[0]
        shown = casemate.manage("clock", "show")
        state = answered(casemate, "DescribeKey", offset=jump, KeyId=key)["KeyMetadata"]["KeyState"]
        assert (state, query(casemate, is_there, key)) == ("PendingDeletion", [(1,)])
        # The spans of the other tests, too: they are of years that lie ahead.
        waiting = query(casemate, "SELECT id FROM hsmapp_unprovenspan WHERE confirmed_at IS NULL")
        casemate.manage("clock", "confirm", *[str(each) for (each,) in waiting])
        casemate.wait_until(lambda: query(casemate, is_there, key) == [(0,)], "the confirmed deletion")
    length = datetime.datetime.fromisoformat(ends) - datetime.datetime.fromisoformat(begins)
    print(f"R20: a jump of 40 days is a span of {length} that nobody can prove; a key that was due in 30 is kept")
    assert abs(length - 40 * DAY) < HOUR and f"span {span}" in shown and "manage.py clock confirm" in shown


def make_and_use_a_key(casemate: Casemate, offset: datetime.timedelta) -> None:
    call = partial(answered, casemate, offset=offset)
    made = call("CreateKey", Origin="AWS_CLOUDHSM", CustomKeyStoreId=STORE)["KeyMetadata"]
    assert abs(made["CreationDate"] - (now() + offset).timestamp()) < 60
    blob = call("Encrypt", KeyId=made["Arn"], Plaintext=b64encode(b"in time").decode())["CiphertextBlob"]
    assert b64decode(call("Decrypt", CiphertextBlob=blob)["Plaintext"]) == b"in time"
    assert call("DescribeKey", KeyId=made["Arn"])["KeyMetadata"]["CreationDate"] == made["CreationDate"]


def answered(
    casemate: Casemate, operation: str, *, offset: datetime.timedelta = datetime.timedelta(), **params: Any
) -> dict[str, Any]:
    """The answer to a call that is signed by a clock which is so far ahead."""
    answer = post(casemate, params, operation=operation, at=now() + offset)
    assert answer.status == 200, (operation, answer)
    return answer.document


def assert_no_length_of_time_is_negative(casemate: Casemate) -> None:
    wrong = query(casemate, "SELECT label FROM hsmapp_keyintent WHERE state = 'done' AND deadline < created_at")
    wrong += query(casemate, "SELECT id FROM hsmapp_unprovenspan WHERE ends_at < begins_at")
    assert wrong == []
