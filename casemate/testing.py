"""A KMS with a custom key store for the tests of other projects: `with running() as casemate: ...`, or the fixtures.

    def test_my_code(casemate):                     # pytest; AWS_ENDPOINT_URL and credentials are set meanwhile
        key = casemate.create_key()                 # in the custom key store
        assert my_code.open(my_code.seal(b"x", key)) == b"x"

The server is a real one, with HSM processes and PKCS#11 tokens, on a free port of 127.0.0.1 and a data folder of its
own, which is copied from one that is made at the first use (template.py). States change at once, no request is
throttled, and an account can be put back to what it was at the start (`Casemate.reset`). See docs/test-kit.md.
"""

from __future__ import annotations

import json
import shutil
import tempfile
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from casemate import template
from casemate.server import ServerProcess, clean_environment

REGION = "us-west-2"
ROOT_USER = "<root>"  # in credentials.json
RESET_SECONDS = 30.0


class ResetError(Exception):
    """The server refused to put an account back. The message says why."""


@dataclass(frozen=True)
class Person:
    """Somebody whom the demo or the seed file names."""

    account: str
    user_name: str  # ROOT_USER for an account's root user
    password: str = field(repr=False)
    access_key_id: str
    secret_access_key: str = field(repr=False)


class Casemate:
    """A running server, and ways to talk to it.

    url: what AWS_ENDPOINT_URL is to be.  data: its data folder, with the logs.
    """

    def __init__(self, data: Path, *, seed: Path | None = None, workers: int = 1, region: str = REGION) -> None:
        self.data = data
        self.region = region
        self._seed = seed
        options = ("--immediate", "--resettable", "--quotas", "off", "--workers", str(workers))
        self._server = ServerProcess(data, *options)
        self.people: tuple[Person, ...] = ()

    @property
    def url(self) -> str:
        return self._server.url

    @property
    def port(self) -> int:
        return self._server.port

    def start(self) -> float:
        """Start on a new copy of the template; return the seconds that the start took. Raises ServerError."""
        template.copy(self.data, self._seed)
        seconds = self._server.start()
        self.people = tuple(Person(**person) for person in json.loads((self.data / "credentials.json").read_text()))
        return seconds

    def stop(self) -> None:
        self._server.stop()

    def person(self, user_name: str = "alice", account: str | None = None) -> Person:
        """Somebody by their name. account: where several accounts have one of that name, as with ROOT_USER."""
        found = [one for one in self.people if one.user_name == user_name and account in (None, one.account)]
        if not found:
            names = ", ".join(f"{one.user_name} ({one.account})" for one in self.people)
            raise LookupError(f"There is no {user_name!r} here. There are: {names}.")
        return found[0]

    def environment(self, person: str | Person = "alice") -> dict[str, str]:
        """What any AWS client needs to call this server as that person, and no configuration of this machine."""
        who = person if isinstance(person, Person) else self.person(person)
        return {
            "AWS_ENDPOINT_URL": self.url,
            "AWS_ACCESS_KEY_ID": who.access_key_id,
            "AWS_SECRET_ACCESS_KEY": who.secret_access_key,
            "AWS_DEFAULT_REGION": self.region,
            "AWS_REGION": self.region,
            "AWS_CONFIG_FILE": "/dev/null",
            "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
            "AWS_EC2_METADATA_DISABLED": "true",
        }

    def client(self, service: str = "kms", person: str | Person = "alice", **options: Any) -> Any:
        """A boto3 client of the service, as that person. options: of `boto3.client`. boto3 must be installed."""
        import boto3  # type: ignore[import-untyped, unused-ignore]

        who = person if isinstance(person, Person) else self.person(person)
        return boto3.client(
            service,
            **{
                "region_name": self.region,
                "endpoint_url": self.url,
                "aws_access_key_id": who.access_key_id,
                "aws_secret_access_key": who.secret_access_key,
                **options,
            },
        )

    def create_key(self, person: str | Person = "alice", **parameters: Any) -> str:
        """Make a key in the account's first connected custom key store; return its ARN. parameters: of CreateKey."""
        kms = self.client("kms", person)
        if "CustomKeyStoreId" not in parameters:
            stores = kms.describe_custom_key_stores()["CustomKeyStores"]
            connected = [store["CustomKeyStoreId"] for store in stores if store["ConnectionState"] == "CONNECTED"]
            if not connected:
                raise LookupError(f"The account has no connected custom key store. It has: {stores}.")
            parameters = {"Origin": "AWS_CLOUDHSM", "CustomKeyStoreId": connected[0], **parameters}
        arn: str = kms.create_key(**parameters)["KeyMetadata"]["Arn"]
        return arn

    def reset(self, account: str | None = None) -> None:
        """Put an account, or all, back to what they were at the start.

        Keys and identities come back by a request, in some hundredths of a second. What tokens or passwords stand
        behind (key stores, clusters, HSMs) does not: if one of those has changed the server starts anew, on the same
        port and a new copy of the template, in a few seconds.
        Raises: ResetError for an account that was not there at the start.
        """
        known = sorted({person.account for person in self.people})
        if account is not None and account not in known:
            raise ResetError(f"There was no account {account} at the start. There were: {', '.join(known)}.")
        if not all(self._put_back(one) for one in ([account] if account else known)):
            self.start_anew()

    def start_anew(self) -> None:
        """Stop, and start on the same port with a new copy of the template."""
        self._server.stop()
        shutil.rmtree(self.data)
        self.start()

    def _put_back(self, account: str) -> bool:
        token = (self.data / "reset" / "token").read_text()
        request = urllib.request.Request(  # noqa: S310
            f"{self.url}/reset/",
            data=urllib.parse.urlencode({"account": account}).encode(),
            headers={"Authorization": f"Bearer {token}"},
        )
        try:
            with urllib.request.urlopen(request, timeout=RESET_SECONDS):  # noqa: S310
                return True
        except urllib.error.HTTPError as error:
            if error.code == 409:
                return False
            raise ResetError(f"The server answered {error.code} to a reset of account {account}.") from error


@contextmanager
def running(*, seed: Path | str | None = None, workers: int = 1, region: str = REGION) -> Iterator[Casemate]:
    """A server until the end of the block.

    seed: a YAML file that says what there is at the start (docs/seed-file.md); None: the demo.
    workers: web worker processes.  region: of clients and environment.
    Raises: ServerError with what the server has printed, if it does not start.
    """
    with tempfile.TemporaryDirectory(prefix="casemate-", ignore_cleanup_errors=True) as folder:
        path = Path(seed).absolute() if seed is not None else None
        casemate = Casemate(Path(folder) / "data", seed=path, workers=workers, region=region)
        try:
            casemate.start()
            yield casemate
        finally:
            casemate.stop()


def process_environment(casemate: Casemate, person: str | Person = "alice") -> Mapping[str, str]:
    """The environment for a program that is to call this server: this process's own, without its AWS configuration."""
    return {**clean_environment(), **casemate.environment(person)}
