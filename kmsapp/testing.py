"""A real server for tests: the one that bin/serve starts, on a folder and a port of its own, and its clients.

`Server` starts, watches and stops it; `Casemate` is what tests use of one that answers; by `served_copy` most of them
come by one of their own. Fixtures are in conftest.py.
Whatever a server starts dies with the tests, however they end.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config

from casemate.server import clean_environment as clean_environment
from casemate.server import free_port as free_port
from casemate.testing import ROOT_USER, Person
from hsmapp.parent import die_with_parent

ROOT = Path(__file__).resolve().parent.parent
DEMO_ACCOUNT = "111122223333"
REGION = "us-west-2"
DEMO_HSMS = 2
START_SECONDS = 90.0
WAIT_SECONDS = 60.0


def _called(person: Mapping[str, str]) -> str:
    """What tests call one of the people: the user name, which is the same for root users of all accounts."""
    return f"root of {person['account']}" if person["user_name"] == ROOT_USER else person["user_name"]


class Server:
    """A process of bin/serve's Python part."""

    def __init__(
        self, data: Path, *options: str, port: int | None = None, environment: Mapping[str, str] | None = None
    ):
        self.data = data
        self.port = port or free_port()
        is_tls = "--tls" in options
        self.url = f"{'https' if is_tls else 'http'}://127.0.0.1:{self.port}"
        self.ca_file = data / "tls" / "root.crt" if is_tls else None  # what clients are to trust
        self.output = data.with_name(f"{data.name}.output")
        # Tests send more in a second than AWS answers; those about that say so.
        self._options = options if "--quotas" in options else (*options, "--quotas", "off")
        self._environment = {**clean_environment(), **(environment or {})}
        self._seen: set[tuple[int, str]] = set()
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> float:
        """Start it and wait until it has printed its screen; return the seconds that took."""
        started = time.monotonic()
        self.launch()
        while "answers at" not in self.output_text():
            assert self.process is not None and self.process.poll() is None, f"it ended:\n{self.output_text()}"
            assert time.monotonic() < started + START_SECONDS, f"not healthy:\n{self.output_text()}\n{self.logs()}"
            time.sleep(0.02)
        self._seen.clear()
        self.remember()
        return time.monotonic() - started

    def remember(self) -> None:
        """Note the processes that it has now: `stop` waits for their end too, whoever has killed their parents."""
        self._seen |= {(pid, _start_time(pid)) for pid in self.pids()}

    def launch(self) -> None:
        """Start it without waiting."""
        command = [sys.executable, "-m", "console.serving", "--data", str(self.data), "--port", str(self.port)]
        with self.output.open("wb") as output:
            self.process = subprocess.Popen(
                [*command, *self._options],
                cwd=ROOT,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=partial(die_with_parent, os.getpid()),
            )

    def stop(self, number: int = signal.SIGTERM, *, within_seconds: float = 5.0) -> float:
        """End it with a signal; return the seconds until none of its processes was left, which must be few."""
        assert self.process is not None
        self.remember()
        processes = self._seen
        started = time.monotonic()
        self.process.send_signal(number)
        while self.process.poll() is None or (left := [pid for pid, at in processes if _is_alive(pid, at)]):
            if time.monotonic() > started + within_seconds:
                left = [pid for pid, at in processes if _is_alive(pid, at)]
                commands = [" ".join(command_line(pid)) for pid in left]
                for pid in left:
                    os.kill(pid, signal.SIGKILL)
                raise AssertionError(f"still there after {within_seconds} s: {commands}")
            time.sleep(0.01)
        return time.monotonic() - started

    def pids(self) -> list[int]:
        """Its process and all below it."""
        assert self.process is not None
        return [self.process.pid, *descendants(self.process.pid)]

    def web_workers(self) -> list[int]:
        """The processes that serve, without the one that keeps them; the oldest first."""
        assert self.process is not None
        web = [pid for pid in descendants(self.process.pid) if "granian" in command_line(pid)]
        return sorted((pid for pid in web if not descendants(pid)), key=lambda pid: int(_start_time(pid) or 0))

    def output_text(self) -> str:
        return self.output.read_text() if self.output.exists() else ""

    def logs(self) -> str:
        return "\n".join(f"== {log.name}\n{log.read_text()[-3000:]}" for log in sorted((self.data / "log").glob("*")))


