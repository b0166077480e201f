"""A server as a child of the tests: started on a folder and a free port, watched until it answers, and stopped."""

from __future__ import annotations

import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

from casemate import code
from casemate.__main__ import DIE_WITH_PARENT

ANSWERS = "answers at"  # on the screen that a server prints when it does
START_SECONDS = 90.0
STOP_SECONDS = 10.0
LOWEST_PORT = 10_000
_PORTS_OF_CLIENTS = Path("/proc/sys/net/ipv4/ip_local_port_range")


class ServerError(Exception):
    """The server ended, or did not answer in time. The message holds what it printed."""


def free_port() -> int:
    """A port that nobody listens on, nor gets as a client: a server that starts again must find its own port free."""
    first_of_clients = int(_PORTS_OF_CLIENTS.read_text().split()[0])
    while True:
        port = secrets.choice(range(LOWEST_PORT, first_of_clients))
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


def clean_environment() -> dict[str, str]:
    """The environment without what would point a server or an AWS client elsewhere."""
    prefixes = ("AWS_", "CASEMATE_", "DJANGO_")
    return {name: value for name, value in os.environ.items() if not name.startswith(prefixes)}


class ServerProcess:
    """`casemate serve` on a data folder. It dies with this process, however that ends."""

    def __init__(self, data: Path, *options: str, port: int | None = None) -> None:
        self.data = data
        self.port = port or free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._output = data.with_name(f"{data.name}.output")
        self._options = options
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> float:
        """Start it and wait until it answers; return the seconds that took. Raises ServerError."""
        started = time.monotonic()
        # Not this Python's path or folder: what is installed beside the tests may be anything.
        command = [sys.executable, "-P", "-m", "casemate", "serve", DIE_WITH_PARENT]
        with self._output.open("wb") as output:
            self._process = subprocess.Popen(  # noqa: S603
                [*command, "--data", str(self.data), "--port", str(self.port), *self._options],
                env={**clean_environment(), "PYTHONPATH": str(Path(__file__).resolve().parent.parent)},
                cwd=code(),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        while ANSWERS not in (text := self._output.read_text()):
            if self._process.poll() is not None:
                raise ServerError(f"The server ended with exit code {self._process.returncode}:\n{text}")
            if time.monotonic() > started + START_SECONDS:
                self.stop()
                raise ServerError(f"The server does not answer after {START_SECONDS:.0f} s:\n{text}")
            time.sleep(0.02)
        return time.monotonic() - started

    def stop(self) -> None:
        """End it, and everything that it has started. It may have ended already."""
        if self._process is None:
            return
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None
