"""A sealed secret opens where it belongs, and nowhere else."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings

from hsmapp import sealing
from hsmapp.sealing import (
    ACCESS_KEY,
    CLUSTER_CREDENTIAL,
    GRANT_TOKEN,
    HSM_PIN,
    HSM_SO_PIN,
    JOBS,
    PURPOSES,
    SUPERVISOR,
    WEB,
    WEB_WORKER,
    Keyring,
    SealingError,
)

MASTER_KEY = bytes(range(32))
SECRET = b"correct horse battery staple"
PLACE = {"purpose": HSM_PIN, "table": "hsmapp_hsm", "row": "hsm-abcdefghijk"}


@pytest.fixture
def keyring() -> Keyring:
    return Keyring.from_master_key(MASTER_KEY)


@pytest.fixture
def sealed(keyring: Keyring) -> bytes:
    value = keyring.seal(SECRET, **PLACE)
    assert keyring.open(value, **PLACE) == SECRET
    return value


MOVED: dict[str, dict[str, Any]] = {
    "another row": {"row": "hsm-zyxwvutsrqp"},
    "another table": {"table": "hsmapp_cluster"},
    "another purpose": {"purpose": HSM_SO_PIN},
    "a row whose id runs over into the table": {"table": "hsmapp_hsmhsm", "row": "-abcdefghijk"},
}


@pytest.mark.parametrize("change", MOVED.values(), ids=MOVED)
def test_a_sealed_value_does_not_open_in(keyring: Keyring, sealed: bytes, change: dict[str, Any]) -> None:
    with pytest.raises(SealingError, match="was changed"):
        keyring.open(sealed, **{**PLACE, **change})


def test_every_flipped_bit_is_noticed(keyring: Keyring, sealed: bytes) -> None:
    refused = 0
    for position in range(len(sealed) * 8):
        flipped = bytearray(sealed)
        flipped[position // 8] ^= 1 << position % 8
        with pytest.raises(SealingError):
            keyring.open(bytes(flipped), **PLACE)
        refused += 1
    print(f"{refused} bits, each flipped once, 0 opened")
    assert refused == (1 + 8 + 12 + len(SECRET) + 16) * 8


@pytest.mark.parametrize("length", [1, 8, 20, 21, 36])
def test_a_cut_value_is_noticed(keyring: Keyring, sealed: bytes, length: int) -> None:
    with pytest.raises(SealingError):
        keyring.open(sealed[:length], **PLACE)


def test_nothing_is_no_sealed_value(keyring: Keyring) -> None:
    with pytest.raises(SealingError, match="unknown version"):
        keyring.open(b"", **PLACE)


def test_a_foreign_master_key_opens_nothing_and_says_so(sealed: bytes) -> None:
    with pytest.raises(SealingError, match="another master key"):
        Keyring.from_master_key(os.urandom(32)).open(sealed, **PLACE)


@pytest.mark.parametrize("length", [0, 16, 31, 33, 64])
def test_a_master_key_has_32_bytes(length: int) -> None:
    with pytest.raises(SealingError, match=f"this one has {length}"):
        Keyring.from_master_key(bytes(length))


def test_the_same_secret_is_sealed_differently_each_time(keyring: Keyring) -> None:
    assert len({keyring.seal(SECRET, **PLACE) for _ in range(100)}) == 100


def test_every_purpose_has_a_subkey_of_its_own(keyring: Keyring) -> None:
    assert len(set(keyring.subkeys.values())) == len(PURPOSES)
    assert MASTER_KEY not in keyring.subkeys.values()


PROCESSES = {"web worker": WEB_WORKER, "supervisor": SUPERVISOR, "jobs": JOBS}


@pytest.mark.parametrize("given", PROCESSES.values(), ids=PROCESSES)
def test_a_process_opens_what_it_was_given_and_nothing_else(keyring: Keyring, given: tuple[str, ...]) -> None:
    limited = Keyring.load(keyring.limited_to(given).dump())
    opened = []
    for purpose in PURPOSES:
        place = {**PLACE, "purpose": purpose}
        value = keyring.seal(SECRET, **place)
        try:
            assert limited.open(value, **place) == SECRET
            opened.append(purpose)
        except SealingError as error:
            assert "was not given the key" in str(error)
            with pytest.raises(SealingError, match="was not given the key"):
                limited.seal(SECRET, **place)
    assert set(opened) == set(given)


def test_a_web_worker_is_given_no_pin_and_no_backup_key() -> None:
    assert set(WEB_WORKER) == {ACCESS_KEY, CLUSTER_CREDENTIAL, GRANT_TOKEN, WEB}


def test_a_handed_over_keyring_comes_before_the_file(keyring: Keyring, tmp_path: Path) -> None:
    handed, file = tmp_path / "keyring", tmp_path / "master.key"
    assert sealing.find_keyring("", file) is None
    sealing.make_master_key(file)
    whole = sealing.find_keyring("", file)
    assert whole is not None and set(whole.subkeys) == set(PURPOSES)
    handed.write_text(keyring.limited_to(JOBS).dump())
    assert sealing.find_keyring(str(handed), file) == keyring.limited_to(JOBS)


def test_a_master_key_is_never_overwritten_and_only_its_owner_reads_it(tmp_path: Path) -> None:
    path = tmp_path / "secret" / "master.key"
    sealing.make_master_key(path)
    made = path.read_bytes()
    assert len(made) == 32
    assert (path.stat().st_mode & 0o777, path.parent.stat().st_mode & 0o777) == (0o600, 0o700)
    with pytest.raises(FileExistsError):
        sealing.make_master_key(path)
    assert path.read_bytes() == made


def test_without_a_master_key_the_message_says_what_makes_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settings, "KEYRING", "")
    monkeypatch.setattr(settings, "MASTER_KEY_FILE", tmp_path / "master.key")
    sealing.keyring.cache_clear()
    with pytest.raises(SealingError, match="bin/serve makes one"):
        sealing.keyring()


SHOWN: dict[str, Callable[[Keyring], str]] = {"repr": repr, "str": str, "format": lambda keyring: f"{keyring}"}


@pytest.mark.parametrize("show", SHOWN.values(), ids=SHOWN)
def test_a_keyring_shows_no_subkey(keyring: Keyring, show: Callable[[Keyring], str]) -> None:
    assert not [key for key in keyring.subkeys.values() if key.hex() in show(keyring) or repr(key) in show(keyring)]
