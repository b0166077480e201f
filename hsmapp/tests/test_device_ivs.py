from __future__ import annotations

from pathlib import Path

import pytest

from hsmapp.device.ivs import COUNTER_END, IvMaker
from hsmapp.device.protocol import pack, unpack
from hsmapp.tests.device_process import PASSWORD, activated, ask, new_key

ENCRYPTIONS_PER_START = 34_000
STARTS = 3


def prefixes(*drawn: bytes) -> IvMaker:
    source = iter(drawn)
    return IvMaker(lambda _length: next(source), counter=COUNTER_END - 3)


def test_a_new_prefix_is_drawn_when_the_counter_ends() -> None:
    maker = prefixes(b"prefix-1", b"prefix-2")
    assert [maker.next() for _ in range(5)] == [
        b"prefix-1\xff\xff\xff\xfd",
        b"prefix-1\xff\xff\xff\xfe",
        b"prefix-1\xff\xff\xff\xff",
        b"prefix-2\x00\x00\x00\x00",
        b"prefix-2\x00\x00\x00\x01",
    ]


def test_without_new_random_bytes_no_iv_is_given_after_the_counter_ended() -> None:
    maker = prefixes(b"prefix-1")
    for _ in range(3):
        maker.next()
    for _ in range(3):
        with pytest.raises(StopIteration):
            maker.next()


def test_too_few_random_bytes_are_refused() -> None:
    with pytest.raises(ValueError, match="too little"):
        IvMaker(lambda _length: b"short")


def test_no_iv_repeats_over_keys_and_starts(tmp_path: Path) -> None:
    device = activated(tmp_path)
    with device.login("kmsuser", PASSWORD) as connection:
        keys = [new_key(connection) for _ in range(4)]
    ivs: list[bytes] = [key.check[:12] for key in keys]
    for _ in range(STARTS):
        device.restart()
        with device.control() as control:
            ask(control, "serve")
        with device.login("kmsuser", PASSWORD) as connection:
            for number in range(ENCRYPTIONS_PER_START):
                key = keys[number % len(keys)]
                answer = ask(connection, "encrypt", label=key.label, check=key.check, plaintext=b"", aad=b"")
                ivs.append(answer["iv"])
    device.stop()
    assert len({iv[:8] for iv in ivs}) == STARTS + 1
    assert len(set(ivs)) == len(ivs)
    print(f"{len(ivs)} IVs over {len(keys)} keys and {STARTS + 1} starts, {len(ivs) - len(set(ivs))} repeats")


def test_frames_hold_what_was_put_in() -> None:
    message = ["encrypt", {"plaintext": bytes(range(256)), "label": "schlüssel", "number": 2**63, "flag": True}]
    assert unpack(pack(message)[4:]) == message
    with pytest.raises(ValueError, match="64 KiB"):
        pack(["encrypt", {"plaintext": bytes(64 * 1024)}])
