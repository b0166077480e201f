"""What must be true after any number of kills.

Every key that was acknowledged is there and opens its first ciphertext on each HSM, by a foreign client on a copy of
the token; rows and token objects are one to one; each key has its audit record.
"""

from __future__ import annotations

import sqlite3
import tempfile
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from kmsapp import ciphertext
from kmsapp.testing import Casemate
from kmsapp.tests.crash.makers import STORE, Made, encrypt_first
from kmsapp.tests.remains import query
from kmsapp.tests.token_copies import HSMS, copy_token

WAITING = "SELECT count(*) FROM hsmapp_keyintent WHERE state = 'open' OR (state = 'abandoned' AND hsms <> '[]')"


@dataclass(frozen=True)
class Counts:
    """What was found."""

    acknowledged: int
    keys: int
    opened: dict[str, int]  # HSM id -> first ciphertexts of acknowledged keys that opened there
    repaired: list[str]  # what all comparisons with the database have found to do


def assert_nothing_is_lost(casemate: Casemate, made: list[Made]) -> Counts:
    """Nobody may be making keys any more."""
    casemate.wait_for_hsms(len(HSMS))
    let_time_pass(casemate)
    repaired = reconcile_twice(casemate)
    assert_service_opens(casemate, made)
    keys = assert_rows_agree(casemate, made)
    with tempfile.TemporaryDirectory(prefix="casemate-crash-") as folder:
        found = {hsm_id: assert_token_agrees(casemate, hsm_id, made, Path(folder)) for hsm_id in HSMS}
    return Counts(len(made), keys, found, repaired)


def let_time_pass(casemate: Casemate) -> None:
    """The deadlines of calls that were killed pass, and what they left is cleaned up."""
    with closing(sqlite3.connect(casemate.data / "casemate.sqlite3", timeout=10)) as database, database:
        database.execute(
            "UPDATE hsmapp_keyintent SET deadline = datetime(deadline, '-2 minutes') WHERE state <> 'done'"
        )
    casemate.wait_until(lambda: query(casemate, WAITING)[0][0] == 0, "what was cut short to be cleaned up")


def reconcile_twice(casemate: Casemate) -> list[str]:
    """Have every HSM compared with the database; a second comparison has nothing to do.

    Returns what all comparisons since the server's first start have done.
    """
    lines = [line for line in casemate.manage("hsm", "reconcile").splitlines() if "keys as they should be:" in line]
    again = [line for line in casemate.manage("hsm", "reconcile").splitlines() if "keys as they should be:" in line]
    assert len(lines) == len(again) == len(HSMS)
    assert all(line.endswith("nothing to do") for line in again), again
    assert not query(casemate, "SELECT id FROM hsmapp_finding WHERE kind = 'orphan'"), "a key that nobody knows"
    names = ("restored", "repaired", "destroyed", "quarantined", "cleared")
    done = f"SELECT {', '.join(f'sum({name})' for name in names)} FROM hsmapp_reconciliation"  # noqa: S608
    return [f"{count} {name}" for name, count in zip(names, query(casemate, done)[0], strict=True) if count]


def assert_service_opens(casemate: Casemate, made: list[Made]) -> None:
    kms = casemate.boto3("kms")
    for each in made:
        if not each.blob:
            encrypt_first(kms, each)
        opened = kms.decrypt(CiphertextBlob=each.blob, EncryptionContext=each.context)
        assert opened["Plaintext"] == each.plaintext, each.arn


def assert_rows_agree(casemate: Casemate, made: list[Made]) -> int:
    """KMS's keys, masked keys, finished intents and records are the same keys; return how many."""
    rows = query(casemate, "SELECT region, account, key_id, material_id FROM kmsapp_kmskey")
    arns = sorted(f"arn:aws:kms:{region}:{account}:key/{key_id}" for region, account, key_id, _ in rows)
    assert all(material for *_, material in rows)
    assert {each.arn for each in made} <= set(arns)
    for statement in (
        "SELECT label FROM hsmapp_maskedkey",
        "SELECT label FROM hsmapp_keyintent WHERE state = 'done'",
        "SELECT resource FROM kmsapp_auditevent WHERE event_name = 'CreateKey' AND error_code = ''",
    ):
        assert sorted(label for (label,) in query(casemate, statement)) == arns, statement
    tags = query(casemate, "SELECT key_id, count(*) FROM kmsapp_tag WHERE tag_key = 'made' GROUP BY key_id")
    assert all(count == 1 for _, count in tags) and len(tags) >= len({each.arn for each in made})
    return len(arns)


def assert_token_agrees(casemate: Casemate, hsm_id: str, made: list[Made], folder: Path) -> int:
    """The token's keys are the rows', none lies beside them, and each acknowledged key opens its ciphertext there.

    Returns how many opened.
    """
    answer = copy_token(casemate, hsm_id, folder).look(*(message(each) for each in made))
    ours = sorted((key["label"], key["id"]) for key in answer["keys"] if key["label"].startswith("arn:"))
    rows = sorted(query(casemate, "SELECT label, backing_key_id FROM hsmapp_maskedkey"))
    assert ours == rows, (hsm_id, set(ours) ^ set(rows))
    assert answer["opened"] == [each.plaintext.hex() for each in made], hsm_id
    assert all(key["label"] for key in answer["keys"]), "half-written objects are cleared away"
    return len(answer["opened"])


def message(made: Made) -> dict[str, str]:
    """The first ciphertext of a key as a token opens it."""
    parts = ciphertext.split(made.blob)
    aad = ciphertext.associated_data(parts.header_bytes, key_store_id=STORE, context=made.context)
    return {"label": made.arn, "iv": parts.iv.hex(), "sealed": parts.sealed.hex(), "aad": aad.hex()}
