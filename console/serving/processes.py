"""The processes of a running server: web workers, jobs and the supervisor of the HSM processes.

Each one leads a session of its own and is killed by the kernel when this process dies, however it dies. One that dies
is started again, and so is one that shows no sign of life any more (vigil.py). One that keeps dying before it has shown
any ends the server; what lived can live, and is started again however often it is killed. `stop` takes at most
STOP_SECONDS.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from console.serving import tls
from console.serving.children import Child, Death
from console.serving.options import BASE, Options
from console.serving.vigil import Vigil
from hsmapp import sealing
from hsmapp.parent import die_with_parent
from kmsapp import rate_limits

STOP_SECONDS = 4.0  # the contract is 5
WEB_STOP_SECONDS = 2.5  # how long requests under way may hold up the rest
REPLACE_SECONDS = 5.0  # a web worker starts in one to two, on a busy machine in three
TOO_MANY_DEATHS = 5  # of one process before its first sign of life, within DEATHS_WINDOW_SECONDS
DEATHS_WINDOW_SECONDS = 60.0
BACK_OFF_SECONDS = (0.1, 0.4, 1.6, 6.4)  # before the next start of what has not lived
REVIVE_SECONDS = (0.1, 0.2, 0.5, 1.0, 2.0)  # before the next start of what has lived, by its deaths in the last minute
LOG_BYTES = 10 * 1024 * 1024  # a log longer than this is put aside at the next start


class KeepsFailingError(Exception):
    """Something that the server needs keeps failing. The message says where to look."""


def web_command(options: Options) -> list[str]:
    """granian with the flags that were found to matter.

    workers-kill-timeout: without it a stop during start-up can hang.
    respawn-failed-workers: without it one dead worker ends the server.
    respawn-interval: how long a worker that is replaced serves beside its successor. Those that die have none.
    blocking-threads: without it a worker may grow to hundreds of threads, all waiting for one database writer.
    """
    return [
        *(sys.executable, "-m", "granian", "--interface", "wsgi", "--http", "1", "--no-ws"),
        *("--host", options.host, "--port", str(options.port)),
        *("--workers", str(options.workers), "--blocking-threads", "4"),
        *("--workers-kill-timeout", "3", "--respawn-failed-workers", "--respawn-interval", str(REPLACE_SECONDS)),
        *_tls_flags(options),
        *("--no-access-log", "--log-level", "warning", "console.wsgi:application"),
    ]


def _tls_flags(options: Options) -> list[str]:
    """1.2 at the least, as AWS's own endpoints: older SDKs have no TLS 1.3."""
    if not options.tls:
        return []
    certificate, key = tls.server_paths(options.data)
    return ["--ssl-certificate", str(certificate), "--ssl-keyfile", str(key), "--ssl-protocol-min", "tls1.2"]


def manage_command(name: str) -> list[str]:
    return [sys.executable, str(BASE / "manage.py"), name]


