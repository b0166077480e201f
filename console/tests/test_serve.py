"""bin/serve from outside: how it starts, what it refuses, and that nothing is left of it."""

from __future__ import annotations

import base64
import json
import os
import shlex
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from console.serving.health import is_healthy
from hsmapp.sealing import PURPOSES, Keyring
from kmsapp.testing import ROOT, START_SECONDS, Casemate, Server, clean_environment, command_line, free_port

DEMO_HSMS = ("hsm-abcdefghijk", "hsm-zyxwvutsrqp")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server of this module's own, which its tests may stop and start."""
    server = Server(tmp_path_factory.mktemp("serve") / "data", "--immediate")
    print(f"first start: {server.start():.2f} s")
    yield server
    server.stop()


@pytest.fixture
def running(server: Server) -> Server:
    if server.process is None or server.process.poll() is not None:
        server.start()
    return server


def serve(data: Path, *options: str, port: int | None = None) -> subprocess.CompletedProcess[str]:
    """Run a start that is expected to be refused."""
    return subprocess.run(
        [sys.executable, "-m", "console.serving", "--data", data, "--port", str(port or free_port()), *options],
        cwd=ROOT,
        env=clean_environment(),
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


def assert_refused(done: subprocess.CompletedProcess[str], sentence: str) -> None:
    assert done.returncode == 2, done
    assert sentence in done.stderr, done.stderr
    assert done.stderr.count("\n") == 1, f"not one line: {done.stderr}"
    assert "Traceback" not in done.stderr


def contents(folder: Path) -> dict[str, tuple[int, bytes]]:
    """Every file below a folder with its mode and bytes."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {str(path.relative_to(folder)): (path.stat().st_mode, path.read_bytes()) for path in files}


@pytest.mark.alone
def test_a_second_start_takes_under_six_seconds_and_keeps_the_state(running: Server) -> None:
    kms = Casemate(running).boto3("kms")
    before = {key["KeyId"] for key in kms.list_keys()["Keys"]}
    # The best of three: what is promised is for a machine that does not run something else at the same moment.
    starts: list[float] = []
    while not starts or (min(starts) >= 6 and len(starts) < 3):
        stopped_in = running.stop()
        starts.append(running.start())
        print(f"stopped in {stopped_in:.2f} s, started again in {starts[-1]:.2f} s")
    assert min(starts) < 6
    assert before == {key["KeyId"] for key in Casemate(running).boto3("kms").list_keys()["Keys"]}
    assert before


@pytest.mark.alone
def test_sigterm_leaves_no_process_within_five_seconds(running: Server) -> None:
    processes = len(running.pids())
    print(f"{processes} processes gone in {running.stop(signal.SIGTERM):.2f} s")
    assert processes >= 7  # itself, supervisor, two HSMs, jobs, web server and its workers


@pytest.mark.alone
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL], ids=["SIGTERM", "SIGKILL"])
def test_no_process_is_left_though_an_hsm_is_frozen(running: Server, number: int) -> None:
    os.kill(Casemate(running).hsm_pid(DEMO_HSMS[0]), signal.SIGSTOP)
    print(f"gone in {running.stop(number):.2f} s")
    assert not is_healthy(running.url)


@pytest.mark.parametrize("seconds", [0.0, 0.2, 1.0, 2.0, 3.5])
def test_ctrl_c_during_the_start_leaves_no_process(tmp_path: Path, seconds: float) -> None:
    server = Server(tmp_path / "data", "--immediate")
    server.launch()
    wait_until(lambda: can_be_stopped(server), seconds=START_SECONDS)  # before that, Python itself ends at Ctrl-C
    time.sleep(seconds)
    server.stop(signal.SIGINT)
    assert "Traceback" not in server.output_text()
    assert server.process is not None and server.process.returncode == 0, server.output_text()


def can_be_stopped(server: Server) -> bool:
    """Whether it has taken SIGTERM into its own hands."""
    assert server.process is not None
    status = Path(f"/proc/{server.process.pid}/status").read_text()
    caught = next(line for line in status.splitlines() if line.startswith("SigCgt:")).split()[1]
    return bool(int(caught, 16) >> (signal.SIGTERM - 1) & 1)


def test_a_request_to_stop_that_python_drops_is_not_forgotten() -> None:
    """An exception is dropped that is raised while an object is destroyed."""
    script = """
import os, signal
from console.serving import stopping
class Dropped:
    def __del__(self):
        os.kill(os.getpid(), signal.SIGTERM)
stopping.on_signals()
Dropped()
try:
    stopping.check()
except stopping.StopRequested:
    print("stopped")
"""
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    assert "Exception ignored in" in done.stderr
    assert done.stdout == "stopped\n"


@pytest.mark.alone
def test_sigkill_during_the_start_leaves_no_process(running: Server) -> None:
    server = running
    assert len(processes_about(server)) >= 6  # and the HSMs, if root looks: they show their environment to nobody else
    for tenths in range(8, 24, 2):  # of a second: from before the first process until after the last one
        if server.process is not None and server.process.poll() is None:
            server.stop()
        server.launch()
        time.sleep(tenths / 10)
        assert server.process is not None
        server.process.kill()
        server.process.wait()
        wait_until(lambda: not processes_about(server), seconds=2)


def processes_about(server: Server) -> list[int]:
    """Processes, of whatever parent, whose command line or environment names the server's port or folder."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            text = (folder / "cmdline").read_bytes() + (folder / "environ").read_bytes()
        except OSError:
            continue  # it has ended, or is not ours
        if f"--port\0{server.port}\0".encode() in text or f"CASEMATE_DATA={server.data}\0".encode() in text:
            found.append(int(folder.name))
    return found


def test_a_start_that_was_killed_while_seeding_is_made_good_by_the_next(tmp_path: Path) -> None:
    server = Server(tmp_path / "data", "--immediate")
    server.launch()
    wait_until(lambda: "Making the demo" in server.output_text(), seconds=START_SECONDS)
    time.sleep(0.7)
    server.stop(signal.SIGKILL)
    server.start()
    casemate = Casemate(server)
    assert casemate.boto3("sts", "bob").get_caller_identity()["Account"] == casemate.account
    stores = casemate.boto3("kms").describe_custom_key_stores()["CustomKeyStores"]
    assert [store["ConnectionState"] for store in stores] == ["CONNECTED"]
    server.stop()


def test_who_waits_for_the_first_health_finds_the_demo_and_its_credentials(tmp_path: Path) -> None:
    server = Server(tmp_path / "data", "--immediate")
    server.launch()
    wait_until(lambda: is_healthy(server.url), seconds=60)
    who = json.loads((server.data / "credentials.json").read_text())
    environment = (server.data / "aws.env").read_text()
    store = Casemate(server).boto3("kms").describe_custom_key_stores()["CustomKeyStores"]
    assert sorted(person["user_name"] for person in who) == ["<root>", "<root>", "alice", "bob", "carol", "mallory"]
    assert [person["user_name"] for person in who][-2:] == ["<root>", "<root>"]
    assert f"AWS_ENDPOINT_URL={server.url}\n" in environment
    assert [row["ConnectionState"] for row in store] == ["CONNECTED"]
    server.stop()


def test_two_servers_run_side_by_side(casemate: Casemate, running: Server) -> None:
    other = Casemate(running)
    assert is_healthy(casemate.url) and is_healthy(other.url)
    for hsm_id in DEMO_HSMS:
        assert casemate.hsm_pid(hsm_id) != other.hsm_pid(hsm_id)
    assert casemate.person("alice").access_key_id != other.person("alice").access_key_id
    assert other.boto3("sts").get_caller_identity()["Account"] == other.account


@pytest.mark.alone
def test_what_dies_is_started_again(running: Server) -> None:
    casemate = Casemate(running)
    workers = {pid for pid in running.pids() if "granian" in " ".join(command_line(pid))}
    supervisor = next(pid for pid in running.pids() if "supervise" in command_line(pid))
    hsms = {casemate.hsm_pid(hsm_id) for hsm_id in DEMO_HSMS}
    os.kill(supervisor, signal.SIGKILL)
    os.kill(max(workers), signal.SIGKILL)

    def is_back() -> bool:
        try:
            new = {casemate.hsm_pid(hsm_id) for hsm_id in DEMO_HSMS}
        except LookupError:
            return False
        return not new & hsms and is_healthy(running.url)

    wait_until(is_back, seconds=START_SECONDS)
    assert running.process is not None and running.process.poll() is None


def wait_until(condition: Callable[[], bool], *, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.05)


def test_credentials_are_written_for_their_owner_only(running: Server) -> None:
    for name in ("credentials.json", "aws.env"):
        assert (running.data / name).stat().st_mode & 0o777 == 0o600
    people = json.loads((running.data / "credentials.json").read_text())
    assert sorted(person["user_name"] for person in people) == ["<root>", "<root>", "alice", "bob", "carol", "mallory"]
    fields = {"account", "user_name", "password", "access_key_id", "secret_access_key"}
    assert all(person.keys() == fields for person in people)


def test_aws_env_points_a_shell_at_the_server(running: Server) -> None:
    aws = Path(sys.executable).with_name("aws")
    script = f". {shlex.quote(str(running.data / 'aws.env'))}; {shlex.quote(str(aws))} sts get-caller-identity"
    done = subprocess.run(
        ["sh", "-c", script], env=clean_environment(), capture_output=True, text=True, timeout=30, check=False
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["Arn"].endswith(":user/alice")


def test_no_secret_is_in_an_argument_or_in_the_environment_of_a_process(running: Server) -> None:
    master_key = (running.data / "secret" / "master.key").read_bytes()
    subkeys = [Keyring.from_master_key(master_key).subkeys[purpose] for purpose in PURPOSES]
    people = Casemate(running).people.values()
    secrets = [secret.encode() for person in people for secret in (person.password, person.secret_access_key)]
    for key in (master_key, *subkeys):
        secrets += [key, key.hex().encode(), base64.b64encode(key)]
    looked_at = 0
    for pid in running.pids():
        for name in ("cmdline", "environ"):
            try:
                text = Path(f"/proc/{pid}/{name}").read_bytes()
            except PermissionError:
                # An HSM process lets nobody but root look into it.
                assert "hsmapp.device" in command_line(pid) and name == "environ"
                continue
            assert not [secret for secret in secrets if secret in text], f"a secret is in {name} of {command_line(pid)}"
            looked_at += 1
    assert looked_at >= len(running.pids())
    print(f"{looked_at} files of /proc, {len(secrets)} secrets, 0 found")


def test_a_port_in_use_is_refused(tmp_path: Path) -> None:
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)  # as granian does, which is how two could share it
        other.bind(("127.0.0.1", 0))
        other.listen()
        assert_refused(serve(tmp_path / "data", port=other.getsockname()[1]), "is in use")
    assert not (tmp_path / "data").exists()


def test_a_data_folder_in_use_is_refused(running: Server) -> None:
    assert_refused(serve(running.data), "Another server is running on the data folder")
    assert is_healthy(running.url)


REFUSED_OPTIONS = {
    "others could listen": (["--host", "0.0.0.0"], "--insecure"),  # noqa: S104
    "the demo on an address that others reach": (["--host", "0.0.0.0", "--insecure"], "--empty"),  # noqa: S104
    "the demo on an address that others reach, by TLS": (["--host", "0.0.0.0", "--tls"], "--empty"),  # noqa: S104
    "a seed file that is not there": (["--seed", "seed.yaml"], "The seed file seed.yaml can't be read: No such file"),
    "no such address": (["--host", "203.0.113.7", "--insecure", "--empty"], "can't be used"),
    "no workers": (["--workers", "0"], "--workers 0"),
}


@pytest.mark.parametrize(("options", "sentence"), REFUSED_OPTIONS.values(), ids=REFUSED_OPTIONS)
def test_an_option_that_can_not_be_served_is_refused(tmp_path: Path, options: list[str], sentence: str) -> None:
    assert_refused(serve(tmp_path / "data", *options), sentence)
    assert not (tmp_path / "data").exists()


def test_a_data_folder_that_can_not_be_written_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    assert_refused(serve(tmp_path / "file"), "is a file")
    assert_refused(serve(Path("/proc/casemate")), "can't be written")


@pytest.fixture
def stopped_data(server: Server, tmp_path: Path) -> Path:
    """A copy of the data folder of a server that has stopped."""
    if server.process is not None and server.process.poll() is None:
        server.stop()
    return Path(
        shutil.copytree(server.data, tmp_path / "copy", ignore=shutil.ignore_patterns("static", "softhsm", "run"))
    )


def wrong_master_key(data: Path) -> None:
    (data / "secret" / "master.key").write_bytes(os.urandom(32))


def no_master_key(data: Path) -> None:
    (data / "secret" / "master.key").unlink()


def short_master_key(data: Path) -> None:
    (data / "secret" / "master.key").write_bytes(b"short")


def newer_database(data: Path) -> None:
    with closing(sqlite3.connect(data / "casemate.sqlite3")) as database, database:
        database.execute(
            "INSERT INTO django_migrations (app, name, applied) VALUES ('kmsapp', '9999_later', '2030-01-01 00:00:00')"
        )


def no_database(data: Path) -> None:
    (data / "casemate.sqlite3").write_bytes(b"this is not a database" * 1000)


SPOILED = {
    "wrong master key": (wrong_master_key, "is not the one"),
    "no master key": (no_master_key, "is missing"),
    "short master key": (short_master_key, "has 5 bytes"),
    "newer database": (newer_database, "newer than this code (kmsapp.9999_later"),
    "not a database": (no_database, "can't be read"),
}


@pytest.mark.parametrize(("spoil", "sentence"), SPOILED.values(), ids=SPOILED)
def test_a_spoiled_data_folder_is_refused_and_not_changed(
    stopped_data: Path, spoil: Callable[[Path], None], sentence: str
) -> None:
    spoil(stopped_data)
    before = contents(stopped_data)
    assert_refused(serve(stopped_data), sentence)
    assert contents(stopped_data) == before


def test_the_demo_is_not_served_to_others(stopped_data: Path) -> None:
    before = contents(stopped_data)
    assert_refused(serve(stopped_data, "--host", "0.0.0.0", "--insecure"), "one machine only")  # noqa: S104
    assert contents(stopped_data) == before


def test_a_full_disk_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "small"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", folder], check=False, capture_output=True
    )
    if mounted.returncode != 0:
        pytest.skip("this machine does not let the tests mount a small file system")
    try:
        assert_refused(serve(folder / "data"), "is full")
        subprocess.run(["mount", "-o", "remount,ro", folder], check=True)
        assert_refused(serve(folder / "data"), "can't be written")
        assert list(folder.iterdir()) == []
    finally:
        subprocess.run(["umount", folder], check=True)
