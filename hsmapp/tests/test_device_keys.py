from __future__ import annotations

import errno
import random
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hsmapp.device.owners import OwnerJournal
from hsmapp.device.protocol import Connection, HsmAnswerError
from hsmapp.tests.device_process import (
    ADMIN_PASSWORD,
    PASSWORD,
    DeviceProcess,
    MaskedKey,
    activated,
    ask,
    generate,
    new_key,
)


@pytest.fixture
def device(tmp_path: Path) -> Iterator[DeviceProcess]:
    running = activated(tmp_path)
    yield running
    running.stop()


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DeviceProcess]:
    running = activated(tmp_path_factory.mktemp("keys"))
    with running.login("admin", ADMIN_PASSWORD) as admin:
        ask(admin, "create_user", user="mallory", role="crypto-user", password=PASSWORD)
    yield running
    running.stop()


@pytest.fixture
def kmsuser(shared: DeviceProcess) -> Iterator[Connection]:
    with shared.login("kmsuser", PASSWORD) as connection:
        yield connection


def refusal(connection: Connection, op: str, **args: object) -> str:
    with pytest.raises(HsmAnswerError) as refused:
        ask(connection, op, **args)
    return refused.value.name


def seal(
    connection: Connection, key: MaskedKey, plaintext: bytes = b"plaintext", aad: bytes = b"aad"
) -> dict[str, Any]:
    return ask(connection, "encrypt", label=key.label, check=key.check, plaintext=plaintext, aad=aad)


def unseal(connection: Connection, key: MaskedKey, sealed: dict[str, Any], aad: bytes = b"aad") -> bytes:
    plaintext: bytes = ask(connection, "decrypt", label=key.label, check=key.check, aad=aad, **sealed)["plaintext"]
    return plaintext


def test_a_key_lives_from_generation_to_destruction_over_a_restart(device: DeviceProcess) -> None:
    with device.login("kmsuser", PASSWORD) as connection:
        key = new_key(connection)
        sealed = seal(connection, key)
        assert ask(connection, "restore_key", **key.arguments) == {"made": False}
    device.restart()
    with device.control() as control:
        assert not ask(control, "health")["serving"]
        ask(control, "serve")
        health = {"ok": True, "serving": True, "keys": 1, "free": 3299, "debris": 0, "module_makes_ivs": False}
        assert ask(control, "health") == health
        assert ask(control, "list_keys")["keys"] == [[key.label, key.id, "kmsuser"]]
    with device.login("kmsuser", PASSWORD) as connection:
        assert unseal(connection, key, sealed) == b"plaintext"
        assert ask(connection, "destroy_key", label=key.label, id=key.id) == {"destroyed": 1}
        assert ask(connection, "destroy_key", label=key.label, id=key.id) == {"destroyed": 0}
        assert refusal(connection, "decrypt", label=key.label, check=key.check, aad=b"aad", **sealed) == "KeyNotFound"
        assert ask(connection, "restore_key", **key.arguments) == {"made": True}
        assert unseal(connection, key, sealed) == b"plaintext"


def test_generating_leaves_nothing_in_the_token(shared: DeviceProcess, kmsuser: Connection) -> None:
    before = sorted(path.name for path in (shared.folder / "tokens").rglob("*"))
    generate(kmsuser)
    assert sorted(path.name for path in (shared.folder / "tokens").rglob("*")) == before


@pytest.mark.parametrize("size", [0, 1, 4096, 8192])
def test_plaintexts_of_every_size_come_back(kmsuser: Connection, size: int) -> None:
    key, plaintext = new_key(kmsuser), secrets.token_bytes(size)
    sealed = seal(kmsuser, key, plaintext, aad=bytes(range(256)) * 64)
    assert len(sealed["sealed"]) == size + 16
    assert unseal(kmsuser, key, sealed, aad=bytes(range(256)) * 64) == plaintext


