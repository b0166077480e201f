from __future__ import annotations

import os
import resource
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from hsmapp.device.protocol import TOKEN_FAILED, HsmAnswerError, pack
from hsmapp.tests.device_process import ADMIN_PASSWORD, PASSWORD, REPOSITORY, DeviceProcess, activated, ask, generate

GONE_SECONDS = 5.0


@pytest.fixture
def device(tmp_path: Path) -> Iterator[DeviceProcess]:
    made = DeviceProcess(tmp_path, "hsm-abcdefghijk")
    yield made
    made.kill()


def ended(pid: int) -> bool:
    """True once the process is gone; a zombie that its new parent has not collected yet is gone too."""
    deadline = time.monotonic() + GONE_SECONDS
    while time.monotonic() < deadline:
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except (FileNotFoundError, ProcessLookupError):
            return True
        if state in "ZX":
            return True
        time.sleep(0.02)
    return False


def failure(device: DeviceProcess, **changes: object) -> tuple[int, str]:
    """Launch a process that cannot start; return its exit code and what it says."""
    _out, said = device.launch(**changes).communicate(timeout=20)
    return device.running.returncode, said.decode()


@pytest.mark.alone
def test_ready_again_soon_after_a_restart(device: DeviceProcess) -> None:
    device.start()
    first = device.ready_seconds
    again = sorted(device.restart().ready_seconds for _ in range(5))
    print(f"ready after {first:.2f} s the first time, after {again[2]:.2f} s (median of 5) later")
    assert again[2] < 1.0


def test_it_ends_with_its_standard_input(device: DeviceProcess) -> None:
    device.start()
    assert device.stop() == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_ends_cleanly_at_a_signal(device: DeviceProcess, number: signal.Signals) -> None:
    device.start().running.send_signal(number)
    assert device.running.wait(GONE_SECONDS) == 0


def test_its_socket_is_its_owners_alone_and_may_have_a_long_path(tmp_path: Path) -> None:
    root = tmp_path / ("folder " * 12) / ("deeper " * 12)
    device = DeviceProcess(root, "hsm-abcdefghijk").start()
    assert len(os.fsencode(device.socket)) > 108
    assert stat.S_IMODE(device.socket.stat().st_mode) == 0o600
    with device.connect() as connection:
        assert ask(connection, "hello") == {"hsm_id": "hsm-abcdefghijk", "serving": False}
    modes = {stat.S_IMODE(path.stat().st_mode) & 0o077 for path in device.folder.rglob("*")}
    assert modes == {0}
    device.stop()


def test_a_second_process_of_one_hsm_is_refused(device: DeviceProcess) -> None:
    device.start()
    second = DeviceProcess(device.root, device.hsm_id, pin=device.pin, control_secret=device.control_secret)
    code, said = failure(second)
    assert (code, said) == (3, "hsm process: another process owns hsm-abcdefghijk\n")
    with device.connect() as connection:
        ask(connection, "hello")


def test_a_wrong_pin_is_said_to_be_one_and_changes_nothing(device: DeviceProcess) -> None:
    device.start().stop()
    code, said = failure(device, pin="0" * 32)
    assert code == 4
    assert "its PIN is wrong" in said
    assert device.pin not in said
    device.start()


def test_a_token_that_has_been_there_is_never_made_anew(device: DeviceProcess) -> None:
    device.start().stop()
    (device.folder / "tokens").rename(device.folder / "away")
    code, said = failure(device, so_pin=device.so_pin)
    assert code == 4
    assert "is gone" in said
    assert list((device.folder / "tokens").iterdir()) == []
    (device.folder / "tokens").rmdir()
    (device.folder / "away").rename(device.folder / "tokens")
    device.start()


def test_a_token_is_not_made_without_an_so_pin(device: DeviceProcess) -> None:
    code, said = failure(device, so_pin=None)
    assert code == 4
    assert "is gone, with its HSM users" in said
    assert list((device.folder / "tokens").iterdir()) == []


@pytest.mark.parametrize("milliseconds", [20, 120, 200, 280, 360, 450])
def test_a_first_start_killed_at_any_moment_is_done_again(device: DeviceProcess, milliseconds: int) -> None:
    device.launch()
    time.sleep(milliseconds / 1000)
    device.kill()
    device.start()
    with device.control() as control:
        assert set(ask(control, "identity")) == {"identity_public", "transport_public", "transport_signature"}
        ask(control, "make_masking_key")
    device.restart()
    with device.control() as control:
        assert ask(control, "masking_key")["present"]


