"""Every operation by everybody on what is theirs, what is another account's and what is not there, over the wire.

What each cell should answer is computed by access_matrix_rules.py, which knows nothing of the product. First come all
cells that must be refused, and nothing in the database may have changed by them; then all that must be allowed.
"""

from __future__ import annotations

import ast
import json
import sqlite3
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest

from kmsapp import cross_account, dispatch  # noqa: F401  dispatch fills the registry
from kmsapp.registry import OPERATIONS
from kmsapp.testing import Casemate, Server
from kmsapp.tests import access_matrix_rules as rules
from kmsapp.tests.access_matrix_requests import REQUESTS
from kmsapp.tests.access_matrix_rules import PEOPLE, RULES, SUCCESS, THINGS, Cell
from kmsapp.tests.access_matrix_wire import Answer
from kmsapp.tests.access_matrix_world import World

CALLERS_AT_ONCE = 4
# Keys can't be used while these are asked, nor after the last.
LAST = ("kms:DisableKey", "kms:ScheduleKeyDeletion", "kms:CancelKeyDeletion", "kms:DisconnectCustomKeyStore")
PUBLISHED = Path(__file__).parents[2].parent / "shared" / "data" / "iam" / "kms_operation_authz.json"
Answers = dict[Cell, Answer]


@pytest.fixture(scope="module")
def casemate(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Casemate]:
    """A server of its own: the matrix leaves much behind."""
    server = Server(tmp_path_factory.mktemp("matrix") / "data", "--immediate")
    server.start()
    try:
        yield Casemate(server)
    finally:
        server.stop()


@pytest.fixture(scope="module")
def world(casemate: Casemate) -> World:
    return World(casemate)


@pytest.fixture(scope="module")
def refused(casemate: Casemate, world: World) -> Answers:
    """The answers of all cells that must be refused, which changed nothing."""
    before = _rows(casemate)
    answers = _ask(world, [cell for cell in rules.cells() if not rules.is_allowed(cell)])
    assert _rows(casemate) == before
    return answers