def test_any_change_of_a_ciphertext_is_invalid_and_the_key_goes_on(kmsuser: Connection) -> None:
    key = new_key(kmsuser)
    sealed = seal(kmsuser, key)
    changed = [{"iv": sealed["iv"], "sealed": b""}, {"iv": bytes(12), "sealed": sealed["sealed"]}]
    for bit in range(len(sealed["sealed"]) * 8):
        body = bytearray(sealed["sealed"])
        body[bit // 8] ^= 1 << bit % 8
        changed.append({"iv": sealed["iv"], "sealed": bytes(body)})
    answers = set()
    for wrong in changed:
        with pytest.raises(HsmAnswerError) as refused:
            unseal(kmsuser, key, wrong)
        answers.add((refused.value.name, refused.value.message))
    with pytest.raises(HsmAnswerError) as refused:
        unseal(kmsuser, key, sealed, aad=b"AAD")
    answers.add((refused.value.name, refused.value.message))
    assert answers == {("InvalidCiphertext", "")}
    assert unseal(kmsuser, key, sealed) == b"plaintext"
    print(f"{len(changed) + 1} changed ciphertexts, all refused alike")


def test_a_key_is_its_owners_alone(shared: DeviceProcess, kmsuser: Connection) -> None:
    key = new_key(kmsuser)
    sealed = seal(kmsuser, key)
    with shared.login("mallory", PASSWORD) as mallory:
        common: dict[str, Any] = {"label": key.label}
        assert refusal(mallory, "encrypt", check=key.check, plaintext=b"", aad=b"", **common) == "KeyNotFound"
        assert refusal(mallory, "decrypt", check=key.check, aad=b"aad", **common, **sealed) == "KeyNotFound"
        assert refusal(mallory, "key_attributes", **common) == "KeyNotFound"
        assert refusal(mallory, "destroy_key", id=key.id, **common) == "KeyNotFound"
        assert refusal(mallory, "restore_key", **key.arguments) == "KeyNotFound"
        assert ask(mallory, "list_keys")["keys"] == []
    assert unseal(kmsuser, key, sealed) == b"plaintext"


def test_a_key_whose_owner_was_lost_is_adopted_by_who_holds_its_masked_key(device: DeviceProcess) -> None:
    with device.login("kmsuser", PASSWORD) as connection:
        key = new_key(connection)
    device.stop()
    (device.folder / "owners").unlink()
    device.start()
    with device.control() as control:
        ask(control, "serve")
        assert ask(control, "list_keys")["keys"] == [[key.label, key.id, None]]
    with device.login("kmsuser", PASSWORD) as connection:
        assert refusal(connection, "key_attributes", label=key.label) == "KeyNotFound"
        assert ask(connection, "restore_key", **key.arguments) == {"made": False}
        seal(connection, key)


WRONG_KEYS = {
    "the masked key of another key": lambda key, other: {**key, "masked": other["masked"]},
    "the check of another key": lambda key, other: {**key, "check": other["check"]},
    "another id": lambda key, other: {**key, "id": other["id"]},
    "another label": lambda key, other: {**key, "label": other["label"]},
    "a changed masked key": lambda key, _other: {**key, "masked": bytes([key["masked"][0] ^ 1]) + key["masked"][1:]},
    "a shortened masked key": lambda key, _other: {**key, "masked": key["masked"][:-8]},
}


@pytest.mark.parametrize("wrong", WRONG_KEYS.values(), ids=WRONG_KEYS)
def test_a_masked_key_that_does_not_fit_leaves_nothing(shared: DeviceProcess, kmsuser: Connection, wrong: Any) -> None:
    key, other = generate(kmsuser), generate(kmsuser)
    with shared.control() as control:
        before = ask(control, "health")
        assert refusal(kmsuser, "restore_key", **wrong(key.arguments, other.arguments)) == "MaskedKeyWrong"
        assert ask(control, "health") == before


def test_a_label_is_taken_once(kmsuser: Connection) -> None:
    key = new_key(kmsuser)
    assert refusal(kmsuser, "generate_key", label=key.label, id=secrets.token_hex(32)) == "KeyExists"
    assert refusal(kmsuser, "restore_key", **(key.arguments | {"id": secrets.token_hex(32)})) == "KeyExists"
    assert ask(kmsuser, "destroy_key", label=key.label, id=secrets.token_hex(32)) == {"destroyed": 0}


def test_an_hsm_holds_no_more_keys_than_its_type_allows(tmp_path: Path) -> None:
    device = activated(tmp_path, capacity=2)
    with device.login("kmsuser", PASSWORD) as connection:
        spare = generate(connection)
        keys = [new_key(connection) for _ in range(2)]
        assert refusal(connection, "restore_key", **spare.arguments) == "CapacityExceeded"
        assert refusal(connection, "generate_key", label="one more", id=spare.id) == "CapacityExceeded"
        ask(connection, "destroy_key", label=keys[0].label, id=keys[0].id)
        assert ask(connection, "restore_key", **spare.arguments) == {"made": True}
    device.stop()


def test_keys_are_listed_in_pages_without_gaps(shared: DeviceProcess, kmsuser: Connection) -> None:
    # Labels of the greatest length: 500 of them would not fit into a frame.
    made = {new_key(kmsuser, f"page {number} ".ljust(512, "x")).label for number in range(120)}
    after, listed, pages = "", [], 0
    while True:
        answer = ask(kmsuser, "list_keys", after=after, limit=500)
        listed += [label for label, _id in answer["keys"]]
        after, pages = answer["next"], pages + 1
        if not after:
            break
    assert listed == sorted(set(listed))
    assert made <= set(listed)
    assert pages >= 2
    with shared.control() as control:
        for label, id_, _owner in ask(control, "list_keys", after="page", limit=50)["keys"]:
            ask(control, "destroy_key", label=label, id=id_)


def test_attributes_are_those_of_a_key_that_stays(kmsuser: Connection) -> None:
    key = new_key(kmsuser)
    shown = ask(kmsuser, "key_attributes", label=key.label)
    assert shown["label"] == key.label
    assert shown["id"] == key.id
    assert shown["allowed_mechanisms"] == ["AES_GCM"]
    yes = {name for name, value in shown.items() if value is True}
    assert yes == {"sensitive", "token", "private", "encrypt", "decrypt"}


def key_files(device: DeviceProcess) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in (device.folder / "tokens").rglob("*.object")}


