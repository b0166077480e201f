"""An installation at two times, T0 and 200 operations later T1: its backups, its tokens, and what it encrypted.

The parts are put together anew by the tests of `restore`, each in a folder of its own.
"""

from __future__ import annotations

import secrets
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kmsapp.testing import ROOT, Casemate, Server, clean_environment, served_copy
from kmsapp.tests.token_copies import HSMS, TokenCopy, copy_token

STORE = "cks-1234567890abcdef0"
OPERATIONS = 200


@dataclass
class Moment:
    """The installation at one time. sealed: key ARN -> (plaintext, CiphertextBlob)."""

    backup: Path
    tokens: Path  # copy of <data>/hsm
    sealed: dict[str, tuple[bytes, bytes]] = field(default_factory=dict)


@dataclass
class Past:
    """data: the stopped installation, at T1."""

    data: Path
    t0: Moment
    t1: Moment

    @property
    def later(self) -> set[str]:
        """ARNs of the keys made between T0 and T1."""
        return self.t1.sealed.keys() - self.t0.sealed.keys()

    def folder(self, path: Path, tokens: Path | None = None) -> Path:
        """A data folder with the master key, these tokens, and nothing else that a backup brings.

        Its static files are collected already, as the next server's are: that is not what is tested.
        """
        for name in ("secret", "demo", "static"):
            shutil.copytree(self.data / name, path / name)
        shutil.copy(self.data / "credentials.json", path)
        if tokens is not None:
            shutil.copytree(tokens, path / "hsm")
        path.chmod(0o700)
        return path


def manage(data: Path, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run manage.py on a data folder; the exit code is not checked."""
    return subprocess.run(command(*arguments), **surroundings(data), capture_output=True, text=True, timeout=120)


def command(*arguments: str | Path) -> list[str]:
    return [sys.executable, str(ROOT / "manage.py"), *map(str, arguments)]


def surroundings(data: Path) -> dict[str, Any]:
    return {"env": {**clean_environment(), "CASEMATE_DATA": str(data)}, "cwd": ROOT}


def make_past(stopped: Path, folder: Path) -> Past:
    """stopped: the data folder of a server that was stopped."""
    with served_copy(stopped, folder / "data", "--immediate") as casemate:
        t0 = _moment(casemate, folder / "t0", {}, keys=6)
        done = _operations(casemate, list(t0.sealed))
        t1 = _moment(casemate, folder / "t1", t0.sealed, keys=8)
        print(f"T1 is {done + 2 * 8} operations after T0")
    return Past(folder / "data", t0, t1)


def _moment(casemate: Casemate, folder: Path, before: dict[str, tuple[bytes, bytes]], *, keys: int) -> Moment:
    folder.mkdir()
    kms = casemate.boto3("kms")
    sealed = dict(before)
    for _ in range(keys):
        arn = kms.create_key(Origin="AWS_CLOUDHSM", CustomKeyStoreId=STORE)["KeyMetadata"]["Arn"]
        plaintext = secrets.token_bytes(20)
        sealed[arn] = (plaintext, kms.encrypt(KeyId=arn, Plaintext=plaintext)["CiphertextBlob"])
    casemate.manage("backup", str(folder / "backup"))
    shutil.copytree(casemate.data / "hsm", folder / "hsm")
    return Moment(folder / "backup", folder / "hsm", sealed)


def _operations(casemate: Casemate, arns: list[str]) -> int:
    """Mixed calls, a change of kmsuser's password among them; return how many."""
    kms = casemate.boto3("kms")
    for number in range(OPERATIONS // 4):
        arn = arns[number % len(arns)]
        kms.create_alias(AliasName=f"alias/{secrets.token_hex(6)}", TargetKeyId=arn)
        kms.tag_resource(KeyId=arn, Tags=[{"TagKey": "round", "TagValue": str(number)}])
        kms.encrypt(KeyId=arn, Plaintext=b"x")
        kms.generate_data_key(KeyId=arn, KeySpec="AES_256")
    kms.disconnect_custom_key_store(CustomKeyStoreId=STORE)
    casemate.wait_until(lambda: _state(kms) == "DISCONNECTED", "the store to be disconnected")
    kms.connect_custom_key_store(CustomKeyStoreId=STORE)
    casemate.wait_until(lambda: _state(kms) == "CONNECTED", "the store to be connected")
    return OPERATIONS


def _state(kms: Any) -> str:
    (store,) = kms.describe_custom_key_stores()["CustomKeyStores"]
    return str(store["ConnectionState"])


@contextmanager
def served(data: Path) -> Iterator[Casemate]:
    """A server on a restored folder, both of its HSMs serving."""
    server = Server(data, "--immediate")
    server.start()
    try:
        casemate = Casemate(server)
        casemate.wait_for_hsms(2)
        kms = casemate.boto3("kms")
        # ACTIVE is written before every web worker has logged in to an HSM whose token is new.
        casemate.wait_until(lambda: _answers(kms), "the key store's HSMs to answer")
        yield casemate
    finally:
        server.stop()


def _answers(kms: Any) -> bool:
    try:
        kms.encrypt(KeyId="alias/ExampleKey", Plaintext=b"x")
    except kms.exceptions.KMSInvalidStateException:
        return False
    return True


def assert_everything_opens(casemate: Casemate, sealed: dict[str, tuple[bytes, bytes]], folder: Path) -> None:
    """Every ciphertext opens by the API, and its key is in the token of every HSM."""
    kms = casemate.boto3("kms")
    for arn, (plaintext, blob) in sealed.items():
        answer = kms.decrypt(CiphertextBlob=blob)
        assert (answer["Plaintext"], answer["KeyId"]) == (plaintext, arn)
    for token in copies(casemate, folder).values():
        assert sealed.keys() <= token.ask()["keys"].keys()


def copies(casemate: Casemate, folder: Path) -> dict[str, TokenCopy]:
    folder.mkdir(exist_ok=True)
    return {hsm_id: copy_token(casemate, hsm_id, folder) for hsm_id in HSMS}


def changed_backup(backup: Path, data: Path, target: Path, *statements: tuple[str, tuple[object, ...]]) -> Path:
    """A backup like another one, but for these statements: written by the code that writes every backup."""
    from hsmapp import backup_file
    from hsmapp.sealing import Keyring

    keyring = Keyring.from_master_key((data / "secret" / "master.key").read_bytes())
    database = target.with_suffix(".database")
    manifest = backup_file.extract(backup, database, keyring)
    with closing(sqlite3.connect(database)) as copy:
        for statement, parameters in statements:
            copy.execute(statement, parameters)
        copy.commit()
    backup_file.write(target, database, manifest, keyring)
    return target


# SoftHSM counts logins in one, and an HSM process writes its folder's place into the other, whenever it is started.
_WRITTEN_AT_EACH_START = {"token.object", "softhsm2.conf"}


def contents(folder: Path) -> dict[str, bytes]:
    """Every file below a folder that a start of an HSM process leaves as it is."""
    files = [path for path in folder.rglob("*") if path.is_file() and path.name not in _WRITTEN_AT_EACH_START]
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}
