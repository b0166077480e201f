"""C2: a ciphertext of the running server opens under its own key and encryption context, and under nothing else.

Each refusal must be AWS's, with the same text whatever was wrong, and none may cost an HSM its place: the same HSM
processes serve before and after. A header that names another key is that key's ciphertext: which answer it gets follows
from the header alone (docs/adr/0007).
"""

from __future__ import annotations

import secrets
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from kmsapp.access import CIPHERTEXT_DENIED
from kmsapp.testing import Casemate
from kmsapp.tests.refusals import Refusal, refusal
from kmsapp.tests.signed_http import post

HSMS = ("hsm-abcdefghijk", "hsm-zyxwvutsrqp")
STORE = "cks-1234567890abcdef0"
CIPHERTEXTS = 1000
FLIPPED_BYTES = 64

FORGED = Refusal("InvalidCiphertextException", "", 400)
OTHER_KEY = Refusal(
    "IncorrectKeyException", "The key ID in the request does not identify a CMK that can perform this operation.", 400
)
DENIED = Refusal("AccessDeniedException", CIPHERTEXT_DENIED, 400)
CONTEXT = {"Department": "Finance", "tenant": "é", "a": "b,c"}


@dataclass(frozen=True)
class Sealed:
    """A ciphertext of the server, one of another message under the same key, and one of another key."""

    key_id: str
    other_key_id: str
    blob: bytes
    sibling: bytes
    foreign: bytes


# Altered blobs. Offsets are those of docs/ciphertext.md.
BLOBS: dict[str, Callable[[Sealed], bytes]] = {
    "version": lambda it: b"\2" + it.blob[1:],
    "algorithm": lambda it: it.blob[:1] + b"\2" + it.blob[2:],
    "key id form": lambda it: it.blob[:2] + b"\1" + it.blob[3:],
    "account": lambda it: it.blob[:3] + (444455556666).to_bytes(6, "big") + it.blob[9:],
    "key id, of no key": lambda it: it.blob[:9] + secrets.token_bytes(16) + it.blob[25:],
    "key id, of another key": lambda it: it.blob[:9] + it.foreign[9:25] + it.blob[25:],
    "material id": lambda it: it.blob[:25] + secrets.token_bytes(32) + it.blob[57:],
    "material id, of another key": lambda it: it.blob[:25] + it.foreign[25:57] + it.blob[57:],
    "header of another key": lambda it: it.foreign[:57] + it.blob[57:],
    "body of another key": lambda it: it.blob[:57] + it.foreign[57:],
    "IV": lambda it: it.blob[:57] + secrets.token_bytes(12) + it.blob[69:],
    "IV, of another message": lambda it: it.blob[:57] + it.sibling[57:69] + it.blob[69:],
    "ciphertext": lambda it: it.blob[:69] + bytes([it.blob[69] ^ 1]) + it.blob[70:],
    "tag": lambda it: it.blob[:-1] + bytes([it.blob[-1] ^ 128]),
    "tag, of another message": lambda it: it.blob[:-16] + it.sibling[-16:],
    "one byte less": lambda it: it.blob[:-1],
    "one byte more": lambda it: it.blob + b"\0",
    "no body": lambda it: it.blob[:57],
    "bare AES-GCM": lambda it: it.blob[57:],
}
CONTEXTS: dict[str, dict[str, str]] = {
    "none": {},
    "one pair omitted": {"Department": "Finance", "tenant": "é"},
    "one pair more": {**CONTEXT, "z": ""},
    "a value changed": {**CONTEXT, "Department": "Finances"},
    "case of a value": {**CONTEXT, "Department": "finance"},
    "case of a key": {"department": "Finance", "tenant": "é", "a": "b,c"},
    "a key changed": {"Department": "Finance", "tenant2": "é", "a": "b,c"},
    "two values swapped": {"Department": "é", "tenant": "Finance", "a": "b,c"},
    "a value decomposed": {**CONTEXT, "tenant": "e\u0301"},
    "a value split into two pairs": {**CONTEXT, "a": "b", "c": ""},
    "a value repeated under another key": {**CONTEXT, "Department2": "Finance"},
    "a space at the end": {**CONTEXT, "Department": "Finance "},
    "a control character more": {**CONTEXT, "a": "b,c\u0001"},
}
ORDERS = (
    {"Department": "Finance", "tenant": "é", "a": "b,c"},
    {"a": "b,c", "Department": "Finance", "tenant": "é"},
    {"tenant": "é", "a": "b,c", "Department": "Finance"},
)