def flip_one_bit(path: Path, before: bytes, key_value_offset: int) -> None:
    changed = bytearray(before)
    changed[key_value_offset] ^= 1
    path.write_bytes(changed)


def value_offset(content: bytes) -> int:
    """The offset of the encrypted CKA_VALUE in a SoftHSM object file: its attribute type (0x11, 8 bytes) and kind
    (3), then length.
    """
    return content.index((0x11).to_bytes(8, "big") + (3).to_bytes(8, "big")) + 24


@pytest.mark.parametrize("first_use", ["encrypt", "decrypt"])
def test_one_flipped_bit_on_the_disk_is_noticed_and_mended_from_the_masked_key(
    device: DeviceProcess, first_use: str
) -> None:
    before = key_files(device).keys()
    with device.login("kmsuser", PASSWORD) as connection:
        key = new_key(connection)
        sealed = seal(connection, key)
    device.stop()
    (path,) = key_files(device).keys() - before
    # The first bytes of the stored value are the IV it is encrypted with, so the key becomes another key, without an
    # error.
    content = path.read_bytes()
    flip_one_bit(path, content, value_offset(content))
    device.start()
    with device.control() as control:
        ask(control, "serve")
        with device.login("kmsuser", PASSWORD) as connection:
            uses: dict[str, dict[str, Any]] = {
                "encrypt": {"plaintext": b"plaintext", "aad": b"aad"},
                "decrypt": {"aad": b"aad", **sealed},
            }
            for op in (first_use, "encrypt", "decrypt"):
                assert refusal(connection, op, label=key.label, check=key.check, **uses[op]) == "KeyDamaged"
            assert ask(connection, "list_keys")["damaged"] == [key.label]
            assert ask(control, "check_key", label=key.label, check=key.check) == {"good": False}
            assert ask(connection, "restore_key", **key.arguments) == {"made": True}
            assert unseal(connection, key, sealed) == b"plaintext"
            assert ask(control, "check_key", label=key.label, check=key.check) == {"good": True}
            assert ask(control, "list_keys")["damaged"] == []