class Casemate:
    """A server with the demo that answers, and ways to talk to it."""

    account = DEMO_ACCOUNT

    def __init__(self, server: Server):
        self.server = server
        self.url = server.url
        self.data = server.data
        people = json.loads((server.data / "credentials.json").read_text())
        self.people = {_called(person): Person(**person) for person in people}

    def person(self, user_name: str) -> Person:
        """One of the demo's people, or the root user of an account: `casemate.person("root of 111122223333")`."""
        return self.people[user_name]

    def boto3(self, service: str, person: str = "alice", region: str = REGION, **config: Any) -> Any:
        """A boto3 client that signs as the person and tries once, so that a test sees each answer."""
        who = self.person(person)
        return boto3.client(
            service,
            region_name=region,
            endpoint_url=self.url,
            verify=str(self.server.ca_file) if self.server.ca_file else None,
            aws_access_key_id=who.access_key_id,
            aws_secret_access_key=who.secret_access_key,
            config=Config(**{"retries": {"total_max_attempts": 1}, "read_timeout": 30, **config}),
        )

    def cli(
        self, *arguments: str, person: str = "alice", region: str = REGION, **options: Any
    ) -> subprocess.CompletedProcess[str]:
        """Run the AWS CLI as the person: `casemate.cli("kms", "list-keys")`. The exit code is not checked."""
        return subprocess.run(
            [str(Path(sys.executable).with_name("aws")), *arguments],
            env=self.cli_environment(person, region),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
            **options,
        )

    def cli_environment(self, person: str = "alice", region: str = REGION) -> dict[str, str]:
        """The environment of an AWS client: what aws.env exports, and nothing of this machine's own configuration."""
        who = self.person(person)
        return {
            **clean_environment(),
            "AWS_ENDPOINT_URL": self.url,
            **({"AWS_CA_BUNDLE": str(self.server.ca_file)} if self.server.ca_file else {}),
            "AWS_ACCESS_KEY_ID": who.access_key_id,
            "AWS_SECRET_ACCESS_KEY": who.secret_access_key,
            "AWS_DEFAULT_REGION": region,
            "AWS_REGION": region,
            "AWS_CONFIG_FILE": "/dev/null",
            "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_MAX_ATTEMPTS": "1",
            "AWS_PAGER": "",
        }

    def manage(self, *arguments: str) -> str:
        """Run manage.py on this server's data as an operator would: `casemate.manage("hsm", "stop", hsm_id)`."""
        done = subprocess.run(
            [sys.executable, str(ROOT / "manage.py"), *arguments],
            env={**clean_environment(), "CASEMATE_DATA": str(self.data), "CASEMATE_IMMEDIATE": "1"},
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def wait_for_hsms(self, active: int) -> None:
        """Wait until that many HSMs of the demo's cluster are ACTIVE."""
        client = self.boto3("cloudhsmv2")
        self.wait_until(lambda: self._active_hsms(client) == active, f"{active} active HSMs")

    def wait_until(self, done: Callable[[], bool], what: str) -> None:
        """Wait for something that the server brings about."""
        deadline = time.monotonic() + WAIT_SECONDS
        while not done():
            assert time.monotonic() < deadline, f"waited {WAIT_SECONDS} s for {what}:\n{self.server.logs()}"
            time.sleep(0.05)

    def _active_hsms(self, client: Any) -> int:
        (cluster,) = client.describe_clusters(Filters={"clusterIds": ["cluster-1a23b4cdefg"]})["Clusters"]
        return sum(hsm["State"] == "ACTIVE" for hsm in cluster["Hsms"])

    def hsm_pid(self, hsm_id: str) -> int:
        """Process id of an HSM of this server. Raises LookupError while there is none."""
        found = [pid for pid in self.server.pids() if hsm_id in command_line(pid)]
        if len(found) != 1:
            raise LookupError(f"{len(found)} processes of {hsm_id}")
        return found[0]


def stopped_server(data: Path) -> Path:
    """Start a server with the demo on a new data folder and stop it; return the folder."""
    server = Server(data, "--immediate")
    server.start()
    server.stop()
    return data


def copy_data(stopped: Path, data: Path) -> None:
    """Copy the data folder of a server that was stopped; sockets can't be copied."""
    shutil.copytree(stopped, data, ignore=shutil.ignore_patterns("run"))


@contextmanager
def served_copy(
    stopped: Path, data: Path, *options: str, environment: Mapping[str, str] | None = None
) -> Iterator[Casemate]:
    """A server on a copy of the data folder of one that was stopped, until the end of the block.

    Most of a first start is the work of making the demo, which its own tests look at (console/tests/test_serve.py).
    """
    copy_data(stopped, data)
    server = Server(data, *options, environment=environment)
    server.start()
    try:
        casemate = Casemate(server)
        casemate.wait_for_hsms(DEMO_HSMS)  # it answers as soon as one of them serves
        yield casemate
    finally:
        server.stop()


def descendants(pid: int) -> list[int]:
    """Every process below another one."""
    children: dict[int, list[int]] = {}
    for folder in Path("/proc").glob("[0-9]*"):
        if (fields := _stat(int(folder.name))) is not None:
            children.setdefault(int(fields[1]), []).append(int(folder.name))
    found: list[int] = []
    waiting = [pid]
    while waiting:
        below = children.get(waiting.pop(), [])
        found += below
        waiting += below
    return found


def command_line(pid: int) -> list[str]:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().decode().split("\0")[:-1]
    except OSError:
        return []


def _stat(pid: int) -> list[str] | None:
    """The fields of /proc/<pid>/stat from the state on; None if there is no such process."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
    except OSError:
        return None


def _start_time(pid: int) -> str:
    fields = _stat(pid)
    return fields[19] if fields else ""


def _is_alive(pid: int, started_at: str) -> bool:
    """Whether that very process is still there. A dead one that nobody has waited for yet does not count."""
    fields = _stat(pid)
    return fields is not None and fields[19] == started_at and fields[0] not in "ZX"