class Processes:
    """Starts, watches and stops the processes of one server."""

    def __init__(self, options: Options, keyring: sealing.Keyring):
        self._options = options
        self._keyring = keyring
        self._keyring_files: dict[tuple[str, ...], int] = {}  # purposes -> descriptor
        self._logs = options.data / "log"
        self._logs.mkdir(mode=0o700, exist_ok=True)
        self.supervisor = Child("supervisor", manage_command("supervise"), sealing.SUPERVISOR)
        self.jobs = Child("jobs", manage_command("jobs"), sealing.JOBS)
        self.web = Child("web", web_command(options), sealing.WEB_WORKER)
        self.children = [self.supervisor, self.jobs, self.web]
        self._vigil = Vigil(options.data / "run" / "heartbeat.sock")
        self._quotas = rate_limits.make() if options.quotas else None

    def start(self) -> None:
        for child in self.children:
            self._start(child)

    def tend(self) -> None:
        """Start again what has died, if it is time, and end what is frozen. Call it a few times a second.

        Raises KeepsFailingError.
        """
        now = time.monotonic()
        self._vigil.round(self.children, self.web, now)
        for child in self.children:
            if child.process is not None and not child.is_running:
                self._note_death(child, now)
            if child.process is None and now >= child.start_at:
                self._start(child)

    def show_new_certificate(self) -> None:
        """Have the web server replace its workers one by one: each reads the certificate when it starts."""
        _signal_leader(self.web, signal.SIGHUP)

    def stop(self) -> None:
        """End every process: web first, so that no request meets HSMs that are already gone."""
        deadline = time.monotonic() + STOP_SECONDS
        web_deadline = time.monotonic() + WEB_STOP_SECONDS
        _signal_all([self.web, self.jobs], signal.SIGTERM)
        _wait_for([self.web, self.jobs], web_deadline)
        _signal_all([self.web], signal.SIGKILL)  # granian may sleep, beside workers that it replaces
        _signal_all([self.supervisor], signal.SIGTERM)
        _wait_for(self.children, deadline)
        # Also to groups whose leader has ended: a worker may have outlived it.
        _signal_all(self.children, signal.SIGKILL)
        _wait_for(self.children, deadline + 0.5)
        self._vigil.close()

    def _start(self, child: Child) -> None:
        with self._log_of(child) as log:
            child.process = subprocess.Popen(  # noqa: S603
                child.command,
                cwd=BASE,
                env=self._environment_of(child),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                preexec_fn=partial(die_with_parent, os.getpid()),
            )
        child.has_lived = False
        self._vigil.expect(child)

    def _note_death(self, child: Child, now: float) -> None:
        code = child.process.returncode if child.process else None
        child.process = None
        child.deaths = [*(death for death in child.deaths if death.at > now - DEATHS_WINDOW_SECONDS)]
        child.deaths.append(Death(now, after_living=child.has_lived))
        alike = sum(death.after_living == child.has_lived for death in child.deaths)
        if not child.has_lived and alike >= TOO_MANY_DEATHS:
            raise KeepsFailingError(
                f"The {child.name} process keeps ending (exit code {code}): see {self.log_path(child)}."
            )
        waits = REVIVE_SECONDS if child.has_lived else BACK_OFF_SECONDS
        child.start_at = now + waits[min(alike, len(waits)) - 1]
        print(f"The {child.name} process ended (exit code {code}) and is started again.", file=sys.stderr, flush=True)

    def _environment_of(self, child: Child) -> dict[str, str]:
        # AWS credentials of the shell are not ours, and granian copies the environment into every request.
        ours = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
        return {
            **ours,
            **self._vigil.environment(),
            "CASEMATE_KEYRING": self._keyring_path(child.purposes),
            "CASEMATE_REQUEST_QUOTAS": "" if self._quotas is None else _in_proc(self._quotas),
        }

    def _keyring_path(self, purposes: tuple[str, ...]) -> str:
        """Where a process finds the sealing subkeys it may have: a file that exists in memory only.

        It is opened by way of /proc, not inherited, because granian's workers inherit no descriptors.
        """
        if purposes not in self._keyring_files:
            descriptor = os.memfd_create("casemate-keyring")
            os.write(descriptor, self._keyring.limited_to(purposes).dump().encode())
            self._keyring_files[purposes] = descriptor
        return _in_proc(self._keyring_files[purposes])

    def log_path(self, child: Child) -> Path:
        return self._logs / f"{child.name}.log"

    @contextmanager
    def _log_of(self, child: Child) -> Iterator[int]:
        path = self.log_path(child)
        if path.exists() and path.stat().st_size > LOG_BYTES:
            path.replace(path.with_suffix(".log.1"))
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            yield descriptor
        finally:
            os.close(descriptor)


def _in_proc(descriptor: int) -> str:
    """The path by which other processes reach a file that this one has open."""
    return f"/proc/{os.getpid()}/fd/{descriptor}"


def _signal_all(children: list[Child], number: int) -> None:
    for child in children:
        if child.process is not None:
            try:
                os.killpg(child.process.pid, number)
            except ProcessLookupError:
                continue


def _signal_leader(child: Child, number: int) -> None:
    if child.process is not None and child.process.poll() is None:
        child.process.send_signal(number)


def _wait_for(children: list[Child], deadline: float) -> None:
    while any(child.is_running for child in children) and time.monotonic() < deadline:
        time.sleep(0.02)