def test_a_wrong_check_withdraws_nothing_for_good(kmsuser: Connection) -> None:
    key, other = new_key(kmsuser), generate(kmsuser)
    sealed = seal(kmsuser, key)
    wrong = {"iv": sealed["iv"], "sealed": bytes(32)}
    assert refusal(kmsuser, "decrypt", label=key.label, check=other.check, aad=b"", **wrong) == "KeyDamaged"
    assert refusal(kmsuser, "restore_key", **(key.arguments | {"check": other.check})) == "MaskedKeyWrong"
    assert unseal(kmsuser, key, sealed) == b"plaintext"


def test_a_token_folder_that_vanishes_is_a_failed_token_and_no_lost_key(device: DeviceProcess) -> None:
    with device.login("kmsuser", PASSWORD) as connection, device.control() as control:
        key = new_key(connection)
        sealed = seal(connection, key)
        (device.folder / "tokens").rename(device.folder / "away")
        assert refusal(connection, "decrypt", label=key.label, check=key.check, aad=b"aad", **sealed) == "TokenFailed"
        assert refusal(connection, "destroy_key", label=key.label, id=key.id) == "TokenFailed"
        assert refusal(connection, "restore_key", **key.arguments) == "TokenFailed"
        assert ask(control, "health")["ok"] is False
    device.stop()
    (device.folder / "away").rename(device.folder / "tokens")
    device.start()
    with device.control() as control:
        ask(control, "serve")
    with device.login("kmsuser", PASSWORD) as connection:
        assert unseal(connection, key, sealed) == b"plaintext"


def test_killed_while_making_keys_an_hsm_mends_them_all(device: DeviceProcess) -> None:
    with device.login("kmsuser", PASSWORD) as connection:
        keys = [generate(connection) for _ in range(40)]
        for key in keys[:20]:
            ask(connection, "restore_key", **key.arguments)
    device.kill()
    device.start()
    with device.control() as control:
        ask(control, "serve")
    with device.login("kmsuser", PASSWORD) as connection:
        made = [ask(connection, "restore_key", **key.arguments)["made"] for key in keys]
        assert made == [False] * 20 + [True] * 20
        for key in keys:
            assert unseal(connection, key, seal(connection, key)) == b"plaintext"


def test_random_bytes_differ_and_have_the_length_asked_for(kmsuser: Connection) -> None:
    drawn = {ask(kmsuser, "random", length=length)["data"] for length in [32] * 50}
    assert len(drawn) == 50
    assert len(ask(kmsuser, "random", length=1024)["data"]) == 1024
    assert refusal(kmsuser, "random", length=1025) == "BadRequest"


def test_an_owner_journal_torn_at_any_byte_keeps_its_whole_records(tmp_path: Path) -> None:
    path = tmp_path / "owners"
    journal = OwnerJournal(path)
    ends = []
    for number in range(3):
        journal.note(f"label {number}", "id", "alice")
        ends.append(path.stat().st_size)
    journal.close()
    whole = path.read_bytes()
    for length in range(len(whole) + 1):
        path.write_bytes(whole[:length])
        torn = OwnerJournal(path)
        kept = [torn.owner(f"label {number}", "id") for number in range(3)]
        assert kept == ["alice" if length >= end else None for end in ends]
        torn.note("label 9", "id", "bob")
        torn.close()
        again = OwnerJournal(path)
        assert again.owner("label 9", "id") == "bob"
        again.close()


def no_room(_path: Path, _content: bytes) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


def test_an_owner_journal_is_rewritten_when_most_of_it_is_past(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hsmapp.device.owners._STALE_MINIMUM", 10)
    path = tmp_path / "owners"
    journal = OwnerJournal(path)
    names = [f"label {number}" for number in range(20)]
    for name in names:
        journal.note(name, "id", "alice")
    kept = random.Random(1).choice(names)  # noqa: S311 - a choice for a test
    for name in names:
        if name != kept:
            journal.forget(name, "id")
    journal.close()
    before = path.stat().st_size
    with monkeypatch.context() as patch:
        patch.setattr("hsmapp.device.owners.write_durably", no_room)
        journal = OwnerJournal(path)
        assert [name for name in names if journal.owner(name, "id")] == [kept]
        journal.close()
    assert path.stat().st_size == before
    journal = OwnerJournal(path)
    assert path.stat().st_size < before / 10
    assert [name for name in names if journal.owner(name, "id")] == [kept]
    journal.close()
