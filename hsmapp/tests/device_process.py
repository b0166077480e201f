"""Real HSM processes in a temporary folder, for tests: start, ask, kill.

The PKCS#11 module is the one PKCS11_MODULE or SOFTHSM2_MODULE names, the installed one, or what hsmapp.softhsm finds.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hsmapp.device.protocol import Connection, pack

REPOSITORY = Path(__file__).resolve().parents[2]
SHARED_DATA = REPOSITORY.parent / "shared" / "data"
INSTALLED = ("/usr/lib/softhsm/libsofthsm2.so", "/usr/lib/x86_64-linux-gnu/softhsm/libsofthsm2.so")
DEADLINE = 5.0
START_SECONDS = 20.0


def find_module() -> Path:
    """Return the PKCS#11 module to test with."""
    named = os.environ.get("PKCS11_MODULE") or os.environ.get("SOFTHSM2_MODULE")
    for candidate in (named, *INSTALLED):
        if candidate and Path(candidate).exists():
            return Path(candidate)
    from hsmapp import softhsm

    return softhsm.find_module(REPOSITORY / "var")


@dataclass
class DeviceProcess:
    """One HSM: its folder, its secrets, and the process while it runs."""

    root: Path
    hsm_id: str
    capacity: int = 3300
    module: Path = field(default_factory=find_module)
    pin: str = field(default_factory=lambda: secrets.token_hex(16), repr=False)
    so_pin: str = field(default_factory=lambda: secrets.token_hex(16), repr=False)
    control_secret: bytes = field(default_factory=lambda: secrets.token_bytes(32), repr=False)
    process: subprocess.Popen[bytes] | None = None
    ready_seconds: float = 0.0

    def __post_init__(self) -> None:
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)

    @property
    def folder(self) -> Path:
        return self.root / self.hsm_id

    @property
    def socket(self) -> Path:
        return self.root / f"{self.hsm_id}.sock"

    @property
    def running(self) -> subprocess.Popen[bytes]:
        assert self.process is not None
        return self.process

    def configuration(self, **changes: Any) -> dict[str, Any]:
        given = {
            "hsm_id": self.hsm_id,
            "parent_pid": os.getpid(),
            "module": str(self.module),
            "folder": str(self.folder),
            "lock": str(self.root / f"{self.hsm_id}.lock"),
            "socket": str(self.socket),
            "capacity": self.capacity,
            "pin": self.pin,
            "control_secret": self.control_secret,
        }
        if not (self.folder / "users").exists():
            given["so_pin"] = self.so_pin
        return given | changes

    def launch(self, **changes: Any) -> subprocess.Popen[bytes]:
        """Start the process and give it its configuration; it may not become ready."""
        self.process = subprocess.Popen(
            [sys.executable, "-m", "hsmapp.device", self.hsm_id],
            cwd=REPOSITORY,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={"PATH": os.environ["PATH"]},
        )
        assert self.process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.write(pack(self.configuration(**changes)))
            self.process.stdin.flush()
        return self.process

    def start(self) -> DeviceProcess:
        before = time.monotonic()
        process = self.launch()
        assert process.stdout is not None
        assert process.stderr is not None
        line = process.stdout.readline()
        if line != b"ready\n":
            raise AssertionError(f"not ready: {line!r} {process.stderr.read()!r}")
        self.ready_seconds = time.monotonic() - before
        return self

    def stop(self) -> int:
        """End the process by closing its standard input; return its exit code."""
        if self.process is None:
            return 0
        for stream in (self.process.stdin, self.process.stdout):
            if stream is not None:
                stream.close()
        code = self.process.wait(START_SECONDS)
        if self.process.stderr is not None:
            self.process.stderr.close()
        self.process = None
        return code

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.stop()

    def freeze(self) -> None:
        """Stop the process and wait until it has stopped: a request that came before that would still be done."""
        self.running.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, self.running.pid, os.WSTOPPED)

    def restart(self) -> DeviceProcess:
        self.stop()
        return self.start()

    def connect(self) -> Connection:
        return Connection.connect(self.socket, timeout=1.0)

    def control(self) -> Connection:
        connection = self.connect()
        connection.call("control", {"secret": self.control_secret}, deadline_seconds=DEADLINE)
        return connection

    def login(self, user: str, password: str, client: str = "test") -> Connection:
        connection = self.connect()
        connection.call("login", {"user": user, "password": password, "client": client}, deadline_seconds=DEADLINE)
        return connection


def ask(connection: Connection, op: str, **args: Any) -> dict[str, Any]:
    """Call an operation with the tests' deadline."""
    return connection.call(op, args, deadline_seconds=DEADLINE)


@dataclass(frozen=True)
class MaskedKey:
    """A generated key as the rest of the system keeps it."""

    label: str
    id: str
    masked: bytes
    check: bytes

    @property
    def arguments(self) -> dict[str, Any]:
        return {"label": self.label, "id": self.id, "masked": self.masked, "check": self.check}


def new_key(connection: Connection, label: str = "") -> MaskedKey:
    """Generate a key and restore it in the same HSM, as its logged-in user's."""
    key = generate(connection, label)
    ask(connection, "restore_key", **key.arguments)
    return key


def generate(connection: Connection, label: str = "") -> MaskedKey:
    label = label or f"arn:aws:kms:us-west-2:111122223333:key/{secrets.token_hex(16)}"
    id_ = secrets.token_hex(32)
    made = ask(connection, "generate_key", label=label, id=id_)
    return MaskedKey(label, id_, made["masked"], made["check"])


PASSWORD = "kmsuser-password-1"
ADMIN_PASSWORD = "admin-password-1"


def activated(
    root: Path, hsm_id: str = "hsm-abcdefghijk", *, capacity: int = 3300, module: Path | None = None
) -> DeviceProcess:
    """A running, serving HSM with a masking key, the admin `admin` and the crypto user `kmsuser`."""
    device = DeviceProcess(root, hsm_id, capacity=capacity, module=module or find_module()).start()
    with device.control() as control:
        ask(control, "make_masking_key")
        ask(control, "activate", password=ADMIN_PASSWORD)
        ask(control, "create_user", user="kmsuser", role="crypto-user", password=PASSWORD)
        ask(control, "serve")
    return device
