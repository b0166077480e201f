"""Every operation that is built, once through boto3 and once through the AWS CLI.

The requests are those of the access matrix, so an operation that is new there is called here too, and one that has no
row there fails here. An administrator calls, whom nothing but credentials and the lines of aws.env tell of the server.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore import xform_name
from botocore.exceptions import ClientError

from kmsapp import dispatch, service_models
from kmsapp.testing import Casemate
from kmsapp.tests import access_matrix_rules as rules
from kmsapp.tests.access_matrix_requests import REQUESTS
from kmsapp.tests.access_matrix_rules import PEOPLE, RULES, SUCCESS, THINGS, Cell
from kmsapp.tests.access_matrix_world import STORES, World
from kmsapp.tests.clients.aws_cli import AwsCli, command_line
from kmsapp.tests.clients.shell import environment_of, this_process_in

ADMINISTRATOR = PEOPLE["administrator"]
# A key, a role, a user and so on of the account, in the place of those that the matrix's callers share.
THING = dataclasses.replace(THINGS["own"], name="shared")
LAST = "kms:DisconnectCustomKeyStore"  # keys can't be used after it
SERVICES = service_models.MODEL_NAMES  # IAM prefix -> what clients call the service

Outcome = tuple[str, set[str]]  # the error's code, or SUCCESS and the members of the answer
Ask = Callable[[str, str, dict[str, Any]], Outcome]


@pytest.fixture(scope="module")
def world(casemate: Casemate) -> World:
    return World(casemate, people=(ADMINISTRATOR, PEOPLE["key user"]), things=(THING,))


@pytest.fixture(scope="module")
def environment(casemate: Casemate, world: World, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    caller = world.credentials_of(ADMINISTRATOR.name)
    home = tmp_path_factory.mktemp("home")
    found = environment_of(casemate, home, access_key_id=caller.access_key_id, secret=caller.secret)
    with this_process_in(found):
        yield found


@pytest.fixture
def connected_again(casemate: Casemate) -> Iterator[None]:
    """The key store is left as it was found."""
    yield
    kms, store = casemate.boto3("kms"), {"CustomKeyStoreId": STORES[rules.OURS]}

    def state() -> str:
        return str(kms.describe_custom_key_stores(**store)["CustomKeyStores"][0]["ConnectionState"])

    casemate.wait_until(lambda: state() == "DISCONNECTED", "the key store to disconnect")
    kms.connect_custom_key_store(**store)
    casemate.wait_until(lambda: state() == "CONNECTED", "the key store to connect")


def _cells() -> list[Cell]:
    """One for each operation: the first row that it has."""
    rows = {rules.operation_of(row): row for row in reversed(REQUESTS)}
    named = [row for row in REQUESTS if row in rows.values()]
    in_order = sorted(named, key=lambda row: rules.operation_of(row) == LAST)
    return [Cell(row, ADMINISTRATOR, THING if RULES[row].things[0] else None) for row in in_order]


def _differences(world: World, ask: Ask) -> list[str]:
    """The operations whose outcome is not the expected one."""
    wrong = []
    for cell in _cells():
        service, _, operation = rules.operation_of(cell.row).partition(":")
        params, undo = world.prepared(cell)
        code, members = ask(service, operation, params)
        if code == SUCCESS:
            undo()
        expected = {rules.QUERY_CODES.get(code, code) if service in ("sts", "iam") else code for code in _ends(cell)}
        output = service_models.service(service).operation(operation).output
        is_empty = code == SUCCESS and not members and output is not None and bool(output.parts)
        if code not in expected or is_empty:
            wrong.append(f"{cell.row}: {code or 'success'}, expected {expected}{', and more than {}' * is_empty}")
    return wrong


def _ends(cell: Cell) -> tuple[str, ...]:
    assert rules.is_allowed(cell), cell
    return rules.expected(cell)


def test_every_operation_that_is_built_has_a_row() -> None:
    published = {f"{prefix}:{name}" for prefix in SERVICES for name in service_models.service(prefix).operation_names}
    built = {name for name in published if dispatch.is_built(name)}
    assert {rules.operation_of(cell.row) for cell in _cells()} == built


@pytest.mark.usefixtures("environment", "connected_again")
def test_boto3_calls_every_operation(world: World) -> None:
    session = boto3.Session()
    clients = {prefix: session.client(name) for prefix, name in SERVICES.items()}

    def ask(service: str, operation: str, params: dict[str, Any]) -> Outcome:
        try:
            answer = getattr(clients[service], xform_name(operation))(**params)
        except ClientError as error:
            return str(error.response["Error"]["Code"]), set()
        assert answer["ResponseMetadata"].pop("RequestId")
        del answer["ResponseMetadata"]
        return SUCCESS, set(answer)

    assert _differences(world, ask) == []
    print(f"{len(_cells())} operations called through boto3 {boto3.__version__}")


@pytest.mark.usefixtures("connected_again")
def test_the_aws_cli_calls_every_operation(world: World, environment: dict[str, str], tmp_path: Path) -> None:
    with AwsCli(environment) as cli:

        def ask(service: str, operation: str, params: dict[str, Any]) -> Outcome:
            done = cli.run(*command_line(SERVICES[service], operation, params, tmp_path))
            if done.code:
                _, found, rest = done.stderr.partition("An error occurred (")
                return rest.partition(")")[0] if found else done.stderr, set()
            assert not done.stderr, done.stderr
            return SUCCESS, set(json.loads(done.stdout)) if done.stdout.strip() else set()

        assert _differences(world, ask) == []
        version = cli.run("--version").stdout.split()[0]
    print(f"{len(_cells())} operations called through {version}")
