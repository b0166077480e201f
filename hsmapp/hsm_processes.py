"""Start an HSM process and connect to it: for the supervisor, which keeps it running, and for `restore`.

The process dies with its parent: its standard input closes, and the kernel kills it if the parent is killed.
"""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
import threading
from dataclasses import dataclass, field
from pathlib import Path

from django.conf import settings

from hsmapp import hsms, softhsm
from hsmapp.device import protocol
from hsmapp.device.protocol import Connection
from hsmapp.models import Hsm

START_SECONDS = 60.0  # opening a full token of an hsm2m.medium takes seconds, on a busy machine many
CONNECT_SECONDS = 1.0
CONTROL_SECONDS = 2.0
STOP_SECONDS = 2.0
TOKEN_UNUSABLE = 4  # exit code of an HSM process whose token is gone or damaged (hsmapp/device/__main__.py)
ENDING_SECONDS = 0.2


class ProcessEndedError(Exception):
    """The HSM process ended or does not answer."""


class NotReadyError(ProcessEndedError):
    """The HSM process ended before it was ready. status: its exit code. said: why, a sentence; may be empty."""

    def __init__(self, status: int, said: str) -> None:
        super().__init__(f"the HSM process ended with status {status} before it was ready{said and f': {said}'}")
        self.status = status
        self.said = said


def hsm_folder(hsm_id: str) -> Path:
    """Where an HSM keeps its token, its users and the owners of its keys."""
    folder: Path = settings.DATA / "hsm" / hsm_id
    return folder


def socket_path(hsm_id: str) -> Path:
    path: Path = settings.DATA / "run" / f"{hsm_id}.sock"
    return path


@dataclass
class HsmProcess:
    """A running HSM process and its parent's connection to it."""

    child: subprocess.Popen[bytes]
    control_secret: bytes = field(repr=False)
    control: Connection | None = None

    def ended(self) -> bool:
        return self.child.poll() is not None

    def ends_soon(self) -> bool:
        """Whether it is on its way out: its connections end a moment before it does."""
        try:
            self.child.wait(ENDING_SECONDS)
        except subprocess.TimeoutExpired:
            return False
        return True

    def connect(self, hsm_id: str) -> Connection:
        """The connection over which the process does what its parent says."""
        self.control = Connection.connect(socket_path(hsm_id), CONNECT_SECONDS)
        self.control.call("control", {"secret": self.control_secret}, deadline_seconds=CONTROL_SECONDS)
        return self.control

    def stop(self, *, at_once: bool = False) -> None:
        """Close its standard input, which ends it; kill it if it does not, or at once one that answers nothing."""
        if self.control is not None:
            self.control.close()
        if self.child.stdin is not None:
            self.child.stdin.close()
        if at_once:
            self.child.kill()
        try:
            self.child.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.child.kill()
            self.child.wait()
        if self.child.stdout is not None:
            self.child.stdout.close()


def start(hsm: Hsm, *, stderr: int | None = None) -> HsmProcess:
    """Start the process of an HSM and hand it what it needs on its standard input, never in argv or the environment.

    stderr: subprocess.DEVNULL to have what it says in NotReadyError only; None lets it speak where this process does.
    Raises: ProcessEndedError, OSError, SoftHsmMissingError.
    """
    folder, socket = hsm_folder(hsm.hsm_id), socket_path(hsm.hsm_id)
    for path in (folder, socket.parent):
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
    child = subprocess.Popen(  # noqa: S603 - our own program, an id from our own database
        [sys.executable, "-m", "hsmapp.device", hsm.hsm_id],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=stderr,
        cwd=settings.BASE,
        start_new_session=True,
    )
    process = HsmProcess(child, secrets.token_bytes(32))
    try:
        _hand_over(child, _configuration(hsm, process, folder, socket))
    except BaseException:
        process.stop()
        raise
    return process


def _configuration(hsm: Hsm, process: HsmProcess, folder: Path, socket: Path) -> dict[str, object]:
    configuration: dict[str, object] = {
        "parent_pid": os.getpid(),
        "hsm_id": hsm.hsm_id,
        "module": str(softhsm.find_module(settings.DATA)),
        "folder": str(folder),
        "lock": str(folder.parent / f"{hsm.hsm_id}.lock"),
        "socket": str(socket),
        "pin": hsms.pin(hsm),
        "control_secret": process.control_secret,
        "capacity": hsm.cluster.capacity,
    }
    if not hsm.token_made:
        configuration["so_pin"] = hsms.so_pin(hsm)
    return configuration


def _hand_over(child: subprocess.Popen[bytes], configuration: dict[str, object]) -> None:
    if child.stdin is None or child.stdout is None:
        raise ProcessEndedError("the HSM process has no standard input or output")
    child.stdin.write(protocol.pack(configuration))
    child.stdin.flush()
    timer = threading.Timer(START_SECONDS, child.kill)
    timer.start()
    try:
        line = child.stdout.readline()
    finally:
        timer.cancel()
    if line != b"ready\n":
        raise NotReadyError(child.wait(), line.decode(errors="replace").strip())
