"""Processes of a server that are stopped or killed again and again: who notices, what is said, what goes on."""

from __future__ import annotations

import http.client
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from django.test import Client

from console.serving import vigil
from console.serving.children import Child
from console.serving.health import is_healthy
from console.serving.options import parse
from console.serving.processes import TOO_MANY_DEATHS, KeepsFailingError, Processes
from console.serving.pulses import Pulses, is_stopped, parent_of
from console.serving.troubles import TroubleNote, read
from hsmapp import heartbeat
from hsmapp.sealing import Keyring
from hsmapp.testing import wait_until
from kmsapp.testing import Casemate, Server, command_line, descendants, served_copy


@pytest.fixture(scope="module")
def server(stopped_server: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with served_copy(stopped_server, tmp_path_factory.mktemp("frozen") / "data", "--immediate") as casemate:
        yield casemate.server


def process_of(server: Server, kind: str) -> int:
    """Process id of the supervisor, jobs or web server."""
    found = {"supervisor": "supervise", "jobs": "jobs", "web": "granian"}[kind]
    return next(pid for pid in server.pids() if found in command_line(pid))


def workers_of(server: Server) -> set[int]:
    web = process_of(server, "web")
    return set(descendants(web))


def troubles_of(server: Server) -> dict[str, str]:
    """What bin/serve has noted for its web workers: their environment says where."""
    environment = Path(f"/proc/{process_of(server, 'web')}/environ").read_bytes().split(b"\0")
    return read(
        next(entry for entry in environment if entry.startswith(b"CASEMATE_TROUBLES=")).decode().partition("=")[2]
    )


def status(server: Server) -> str:
    try:
        with closing(http.client.HTTPConnection("127.0.0.1", server.port, timeout=2)) as connection:
            connection.request("GET", "/healthz")
            return str(json.load(connection.getresponse())["status"])
    except (OSError, http.client.HTTPException):
        return ""  # the connection went to a worker that has just been stopped or killed


@pytest.mark.alone
def test_a_process_that_was_stopped_is_named_and_woken(server: Server) -> None:
    web_worker = max(workers_of(server))
    frozen = [process_of(server, "supervisor"), process_of(server, "jobs"), web_worker]
    for pid in frozen:
        os.kill(pid, signal.SIGSTOP)
    named: dict[str, str] = {}

    def all_woken() -> bool:
        named.update(troubles_of(server))
        return not any(is_stopped(pid) for pid in frozen)

    wait_until(all_woken, "the processes to go on")
    print(f"named: {named}")
    assert named == dict.fromkeys(("supervisor", "jobs", "web worker"), "no sign of life")
    wait_until(lambda: status(server) == "ok", "health")
    assert frozen == [process_of(server, "supervisor"), process_of(server, "jobs"), web_worker]


# Beats once, and then never again; with an argument, so does a child of it that it looks after.
MUTE = """
import os, socket, sys, time
to = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
if sys.argv[1:]:
    if os.fork():
        os.wait()
    else:
        to.sendto(b"web worker", os.environ["CASEMATE_HEARTBEAT"])
else:
    to.sendto(b"mute", os.environ["CASEMATE_HEARTBEAT"])
time.sleep(3600)
"""


@pytest.mark.alone
def test_what_does_not_wake_is_killed_and_started_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(vigil, "WAKE_SECONDS", 0.5)
    monkeypatch.setattr(vigil, "KILL_SECONDS", 1.0)
    processes = Processes(parse(["--data", str(tmp_path)]), Keyring.from_master_key(b"k" * 32))
    mute = Child("mute", [sys.executable, "-c", MUTE], purposes=())
    processes.web = Child("web", [sys.executable, "-c", MUTE, "with a worker"], purposes=())
    processes.children = [mute, processes.web]
    try:
        processes.start()
        assert mute.process is not None and processes.web.process is not None
        mute_pid, web_pid = mute.process.pid, processes.web.process.pid

        def tended(condition: Callable[[], bool]) -> bool:
            processes.tend()
            return condition()

        wait_until(lambda: tended(lambda: mute.process is not None and mute.process.pid != mute_pid), "another one")
        wait_until(lambda: tended(lambda: not has_worker(web_pid)), "the end of the worker")
        assert mute.deaths[0].after_living
        assert processes.web.process.pid == web_pid  # a silent worker is the web server's to replace
    finally:
        processes.stop()
    said = capfd.readouterr().err
    assert "A process (mute) shows no sign of life and is killed." in said
    assert "A process (web worker) shows no sign of life and is killed." in said


def has_worker(web_pid: int) -> bool:
    """Whether a child of the process runs; one that has ended and was waited for is none."""
    return bool(descendants(web_pid))


@pytest.mark.alone
def test_a_frozen_web_server_is_noticed_though_its_workers_answer(server: Server) -> None:
    web = process_of(server, "web")
    os.kill(web, signal.SIGSTOP)
    wait_until(lambda: troubles_of(server) == {"web": "no sign of life"}, "its name")
    wait_until(lambda: not is_stopped(web), "its end of the stop")
    wait_until(lambda: status(server) == "ok", "health")


@pytest.mark.alone
def test_web_workers_killed_twice_a_second_do_not_end_the_service(server: Server) -> None:
    end = time.monotonic() + 8
    killed = 0
    while time.monotonic() < end:
        try:
            os.kill(max(workers_of(server)), signal.SIGKILL)
            killed += 1
        except (ValueError, StopIteration, ProcessLookupError):
            pass  # none is there at this moment
        time.sleep(0.5)
    started = time.monotonic()
    # Its web server may still be about to end, and one worker answers until it does.
    wait_until(lambda: len(server.web_workers()) == 2 and is_healthy(server.url), "health")
    print(f"{killed} workers killed; healthy {time.monotonic() - started:.1f} s later")
    assert killed >= 5
    assert server.process is not None and server.process.poll() is None
    kms = Casemate(server).boto3("kms")
    assert kms.describe_key(KeyId="alias/ExampleKey")["KeyMetadata"]["Enabled"]


def test_what_never_shows_a_sign_of_life_ends_the_server(tmp_path: Path) -> None:
    processes = Processes(parse(["--data", str(tmp_path)]), Keyring.from_master_key(b"k" * 32))
    broken = Child("broken", ["/bin/false"], purposes=())
    processes.children = [broken]
    try:
        with pytest.raises(KeepsFailingError, match="The broken process keeps ending"):
            while True:
                broken.start_at = 0.0  # the waits between are not what is tested
                processes.tend()
    finally:
        processes.stop()
    assert len(broken.deaths) == TOO_MANY_DEATHS


def test_silence_counts_only_while_somebody_listens(tmp_path: Path) -> None:
    pulses = Pulses(tmp_path / "run" / "heartbeat.sock")
    try:
        pulses.beat(os.getpid(), "test")
        pulses.listen(elapsed_seconds=3600.0)  # the listener itself was stopped for an hour
        pulse = pulses.of(os.getpid())
        assert pulse is not None and pulse.silent_seconds < vigil.NAMED_SECONDS
    finally:
        pulses.close()


def has_beaten(pulses: Pulses, pid: int) -> bool:
    pulses.listen(0.0)
    return pulses.of(pid) is not None


def test_a_beat_is_taken_for_that_of_its_sender_and_forgotten_with_it(tmp_path: Path) -> None:
    pulses = Pulses(tmp_path / "run" / "heartbeat.sock")
    try:
        heart = heartbeat.Heart("child", stuck_after_seconds=None)
        child = os.fork()
        if child == 0:
            heart.beat_for_ever(str(pulses.path))
        wait_until(lambda: has_beaten(pulses, child), "a beat")
        assert {pid: pulse.kind for pid, pulse in pulses.of_children(os.getpid()).items()} == {child: "child"}
        assert parent_of(child) == os.getpid()
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        pulses.listen(0.0)
        assert pulses.of(child) is None
    finally:
        pulses.close()


def test_a_stuck_main_loop_stops_the_beats(tmp_path: Path) -> None:
    pulses = Pulses(tmp_path / "run" / "heartbeat.sock")
    try:
        heart = heartbeat.Heart("loop", stuck_after_seconds=1.0)
        threading.Thread(target=heart.beat_for_ever, args=(str(pulses.path),), daemon=True).start()
        heart.progress()
        wait_until(lambda: has_beaten(pulses, os.getpid()), "a beat")

        def is_silent() -> bool:
            pulses.listen(0.02)  # about as often as wait_until asks
            pulse = pulses.of(os.getpid())
            return pulse is not None and pulse.silent_seconds > 2 * heartbeat.BEAT_SECONDS

        wait_until(is_silent, "silence")
        heart.progress()
        wait_until(lambda: not is_silent(), "beats again")
    finally:
        pulses.close()


def test_a_note_of_troubles_is_read_whole_or_not_at_all() -> None:
    note = TroubleNote()
    try:
        assert read(note.path) == {}
        note.write({"jobs": "no sign of life"})
        assert read(note.path) == {"jobs": "no sign of life"}
        note.write({})
        assert read(note.path) == {}
    finally:
        note.close()
    assert read("") == {}
    assert read("/proc/self/nothing") == {}


@pytest.mark.django_db
def test_healthz_names_what_is_wrong_with_the_server_s_processes(settings: Any) -> None:
    note = TroubleNote()
    settings.TROUBLES = note.path
    try:
        assert Client().get("/healthz").json()["status"] == "ok"
        note.write({"jobs": "no sign of life"})
        answer = Client().get("/healthz")
        assert (answer.status_code, answer.json()["status"]) == (200, "jobs: no sign of life")
    finally:
        note.close()
