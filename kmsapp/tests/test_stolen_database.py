"""C7: with a copy of the database and without the master key file nobody signs, logs in, or reads a key."""

from __future__ import annotations

import base64
import sqlite3
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization

from hsmapp import sealing
from kmsapp.testing import Casemate
from kmsapp.tests import pin_guesser
from kmsapp.tests.known_secrets import installed_secrets, search, spellings
from kmsapp.tests.signed_http import post
from kmsapp.tests.token_copies import HSMS, copy_token

LONGEST_CELL = 4096  # a record or a policy is longer; no secret of ours is
MASTER_KEY_BYTES = 32
FULL_COST = b"argon2$argon2id$v=19$m=102400,t=2,p=8$"
PIN_BYTES = (4, 255)  # what SoftHSM takes
MOST_PINS = 300


@dataclass(frozen=True)
class Cell:
    table: str
    column: str
    content: bytes

    @property
    def name(self) -> str:
        return f"{self.table}.{self.column}"


@dataclass(frozen=True)
class Dump:
    """The stolen file: as it is, and cell by cell."""

    path: Path
    cells: tuple[Cell, ...]

    def sealed(self, *columns: str) -> list[bytes]:
        return [cell.content for cell in self.cells if cell.column in columns and cell.content]


@pytest.fixture(scope="module")
def dump(casemate: Casemate, tmp_path_factory: pytest.TempPathFactory) -> Dump:
    casemate.boto3("kms").encrypt(KeyId="alias/ExampleKey", Plaintext=b"so that there is a bit of everything")
    path = tmp_path_factory.mktemp("stolen") / "dump.sqlite3"
    with (
        closing(sqlite3.connect(f"file:{casemate.data / 'casemate.sqlite3'}?mode=ro", uri=True)) as database,
        closing(sqlite3.connect(path)) as copy,
    ):
        database.backup(copy)
    return Dump(path, tuple(cells(path)))


def cells(path: Path) -> Iterator[Cell]:
    with closing(sqlite3.connect(path)) as database:
        tables = [name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        for table in tables:
            rows = database.execute(f'SELECT * FROM "{table}"')  # noqa: S608 - a name from the database itself
            columns = [described[0] for described in rows.description]
            for row in rows:
                for column, value in zip(columns, row, strict=True):
                    content = value.encode() if isinstance(value, str) else value
                    if isinstance(content, bytes):
                        yield Cell(table, column, content)


def test_no_secret_is_in_it_in_any_spelling(casemate: Casemate, dump: Dump) -> None:
    known = installed_secrets(casemate)
    places = [("the file", dump.path.read_bytes()), *((cell.name, cell.content) for cell in dump.cells)]
    # What stands in a cell as hexadecimal or base64 is looked into as well.
    places += [(f"{cell.name}, decoded", content) for cell in dump.cells for content in decoded(cell.content)]
    found, count, size = search(known, iter(places))
    spelled = sum(len(spellings(secret)) for secret in known.values())
    print(
        f"C7: {len(known)} secrets in {spelled} spellings: {len(found)} hits in {count:,} places ({size / 1e6:.1f} MB)"
    )
    assert found == []
    hashes = [cell.content for cell in dump.cells if cell.name == "kmsapp_user.password"]
    assert hashes and all(content.startswith((FULL_COST, b"!")) for content in hashes)


def decoded(content: bytes) -> Iterator[bytes]:
    if len(content) > LONGEST_CELL:
        return
    with suppress(ValueError):
        yield bytes.fromhex(content.decode())
    with suppress(ValueError):
        yield base64.b64decode(content, validate=True)


def test_nothing_in_it_is_the_master_key_or_a_private_key(dump: Dump) -> None:
    """Every 32 bytes that follow one another in a cell are tried as the master key."""
    sealed = dump.sealed("pin_sealed", "secret_sealed", "private_key_sealed", "backup_private_key_sealed")
    assert len(sealed) >= len(HSMS) + 3
    header = {content[: 1 + 8] for content in sealed}  # version and which master key: all are sealed under one
    assert len(header) == 1
    tried, opened, private_keys = 0, 0, 0
    for content in {cell.content for cell in dump.cells if len(cell.content) <= LONGEST_CELL}:
        private_keys += is_private_key(content)
        for at in range(len(content) - MASTER_KEY_BYTES + 1):
            tried += 1
            opened += is_master_key(content[at : at + MASTER_KEY_BYTES], header)
    print(f"C7: {tried:,} stretches of 32 bytes tried as the master key: {opened} right; {private_keys} private keys")
    assert (opened, private_keys) == (0, 0)


def is_master_key(candidate: bytes, headers: set[bytes]) -> bool:
    return sealing._VERSION + sealing._key_id(candidate) in headers


def test_the_master_key_itself_would_have_been_found(casemate: Casemate, dump: Dump) -> None:
    key = (casemate.data / "secret" / "master.key").read_bytes()
    assert is_master_key(key, {content[: 1 + 8] for content in dump.sealed("secret_sealed")})


def is_private_key(content: bytes) -> bool:
    for load in (serialization.load_der_private_key, serialization.load_pem_private_key):
        try:
            load(content, None)
        except (ValueError, TypeError):
            continue
        return True
    return False


def test_nobody_signs_with_what_is_in_it(casemate: Casemate, dump: Dump) -> None:
    body = b"{}"
    assert post(casemate, body).status == 200
    candidates = sorted(
        {form for content in dump.sealed("secret_sealed") for form in text_forms(content)}
        | {cell.content.decode() for cell in dump.cells if cell.table == "kmsapp_accesskey" and is_text(cell.content)}
    )
    answers = {post(casemate, body, secret=candidate).code for candidate in candidates if candidate}
    print(f"C7: {len(candidates)} candidates from the database for a secret access key: all refused as {answers}")
    assert len(candidates) >= 3 and answers == {"InvalidSignatureException"}


def text_forms(content: bytes) -> tuple[str, ...]:
    """What a secret access key could be made of from sealed bytes: whole, and without what stands before it."""
    return tuple(
        form
        for part in (content, content[9:], content[21:], content[21:-16])
        for form in (part.hex(), base64.b64encode(part).decode())
    )


def is_text(content: bytes) -> bool:
    return content.isascii() and content.decode().isprintable()


@pytest.mark.parametrize("hsm_id", HSMS)
def test_nobody_logs_in_to_a_token_with_what_is_in_it(
    casemate: Casemate, dump: Dump, hsm_id: str, tmp_path: Path
) -> None:
    token = copy_token(casemate, hsm_id, tmp_path)
    sealed = dump.sealed("pin_sealed", "so_pin_sealed", "password_sealed")
    pins = {form for content in sealed for form in text_forms(content)}
    pins |= {cell.content.decode() for cell in dump.cells if cell.table.startswith("hsmapp_") and is_text(cell.content)}
    guesses = sorted(pin for pin in pins if PIN_BYTES[0] <= len(pin) <= PIN_BYTES[1])[:MOST_PINS]
    told = token.run(pin_guesser.__file__, pins=[*guesses, token.pin])
    print(f"C7: {hsm_id}: {len(guesses)} candidates from the database for its PIN: {len(told['opened']) - 1} log in")
    assert told["opened"] == [len(guesses)], "the PIN itself, which the operator has, and nothing before it"
    assert len(guesses) >= 20
