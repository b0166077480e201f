"""R15: what did not reach the disk is not acknowledged: fsync fails, for the database and for an HSM's owner journal.

The audit files' fsync, which no answer waits for, is test_audit_files.py's.
"""

from __future__ import annotations

import errno
import os
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from hsmapp.tests import c_compiler
from kmsapp.testing import Casemate, served_copy
from kmsapp.tests.mixed_calls import INTERNAL, MixedCalls, works
from kmsapp.tests.remains import remains
from kmsapp.tests.token_copies import HSMS

SOURCE = Path(__file__).with_name("failing_fsync.c")
ROUNDS = 5
TOO_FEW = "CloudHsmClusterInvalidConfigurationException"
# A part of the path of the file that does not reach the disk -> what is refused; everything else is answered.
REFUSED = {
    "casemate.sqlite3": dict.fromkeys(("CreateKey", "CreateAlias", "TagResource"), INTERNAL),
    f"{HSMS[0]}/owners": {"CreateKey": TOO_FEW},
}
CASES = [(path, number) for path in REFUSED for number in (errno.EIO, errno.ENOSPC)]


@pytest.fixture(scope="module")
def order(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file that says which files' fsync is to fail."""
    return tmp_path_factory.mktemp("fsync") / "order"


@pytest.fixture(scope="module")
def casemate(stopped_server: Path, order: Path) -> Iterator[Casemate]:
    preload = {"LD_PRELOAD": str(c_compiler.build(SOURCE, order.parent, ORDER=order))}
    with served_copy(stopped_server, order.parent / "data", "--immediate", environment=preload) as casemate:
        yield casemate


@contextmanager
def failing(order: Path, path: str, number: int) -> Iterator[None]:
    fresh = order.with_suffix(".new")
    fresh.write_text(f"{number} {path}\n")
    fresh.replace(order)
    try:
        yield
    finally:
        order.unlink()


@pytest.mark.parametrize(("path", "number"), CASES, ids=[f"{path} {errno.errorcode[number]}" for path, number in CASES])
def test_what_did_not_reach_the_disk_is_not_acknowledged(
    casemate: Casemate, order: Path, path: str, number: int
) -> None:
    calls = MixedCalls(casemate, casemate.boto3("kms"))
    calls.round()
    assert not calls.refused
    calls.answered.clear()
    before = remains(casemate)
    with failing(order, path, number):
        for _ in range(ROUNDS):
            calls.round()
    assert calls.refused == Counter(dict.fromkeys(REFUSED[path].items(), ROUNDS))
    after = remains(casemate)
    assert (after.keys == before.keys and "CreateAlias" not in REFUSED[path]) or after.aliases == before.aliases
    probe = MixedCalls(casemate, calls.kms, sealed=calls.sealed[:1])
    casemate.wait_until(lambda: works(probe), "everything to work again")
    calls.assert_all_is_there()
    print(
        f"R15: fsync of {path} failed with {os.strerror(number)}: {calls.refused.total()} of "
        f"{ROUNDS * len(calls.calls)} calls refused by name, 0 of these done; {calls.answered.total()} answered, "
        "0 missing afterwards"
    )
