"""What bin/serve is told on its command line, and the environment that its processes get for it."""

from __future__ import annotations

import argparse
import ipaddress
import os
import socket
from dataclasses import dataclass
from pathlib import Path

BASE = Path(__file__).resolve().parent.parent.parent
EVERY_ADDRESS = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - and how this machine reaches itself


class CannotStartError(Exception):
    """Why the server doesn't start: one sentence that says what to do."""


@dataclass(frozen=True)
class Options:
    host: str
    port: int
    tls: bool
    data: Path  # absolute
    master_key_file: Path  # absolute
    empty: bool  # no demo on an empty data folder
    seed: Path | None  # what an empty data folder begins with, in place of the demo; as it was written
    workers: int
    immediate: bool
    resettable: bool = False  # accounts can be put back to what they are when it starts
    quotas: bool = True  # requests are throttled as AWS throttles them

    @property
    def url(self) -> str:
        """The address for a person on this machine."""
        host = EVERY_ADDRESS.get(self.host, self.host)
        return f"{'https' if self.tls else 'http'}://{f'[{host}]' if ':' in host else host}:{self.port}"

    @property
    def is_loopback(self) -> bool:
        return is_loopback(self.host)

    def environment(self) -> dict[str, str]:
        """Settings for the processes (console/settings.py). Never a secret."""
        values = {
            "DJANGO_SETTINGS_MODULE": "console.settings",
            "CASEMATE_DATA": str(self.data),
            "CASEMATE_MASTER_KEY_FILE": str(self.master_key_file),
        }
        if self.immediate:
            values["CASEMATE_IMMEDIATE"] = "1"
        if self.resettable:
            values["CASEMATE_RESETTABLE"] = "1"
        if self.tls:
            values["CASEMATE_TLS"] = "1"
        if not self.is_loopback and "CASEMATE_ALLOWED_HOSTS" not in os.environ:
            # On all addresses, the names that people use for this machine can't be known.
            values["CASEMATE_ALLOWED_HOSTS"] = "*" if self.host in EVERY_ADDRESS else self.host
        return values


def is_loopback(host: str) -> bool:
    """Whether every address of the host name is this machine's own and reachable from it only."""
    try:
        addresses = {str(entry[4][0]) for entry in socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)}
    except OSError as error:
        raise CannotStartError(f"--host {host} is no address of this machine: {error}.") from error
    return all(ipaddress.ip_address(address.partition("%")[0]).is_loopback for address in addresses)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="bin/serve", description="Start Casemate: the console, the AWS API and the HSMs.", allow_abbrev=False
    )
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: 127.0.0.1)")
    parser.add_argument("--port", type=int, default=8000, help="port to listen on (default: 8000)")
    transport = parser.add_mutually_exclusive_group()
    transport.add_argument(
        "--tls", action="store_true", help="serve HTTPS, with a certificate of the data folder's own"
    )
    transport.add_argument("--insecure", action="store_true", help="allow plain HTTP on an address that others reach")
    parser.add_argument("--data", type=Path, default=BASE / "var", help="data folder (default: var beside the code)")
    parser.add_argument(
        "--master-key-file", type=Path, help="default: <data>/secret/master.key, made at the first start"
    )
    content = parser.add_mutually_exclusive_group()
    content.add_argument("--empty", action="store_true", help="leave an empty data folder without the demo")
    content.add_argument(
        "--seed",
        type=Path,
        metavar="FILE",
        help="YAML file of what an empty data folder begins with in place of the demo",
    )
    parser.add_argument("--workers", type=int, default=2, help="web worker processes (default: 2)")
    parser.add_argument("--immediate", action="store_true", help="stores, clusters and HSMs change state at once")
    parser.add_argument(
        "--resettable",
        action="store_true",
        help="for tests: whoever can read the data folder may put an account back to what it is at this start",
    )
    parser.add_argument(
        "--quotas", choices=["aws", "off"], default="aws", help="request quotas: AWS's, or none (default: aws)"
    )
    return parser


def parse(arguments: list[str]) -> Options:
    """Read the command line. Raises CannotStartError for what can't be served; argparse itself exits with 2."""
    given = _parser().parse_args(arguments)
    if os.environ.get("DATABASE_URL"):
        # Ignoring it would be worse: whoever set it would look for the keys in a database that has none.
        raise CannotStartError("DATABASE_URL is set, but PostgreSQL is not built yet: unset it to use SQLite.")
    if not 1 <= given.port <= 65535:
        raise CannotStartError(f"--port {given.port} is not a port: give a number from 1 to 65535.")
    if not 1 <= given.workers <= 64:
        raise CannotStartError(f"--workers {given.workers} is out of range: give a number from 1 to 64.")
    if not given.tls and not given.insecure and not is_loopback(given.host):
        raise CannotStartError(
            f"--host {given.host} can be reached by others, who could read every secret on the way: "
            "say --tls, or --insecure if that is meant."
        )
    data = given.data.absolute()
    return Options(
        host=given.host,
        port=given.port,
        tls=given.tls,
        data=data,
        master_key_file=(given.master_key_file or data / "secret" / "master.key").absolute(),
        empty=given.empty,
        seed=given.seed,
        workers=given.workers,
        immediate=given.immediate,
        quotas=given.quotas == "aws",
        resettable=given.resettable,
    )