def expected(forged: bytes, it: Sealed, key_id: str | None) -> Refusal:
    """The refusal of a blob whose body does not open: what its header says decides which one."""
    malformed = len(forged) < 86 or forged[:2] != b"\1\1" or forged[2] > 1
    if malformed or int.from_bytes(forged[3:9], "big") > 999_999_999_999:
        return FORGED
    named = forged[2:25]
    if key_id is None:
        return FORGED if named in {it.blob[2:25], it.foreign[2:25]} else DENIED
    return FORGED if named == (it.blob if key_id == it.key_id else it.foreign)[2:25] else OTHER_KEY


@dataclass
class Opener:
    """Decrypts as alice and counts what was answered."""

    kms: Any
    counts: Counter[str]

    def refused(self, blob: bytes, context: dict[str, str], key_id: str | None) -> Refusal | None:
        given = {"KeyId": key_id} if key_id else {}
        answer = refusal(self.kms.decrypt, CiphertextBlob=blob, EncryptionContext=context, **given)
        self.counts[answer.code if answer else "opened"] += 1
        return answer


@pytest.fixture
def opener(casemate: Casemate) -> Opener:
    return Opener(casemate.boto3("kms", parameter_validation=False), Counter())


@pytest.fixture(scope="module")
def keys(casemate: Casemate) -> tuple[str, str]:
    kms = casemate.boto3("kms")
    made = [kms.create_key(Origin="AWS_CLOUDHSM", CustomKeyStoreId=STORE)["KeyMetadata"]["KeyId"] for _ in range(2)]
    return made[0], made[1]


@pytest.fixture(autouse=True)
def no_hsm_is_taken_out(casemate: Casemate) -> Any:
    before = [casemate.hsm_pid(hsm_id) for hsm_id in HSMS]
    yield
    assert [casemate.hsm_pid(hsm_id) for hsm_id in HSMS] == before
    (cluster,) = casemate.boto3("cloudhsmv2").describe_clusters()["Clusters"]
    assert {hsm["HsmId"]: hsm["State"] for hsm in cluster["Hsms"]} == dict.fromkeys(HSMS, "ACTIVE")


def seal(kms: Any, key_id: str, plaintext: bytes = b"x" * 20) -> bytes:
    blob: bytes = kms.encrypt(KeyId=key_id, Plaintext=plaintext, EncryptionContext=CONTEXT)["CiphertextBlob"]
    return blob


def sealed(opener: Opener, keys: tuple[str, str]) -> Sealed:
    one, other = keys
    return Sealed(one, other, seal(opener.kms, one), seal(opener.kms, one), seal(opener.kms, other))