def test_a_damaged_users_file_stops_the_start(device: DeviceProcess) -> None:
    device.start().stop()
    (device.folder / "users").write_bytes(b"damaged")
    code, said = failure(device)
    assert code == 4
    assert "HSM users" in said


@pytest.mark.parametrize("given", [b"", b"\0\0\0\1\xc1", pack({}), pack({"hsm_id": "hsm-other"}), b"\xff" * 8])
def test_a_configuration_that_is_none_is_refused(device: DeviceProcess, given: bytes) -> None:
    finished = subprocess.run(
        [sys.executable, "-m", "hsmapp.device", device.hsm_id],
        cwd=REPOSITORY,
        input=given,
        capture_output=True,
        timeout=20,
        check=False,
    )
    assert finished.returncode == 2
    assert finished.stderr.startswith(b"hsm process: ")
    assert b"Traceback" not in finished.stderr


def test_it_does_not_start_for_a_parent_that_is_gone(device: DeviceProcess) -> None:
    code, said = failure(device, parent_pid=1)
    assert code == 2
    assert "gone" in said


def test_no_secret_is_on_its_command_line_in_its_environment_or_in_a_core(tmp_path: Path) -> None:
    device = activated(tmp_path)
    proc = Path(f"/proc/{device.running.pid}")
    secrets = [device.pin, device.so_pin, device.control_secret.hex(), PASSWORD, ADMIN_PASSWORD]
    secrets += [secret.encode().hex() for secret in secrets]
    shown = (proc / "cmdline").read_bytes()
    if os.geteuid() == 0:  # nobody else may read it at all
        shown += (proc / "environ").read_bytes()
    assert b"hsm-abcdefghijk" in shown
    assert not [secret for secret in secrets if secret.encode() in shown or device.control_secret in shown]
    limits = (proc / "limits").read_text().splitlines()
    assert next(line for line in limits if line.startswith("Max core file size")).split()[4:6] == ["0", "0"]
    # A process that may not be dumped has its /proc files owned by root, whoever runs it.
    assert (proc / "mem").stat().st_uid == 0
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    for path in files:
        content = path.read_bytes()
        assert device.control_secret not in content
        assert not [secret for secret in secrets if secret.encode() in content], path
    print(f"{len(secrets) + 1} secrets looked for in {len(files)} files")
    device.stop()


# Starts an HSM process as the supervisor does, says its id, and waits to be killed.
PARENT = """
import sys, time
from pathlib import Path
from hsmapp.tests.device_process import DeviceProcess
device = DeviceProcess(Path(sys.argv[1]), "hsm-abcdefghijk").start()
print(device.running.pid, flush=True)
time.sleep(600)
"""


@pytest.mark.parametrize("frozen", [False, True], ids=["running", "stopped by SIGSTOP"])
def test_no_process_outlives_a_killed_parent(tmp_path: Path, frozen: bool) -> None:
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, str(tmp_path)], cwd=REPOSITORY, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL
    )
    assert parent.stdout is not None
    pid = int(parent.stdout.readline())
    if frozen:
        os.kill(pid, signal.SIGSTOP)
    parent.kill()
    parent.wait()
    parent.stdout.close()
    assert ended(pid)


def test_the_device_imports_nothing_of_django() -> None:
    finished = subprocess.run(
        [
            sys.executable,
            "-c",
            "import sys, hsmapp.device.server, hsmapp.device.opening;"
            "print([name for name in sys.modules if name.partition('.')[0] == 'django'])",
        ],
        cwd=REPOSITORY,
        capture_output=True,
        check=True,
    )
    assert finished.stdout == b"[]\n"


def test_an_hsm_that_can_write_neither_files_nor_its_log_refuses_and_lives(tmp_path: Path) -> None:
    device = activated(tmp_path)
    pid = device.running.pid
    assert device.running.stderr is not None
    device.running.stderr.close()  # nobody takes what it says
    limits = resource.prlimit(pid, resource.RLIMIT_FSIZE)
    with device.login("kmsuser", PASSWORD) as connection:
        key = generate(connection)
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (0, limits[1]))
        for _ in range(3):
            with pytest.raises(HsmAnswerError, match=TOKEN_FAILED):
                ask(connection, "restore_key", **key.arguments)
        resource.prlimit(pid, resource.RLIMIT_FSIZE, limits)
        assert ask(connection, "restore_key", **key.arguments) == {"made": True}
        ask(connection, "encrypt", label=key.label, check=key.check, plaintext=b"", aad=b"")
    device.stop()
