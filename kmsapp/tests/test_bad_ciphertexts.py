"""R9: a bad ciphertext is never mistaken for a broken HSM, nor a broken HSM for a bad ciphertext.

Ten thousand tampered ones by hand: `python -m kmsapp.tests.tampering` (docs/measurements.md).
"""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from hsmapp.testing import process_of, state_of, wait_until
from hsmapp.tests import faulty_module
from kmsapp import demo
from kmsapp.errors import InvalidCiphertextException
from kmsapp.testing import Casemate
from kmsapp.tests.one_hsm import FIRST, SECOND
from kmsapp.tests.people import decrypt, encrypt
from kmsapp.tests.tampering import EXPECTED, TAMPERED, tamper

COUNT = 600
MESSAGES = 40


def test_tampered_ciphertexts_under_load_take_no_hsm_out_and_fail_no_good_call(casemate: Casemate) -> None:
    report = tamper(casemate, COUNT)
    print("\n".join(report.lines()))
    assert report.answers == {EXPECTED: COUNT}
    assert set(report.kinds) == set(TAMPERED)
    assert (report.hsms_changed, report.good_failures, report.good_wrong) == (0, [], 0)
    assert report.good_calls > 0


@pytest.mark.parametrize("hsm_id", [FIRST, SECOND])
def test_an_hsm_whose_every_decrypt_fails_costs_no_caller_anything(faulty_hsms: Path, hsm_id: str) -> None:
    """It refuses good ciphertexts as it would forged ones: its own check ciphertext tells that it is at fault."""
    messages = [f"message {number}".encode() for number in range(MESSAGES)]
    blobs = [encrypt(demo.KEY_ID, message) for message in messages]
    faulty_module.fail(faulty_hsms / hsm_id, "C_Decrypt")
    assert [decrypt(blob) for blob in blobs] == messages
    struck = faulty_module.ALWAYS - faulty_module.failures_left(faulty_hsms / hsm_id, "C_Decrypt")
    with pytest.raises(InvalidCiphertextException):
        decrypt(blobs[0][:-1] + bytes([blobs[0][-1] ^ 1]))
    faulty_module.fail(faulty_hsms / hsm_id, "C_Decrypt", times=0)
    assert [decrypt(blob) for blob in blobs] == messages
    print(f"R9: {hsm_id} failed {struck} times under {MESSAGES} decryptions: {MESSAGES} right, 0 refused")
    assert struck > 0


@pytest.mark.parametrize("hsm_id", [FIRST, SECOND])
def test_a_decrypt_that_fails_once_is_no_verdict_on_its_ciphertext(faulty_hsms: Path, hsm_id: str) -> None:
    """The check ciphertext opens a moment later, so the token is sound and the ciphertext was not to blame."""
    blobs = [encrypt(demo.KEY_ID, f"message {number}".encode()) for number in range(MESSAGES)]
    struck = 0
    for number, blob in enumerate(blobs):
        faulty_module.fail(faulty_hsms / hsm_id, "C_Decrypt", times=1)
        assert decrypt(blob) == f"message {number}".encode()
        struck += 1 - faulty_module.failures_left(faulty_hsms / hsm_id, "C_Decrypt")
    print(f"R9: {hsm_id} failed once under each of {struck} decryptions: all right")
    assert struck > 0


def test_a_token_folder_that_vanishes_while_it_is_used_costs_no_caller_anything(installation: Path) -> None:
    tokens, away = installation / "hsm" / FIRST / "tokens", installation / "away"
    messages = [f"message {number}".encode() for number in range(MESSAGES)]
    blobs = [encrypt(demo.KEY_ID, message) for message in messages]
    pid = process_of(FIRST, installation)
    tokens.rename(away)
    try:
        assert [decrypt(blob) for blob in blobs] == messages
        wait_until(lambda: state_of(FIRST) == "DEGRADED", "the HSM without its token to be missed")
        assert [decrypt(blob) for blob in blobs] == messages
    finally:
        shutil.rmtree(tokens, ignore_errors=True)  # an HSM process makes an empty one
        away.rename(tokens)
    wait_until(lambda: state_of(FIRST) == "ACTIVE", "the HSM to serve again")
    assert process_of(FIRST, installation) != pid
    assert [decrypt(blob) for blob in blobs] == messages
    print(f"R9: {3 * MESSAGES} decryptions while a token folder went and came back: all right, 0 refused")