def test_1000_ciphertexts_open_and_no_altered_one_does(opener: Opener, keys: tuple[str, str]) -> None:
    """Every ciphertext is altered in one way, with and without KeyId in turn, and opens when it is not."""
    first = sealed(opener, keys)
    alterations = [*BLOBS, *(f"context: {name}" for name in CONTEXTS)]
    foreign = first.foreign
    for number in range(CIPHERTEXTS):
        plaintext = number.to_bytes(4, "big") * 5
        it = Sealed(*keys, seal(opener.kms, keys[0], plaintext), first.blob, foreign)
        name = alterations[number % len(alterations)]
        key_id = None if number // len(alterations) % 2 else it.key_id
        altered = BLOBS[name](it) if name in BLOBS else it.blob
        context = CONTEXTS.get(name.removeprefix("context: "), CONTEXT)
        assert opener.refused(altered, context, key_id) == expected(altered, it, key_id), (name, key_id)
        if number % 4 == 0:
            opened = opener.kms.decrypt(CiphertextBlob=it.blob, EncryptionContext=ORDERS[number % len(ORDERS)])
            assert opened["Plaintext"] == plaintext
    print(f"C2: {CIPHERTEXTS} ciphertexts, each altered in one of {len(alterations)} ways: {dict(opener.counts)}")
    assert opener.counts["opened"] == 0


@pytest.mark.parametrize("with_key_id", [True, False], ids=["KeyId given", "no KeyId"])
def test_no_flipped_bit_of_the_first_64_bytes_opens(opener: Opener, keys: tuple[str, str], with_key_id: bool) -> None:
    it = sealed(opener, keys)
    key_id = it.key_id if with_key_id else None
    for bit in range(FLIPPED_BYTES * 8):
        flipped = bytearray(it.blob)
        flipped[bit // 8] ^= 1 << bit % 8
        assert opener.refused(bytes(flipped), CONTEXT, key_id) == expected(bytes(flipped), it, key_id), bit
    print(f"C2: {FLIPPED_BYTES * 8} single flipped bits: {dict(opener.counts)}")
    assert opener.counts["opened"] == 0 and opener.counts.total() == FLIPPED_BYTES * 8


def test_every_alteration_is_refused_with_each_way_of_naming_the_key(opener: Opener, keys: tuple[str, str]) -> None:
    it = sealed(opener, keys)
    for key_id in (None, it.key_id, it.other_key_id):
        for name, alter in BLOBS.items():
            assert opener.refused(alter(it), CONTEXT, key_id) == expected(alter(it), it, key_id), (name, key_id)
        for name, context in CONTEXTS.items():
            assert opener.refused(it.blob, context, key_id) == expected(it.blob, it, key_id), (name, key_id)
    assert opener.refused(it.blob, CONTEXT, it.other_key_id) == OTHER_KEY
    print(f"C2: every alteration under three ways of naming the key: {dict(opener.counts)}")
    assert opener.counts["opened"] == 0


def test_the_order_of_the_pairs_is_irrelevant(opener: Opener, keys: tuple[str, str]) -> None:
    it = sealed(opener, keys)
    assert [opener.refused(it.blob, context, None) for context in ORDERS] == [None] * len(ORDERS)


def test_a_pair_given_twice_is_refused_before_anything_is_opened(casemate: Casemate) -> None:
    """JSON can say a member twice; which of the two is meant is not ours to guess."""
    body = b'{"CiphertextBlob": "AA==", "EncryptionContext": {"a": "1", "a": "2"}}'
    answer = post(casemate, body, operation="Decrypt")
    assert (answer.status, answer.code) == (400, "SerializationException")


def test_all_faults_of_a_body_have_one_answer_to_the_byte(
    casemate: Casemate, opener: Opener, keys: tuple[str, str]
) -> None:
    """No oracle: status, headers (but for request id and date) and body are the same whatever was wrong."""
    it = sealed(opener, keys)
    faults = ["version", "material id", "IV", "ciphertext", "tag", "one byte less", "no body"]
    answers = set()
    for name in faults:
        answer = post(casemate, {"CiphertextBlob": BLOBS[name](it), "EncryptionContext": CONTEXT}, operation="Decrypt")
        answers.add((answer.status, answer.body, answer.comparable_headers))
    answer = post(casemate, {"CiphertextBlob": it.blob, "EncryptionContext": {}}, operation="Decrypt")
    answers.add((answer.status, answer.body, answer.comparable_headers))
    print(f"C2: {len(faults) + 1} faults, {len(answers)} answer")
    assert len(answers) == 1
