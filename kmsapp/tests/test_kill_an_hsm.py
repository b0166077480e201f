"""An HSM dies while people use their keys: nobody notices, and it comes back."""

from __future__ import annotations

import base64
import json
import os
from pathlib import Path

import pytest

from kmsapp.testing import Casemate
from kmsapp.tests.soak import KEY, kill, soak, wait_for_successor
from kmsapp.tests.token_copies import HSMS

pytestmark = pytest.mark.alone

SECONDS = 8.0
TRIES = 16
IV_PREFIX = slice(57, 65)  # docs/ciphertext.md: drawn by each HSM process when it opens its token


def test_no_call_fails_while_each_hsm_is_killed(casemate: Casemate) -> None:
    report = soak(casemate, seconds=SECONDS, kills=len(HSMS))
    print("\n".join(report.lines()))
    assert report.failures == []
    assert report.wrong == 0
    assert {back.hsm_id for back in report.returns} == set(HSMS)
    assert all(client.calls > 20 for client in report.clients)


@pytest.mark.parametrize("hsm_id", HSMS)
def test_a_file_decrypts_at_once_after_kill_9_of_the_hsm_that_encrypted_it(
    casemate: Casemate, hsm_id: str, tmp_path: Path
) -> None:
    letter = tmp_path / "letter"
    letter.write_bytes(os.urandom(4096))
    files = encrypted_by_each_hsm(casemate, letter)
    kms = casemate.boto3("kms")
    killed = kill(casemate, hsm_id)
    # The AWS CLI takes longer to start than an HSM does, so a client that is running already asks first.
    opened = [kms.decrypt(CiphertextBlob=file.read_bytes())["Plaintext"] for file in files.values()]
    opened += [decrypted(casemate, file) for file in files.values()]
    survivors = {encrypt_once(casemate)[IV_PREFIX] for _ in range(TRIES)} & files.keys()
    wait_for_successor(casemate, hsm_id, killed)
    assert opened == [letter.read_bytes()] * 4
    # Only one of the two processes still makes IVs, so the other file is the work of the one that was killed.
    assert len(survivors) == 1


def encrypted_by_each_hsm(casemate: Casemate, letter: Path) -> dict[bytes, Path]:
    """The letter as `aws kms encrypt` gives it, once from each HSM, by the prefix of the HSM's IVs."""
    files: dict[bytes, Path] = {}
    for _ in range(TRIES):
        done = casemate.cli("kms", "encrypt", "--key-id", KEY, "--plaintext", f"fileb://{letter}")
        assert done.returncode == 0, done.stderr
        blob = base64.b64decode(json.loads(done.stdout)["CiphertextBlob"])
        file = letter.with_name(blob[IV_PREFIX].hex())
        file.write_bytes(blob)
        files[blob[IV_PREFIX]] = file
        if len(files) == len(HSMS):
            return files
    raise AssertionError(f"one HSM did all of {TRIES} encryptions")


def decrypted(casemate: Casemate, file: Path) -> bytes:
    done = casemate.cli("kms", "decrypt", "--ciphertext-blob", f"fileb://{file}")
    assert done.returncode == 0, done.stderr
    return base64.b64decode(json.loads(done.stdout)["Plaintext"])


def encrypt_once(casemate: Casemate) -> bytes:
    blob: bytes = casemate.boto3("kms").encrypt(KeyId=KEY, Plaintext=b"which HSM?")["CiphertextBlob"]
    return blob
