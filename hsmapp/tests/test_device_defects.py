"""What is damaged on the disk of an HSM: its process starts, the good keys work, and it says what is wrong."""

from __future__ import annotations

from pathlib import Path

from hsmapp.device import opening
from hsmapp.tests.device_process import PASSWORD, DeviceProcess, activated, ask, new_key


def object_files(device: DeviceProcess) -> list[Path]:
    return sorted(path for path in (device.folder / opening.TOKENS).glob("*/*.object") if path.name != "token.object")


def test_truncated_empty_and_lethal_object_files_are_moved_aside(tmp_path: Path) -> None:
    device = activated(tmp_path)
    before = set(object_files(device))
    with device.login("kmsuser", PASSWORD) as connection:
        keys = [new_key(connection) for _ in range(4)]
    device.stop()
    empty, cut, lethal, _good = sorted(set(object_files(device)) - before)
    empty.write_bytes(b"")
    cut.write_bytes(cut.read_bytes()[:500])
    content = bytearray(lethal.read_bytes())
    content[82] ^= 1  # in a length: SoftHSM asks for more memory than there is, and ends the process
    lethal.write_bytes(content)
    device.start()
    with device.control() as control:
        found = ask(control, "list_defects")["defects"]
        assert sorted(row[1] for row in found if row[0] == "set-aside") == sorted(p.name for p in (empty, cut, lethal))
        assert len(ask(control, "list_keys")["keys"]) == 1
        ask(control, "serve")
    with device.login("kmsuser", PASSWORD) as connection:
        assert sorted(ask(connection, "restore_key", **key.arguments)["made"] for key in keys) == [False] + [True] * 3
        for key in keys:
            ask(connection, "encrypt", label=key.label, check=key.check, plaintext=b"", aad=b"")
    device.stop()


def test_a_first_start_that_left_an_empty_token_file_is_done_again(tmp_path: Path) -> None:
    device = DeviceProcess(tmp_path, "hsm-abcdefghijk").start()
    device.stop()
    (device.folder / opening.USERS).unlink()  # written last
    (token,) = (device.folder / opening.TOKENS).glob("*/token.object")
    token.write_bytes(b"")
    device.start()
    with device.control() as control:
        ask(control, "make_masking_key")
    device.stop()


def test_a_hidden_masking_key_is_a_defect_and_another_takes_its_place(tmp_path: Path) -> None:
    device = DeviceProcess(tmp_path, "hsm-abcdefghijk").start()
    before = set(object_files(device))
    with device.control() as control:
        ask(control, "make_masking_key")
    (masking,) = set(object_files(device)) - before
    device.stop()
    masking.write_bytes(masking.read_bytes()[:400])
    device.start()
    with device.control() as control:
        assert ask(control, "masking_key")["present"] is False
        assert "masking-key" in [row[0] for row in ask(control, "list_defects")["defects"]]
        ask(control, "make_masking_key")
    device.restart()
    with device.control() as control:
        assert ask(control, "masking_key")["present"] is True
        assert "masking-key" not in [row[0] for row in ask(control, "list_defects")["defects"]]
    device.stop()


def test_a_quarantined_key_is_out_of_use_until_it_is_released(tmp_path: Path) -> None:
    device = activated(tmp_path)
    with device.login("kmsuser", PASSWORD) as connection:
        key = new_key(connection)
    for _ in range(2):
        with device.control() as control:
            ask(control, "quarantine_key", label=key.label, id=key.id)
            assert ask(control, "list_keys")["keys"] == []
            assert ["quarantined", key.label, key.id] in [row[:3] for row in ask(control, "list_defects")["defects"]]
        device.restart()
    with device.control() as control:
        assert ask(control, "release_key", label=key.label, id=key.id) == {"objects": 1}
        assert ask(control, "list_keys")["keys"] == [[key.label, key.id, None]]
    device.stop()
