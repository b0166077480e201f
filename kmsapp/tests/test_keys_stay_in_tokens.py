"""C5: with a copy of a token and its PIN, no call of PKCS#11 gets a key out of it.

What this does not say: SoftHSM keeps keys in files that the PIN opens, so a program that reads the files needs no
PKCS#11. NEVER_EXTRACTABLE is not claimed by keys that came wrapped.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from kmsapp.testing import Casemate
from kmsapp.tests import token_thief
from kmsapp.tests.crash.makers import STORE
from kmsapp.tests.remains import query
from kmsapp.tests.token_copies import HSMS, copy_token
from kmsapp.tests.token_thief import CONTROL, GOT

MOST_KEYS = 20  # of KMS: the tests that share the server have made many, all alike
# What the same thief gets of a key of its own: each kind of attempt can succeed.
GETS_OF_ITS_OWN = (
    "read VALUE",
    "wrap by AES_KEY_WRAP with AES",
    "wrap by AES_KEY_WRAP_PAD with AES",
    "wrap by AES_CBC with AES",
    "wrap by RSA_PKCS with RSA",
    "wrap by RSA_PKCS_OAEP with RSA",
    "copy with {'EXTRACTABLE': True}",
    "copy with {'SENSITIVE': False}",
    "set EXTRACTABLE to True",
    "set WRAP to True",
    "decrypt by AES_ECB",
)


@pytest.mark.parametrize("hsm_id", HSMS)
def test_who_has_a_token_and_its_pin_gets_no_key_out_of_it(casemate: Casemate, hsm_id: str, tmp_path: Path) -> None:
    casemate.boto3("kms").create_key(Origin="AWS_CLOUDHSM", CustomKeyStoreId=STORE)
    casemate.wait_for_hsms(len(HSMS))
    (masked, arn), *_ = query(casemate, "SELECT hex(masked), label FROM hsmapp_maskedkey ORDER BY id DESC")
    told = copy_token(casemate, hsm_id, tmp_path).run(token_thief.__file__, masked=masked, most=MOST_KEYS, sure=arn)
    own = {attempt for name, attempt, outcome in told["attempts"] if name == CONTROL and outcome == GOT}
    assert own >= set(GETS_OF_ITS_OWN), set(GETS_OF_ITS_OWN) - own
    tried = [(name, attempt, outcome) for name, attempt, outcome in told["attempts"] if name != CONTROL]
    names = {name for name, _, _ in tried}
    assert {f"SECRET_KEY {arn}", "SECRET_KEY casemate masking key", "masked key", "transport key"} < names
    assert {"PRIVATE_KEY casemate transport", "PRIVATE_KEY casemate identity"} < names
    got = [(name, attempt) for name, attempt, outcome in tried if outcome == GOT]
    refusals = Counter(outcome for _, _, outcome in tried)
    print(
        f"C5: {hsm_id}: {len(tried):,} attempts on {told['objects']} keys, {len(got)} got anything; of a key of the "
        f"thief's own {len(own)} did; refused as {dict(refusals)}"
    )
    assert got == []
    assert not [name for name in told["never_extractable"] if "arn:" in name or "masking" in name]