def _rows(casemate: Casemate) -> dict[str, int]:
    """For each table of kmsapp's, a digest of its rows. Refusals are recorded, but nowhere else.

    The last uses of keys are copied from the record, those of the setting some time after it was made.
    """
    with closing(sqlite3.connect(f"file:{casemate.data / 'casemate.sqlite3'}?mode=ro", uri=True)) as database:
        tables = [name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        return {
            table: hash(tuple(database.execute(f'SELECT * FROM "{table}"')))  # noqa: S608
            for table in tables
            if table.startswith("kmsapp_") and "audit" not in table and table != "kmsapp_keylastusage"
        }


def _ask(world: World, cells: Iterable[Cell]) -> Answers:
    """Each caller's cells in their order, some callers at once."""
    cells = list(cells)
    of_callers = [[cell for cell in cells if cell.person.name == name] for name in PEOPLE]

    def ask(mine: list[Cell]) -> Answers:
        if not mine:
            return {}
        wire = world.wire_of(mine[0].person.name)
        return {cell: world.ask(cell, wire) for cell in mine}

    with ThreadPoolExecutor(CALLERS_AT_ONCE) as pool:
        return {cell: answer for answers in pool.map(ask, of_callers) for cell, answer in answers.items()}


def _differences(answers: Answers) -> list[str]:
    return [
        f"{cell}: expected {' or '.join(code or 'success' for code in rules.codes_on_the_wire(cell))}, "
        f"got {answer.code or 'success'} {answer.message}"
        for cell, answer in answers.items()
        if answer.code not in rules.codes_on_the_wire(cell)
    ]


# The table


def test_every_operation_has_a_row_and_every_row_an_operation_and_a_request() -> None:
    on_the_wire = {name for name in OPERATIONS if not name.startswith("console:")}
    assert {rules.operation_of(row) for row in RULES} == on_the_wire
    assert RULES.keys() == REQUESTS.keys()


def test_every_row_is_refused_to_somebody_and_allowed_to_somebody() -> None:
    for allowed in (True, False):
        rows = {cell.row for cell in rules.cells() if rules.is_allowed(cell) == allowed}
        assert rows == set(RULES)


def test_every_operation_on_a_key_is_tried_on_everything() -> None:
    """Of the owner, of another account, wide open, foreign, missing: nothing is left out where a key is named."""
    for row, rule in RULES.items():
        if rules.operation_of(row).startswith("kms:") and rule.kind not in ("account", "own principal"):
            assert set(rule.things) == set(THINGS), row


def test_the_rules_know_nothing_of_the_product() -> None:
    source = Path(rules.__file__).read_text()
    imported = {
        name
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in ([node.module or ""] if isinstance(node, ast.ImportFrom) else [one.name for one in node.names])
    }
    assert imported == {"__future__", "collections.abc", "dataclasses", "fnmatch"}


@pytest.mark.skipif(not PUBLISHED.exists(), reason="the published table is not at hand")
def test_what_crosses_accounts_is_what_is_published() -> None:
    published = {f"kms:{name}": dict(facts)["cross"] for name, facts in json.loads(PUBLISHED.read_text()).items()}
    for row, rule in RULES.items():
        operation = rules.operation_of(row)
        if operation.startswith("kms:") and rule.kind not in ("bare key",):
            assert rule.crosses_accounts == published[operation].startswith("Yes"), row


# The cells


def test_what_must_be_refused_is_refused_and_changes_nothing(refused: Answers) -> None:
    assert _differences(refused) == []
    print(f"{len(refused)} cells refused: {len(RULES)} rows x {len(PEOPLE)} callers")


def test_refusals_of_json_services_are_400_and_of_query_services_their_own_status(refused: Answers) -> None:
    statuses = {"MissingAuthenticationToken": 403, "SignatureDoesNotMatch": 403, "InvalidClientTokenId": 403}
    statuses |= {"AccessDenied": 403, "NoSuchEntity": 404, "InvalidInput": 400, "InvalidUserType": 400}
    for cell, answer in refused.items():
        assert answer.status == statuses.get(answer.code, 400), (str(cell), answer)


def test_missing_and_forbidden_things_of_another_account_are_not_told_apart(world: World, refused: Answers) -> None:
    """Same name, same members and headers, same sentence but for what the request itself named.

    A key whose owner lets the caller or their account in is no secret to them: the sentence says what else lacks.
    """
    pairs = 0
    for cell, answer in refused.items():
        thing = cell.thing
        if cell.person.unknown or thing is None or not thing.exists or thing.account == cell.person.account:
            continue
        absent = "missing" if thing.account == rules.OURS else "foreign missing"
        twin = Cell(cell.row, cell.person, THINGS[absent])
        if twin not in refused:
            continue  # the request names no account
        other = refused[twin]
        assert (answer.status, answer.code, answer.shape) == (other.status, other.code, other.shape), str(cell)
        if not rules.is_let_in(cell):
            assert world.without_ids(answer.message, thing) == world.without_ids(other.message, twin.thing), str(cell)
        pairs += 1
    assert pairs > 500
    print(f"{pairs} pairs of a forbidden and a missing thing answered alike")


def test_what_must_not_cross_accounts_does_not_however_wide_the_policies(refused: Answers) -> None:
    """The key's policy allows everybody everything, and so does the caller's own account."""
    wide, tried = THINGS["wide"], set()
    for row, rule in RULES.items():
        if rule.crosses_accounts or not rules.operation_of(row).startswith("kms:") or rule.kind == "bare key":
            continue
        for name in ("other administrator", "other root"):
            cell = Cell(row, PEOPLE[name], wide if wide.name in rule.things else THINGS[rule.things[0] or "shared"])
            if not rule.things[0]:
                continue  # it names nothing, so it is of the caller's own account
            assert refused[cell].code in {"AccessDeniedException", rule.missing}, str(cell)
            tried.add(rules.operation_of(row))
    expected = {name for name in OPERATIONS if name.startswith("kms:") and not _crosses(name)}
    assert tried == expected - {"kms:ListKeys"}
    print(f"{len(tried)} operations that stay in their account refused to another one")


def _crosses(name: str) -> bool:
    return name in cross_account.ACTIONS or f"{name}From" in cross_account.ACTIONS


@pytest.mark.usefixtures("refused")
def test_what_must_be_allowed_is_allowed(world: World) -> None:
    allowed = [cell for cell in rules.cells() if rules.is_allowed(cell)]
    answers = _ask(world, [cell for cell in allowed if cell.row not in LAST])
    for row in LAST:
        answers |= _ask(world, [cell for cell in allowed if cell.row == row])
    assert _differences(answers) == []
    assert any(answer.code == SUCCESS for answer in answers.values())
    print(f"{len(answers)} cells allowed, {len(list(rules.cells()))} in all")
