"""R14: no space left for a token, for the database, for the audit files: refused by name, and nothing is lost.

Each time there is none for logs either.
"""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from kmsapp import service_models
from kmsapp.testing import Casemate, Server, copy_data
from kmsapp.tests.mixed_calls import INTERNAL, MixedCalls, works
from kmsapp.tests.small_disk import filled, small_disk
from kmsapp.tests.token_copies import HSMS

ROUNDS = 8
DATABASE = "casemate.sqlite3"
HSM_FOLDER, DATABASE_FOLDER, AUDIT_FOLDER, LOG_FOLDER = f"hsm/{HSMS[0]}", "database", "audit", "log"
MIB = {HSM_FOLDER: 2, DATABASE_FOLDER: 16, AUDIT_FOLDER: 2, LOG_FOLDER: 4}


@pytest.fixture(scope="module")
def casemate(stopped_server: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Casemate]:
    """A server of which token, database and audit files have a small disk each."""
    data = tmp_path_factory.mktemp("full disks") / "data"
    copy_data(stopped_server, data)
    with ExitStack() as stack:
        for name, mib in MIB.items():
            stack.enter_context(small_disk(data / name, mib=mib))
        for path in data.glob(f"{DATABASE}*"):
            shutil.move(path, data / DATABASE_FOLDER / path.name)
        (data / DATABASE).symlink_to(data / DATABASE_FOLDER / DATABASE)
        server = Server(data, "--immediate")
        server.start()
        stack.callback(server.stop)
        yield Casemate(server)


# What has no room -> what each operation is refused with; others are answered.
REFUSED: dict[str, dict[str, str]] = {
    HSM_FOLDER: {"CreateKey": "CloudHsmClusterInvalidConfigurationException"},
    DATABASE_FOLDER: dict.fromkeys(("CreateKey", "CreateAlias", "TagResource"), INTERNAL),
    # A change is recorded in its own transaction.
    AUDIT_FOLDER: dict.fromkeys(("Encrypt", "Decrypt", "GenerateDataKey", "DescribeKey"), INTERNAL),
}
# Some still find room: the -wal file is written over again from its start, and a file's last page may have a rest.
SOMETIMES = {DATABASE_FOLDER, AUDIT_FOLDER}


@pytest.mark.parametrize("place", REFUSED, ids=["token", "database", "audit files"])
def test_a_full_disk_is_refused_by_name_and_is_over_when_there_is_space(casemate: Casemate, place: str) -> None:
    assert casemate.server.process is not None
    caller = MixedCalls(casemate, casemate.boto3("kms"))
    caller.round()
    assert not caller.refused
    caller.answered.clear()
    processes = [casemate.hsm_pid(hsm_id) for hsm_id in HSMS]
    with filled(casemate.data / place), filled(casemate.data / LOG_FOLDER, pages=True):
        for _ in range(ROUNDS):
            caller.round()
    expected = REFUSED[place]
    assert set(caller.refused) == set(expected.items()), caller.refused
    for operation, code in expected.items():
        assert code in service_models.service("kms").operation(operation).errors, "AWS's model lists it"
    if place not in SOMETIMES:
        assert caller.refused == Counter(dict.fromkeys(expected.items(), ROUNDS))
    assert casemate.server.process.poll() is None
    assert [casemate.hsm_pid(hsm_id) for hsm_id in HSMS] == processes
    fresh = MixedCalls(casemate, caller.kms, sealed=caller.sealed[:1])
    casemate.wait_until(lambda: works(fresh), "everything to work again, without anybody's doing")
    caller.assert_all_is_there()
    print(
        f"R14: no space left in {place}: {caller.refused.total()} of {ROUNDS * len(caller.calls)} calls refused by "
        f"name, {caller.answered.total()} answered; {len(caller.made)} keys, {len(caller.aliases)} aliases and "
        f"{len(caller.sealed)} ciphertexts acknowledged, 0 missing afterwards; worked again by itself"
    )
