"""The table of grants: every combination of who asks for what, how, and what AWS's documents say comes of it.

`expected` is written from the documents alone and knows nothing of the product: API_CreateGrant,
API_GrantConstraints and API_RetireGrant in https://docs.aws.amazon.com/kms/latest/APIReference/
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from typing import NamedTuple

OPERATIONS = (
    "Decrypt",
    "Encrypt",
    "GenerateDataKey",
    "GenerateDataKeyWithoutPlaintext",
    "ReEncryptFrom",
    "ReEncryptTo",
    "Sign",
    "Verify",
    "GetPublicKey",
    "CreateGrant",
    "RetireGrant",
    "DescribeKey",
    "GenerateDataKeyPair",
    "GenerateDataKeyPairWithoutPlaintext",
    "GenerateMac",
    "VerifyMac",
    "DeriveSharedSecret",
    "Encapsulate",
    "Decapsulate",
)
CALLERS = ("grantee", "other", "retiring", "namesake")
CONSTRAINTS = ("EncryptionContextEquals", "EncryptionContextSubset", "none")
TOKENS = ("given", "not", "retired", "revoked")
CONSTRAINED = {"Department": "IT", "Purpose": "Test"}
CONTEXTS = {
    "exact": {"Department": "IT", "Purpose": "Test"},
    "extra": {"Department": "IT", "Purpose": "Test", "More": "x"},
    "missing": {"Department": "IT"},
    "key-case": {"DEPARTMENT": "IT", "Purpose": "Test"},
    "value-case": {"Department": "it", "Purpose": "Test"},
}
ALLOWED, DENIED, INVALID_TOKEN = "allowed", "denied", "invalid token"


class Cell(NamedTuple):
    """One combination. context: of the request; for CreateGrant, the constraint of the grant that is asked for."""

    operation: str
    caller: str
    constraint: str
    context: str
    token: str


def cells(operations: tuple[str, ...] = OPERATIONS) -> Iterator[Cell]:
    return map(Cell._make, product(operations, CALLERS, CONSTRAINTS, CONTEXTS, TOKENS))


def expected(cell: Cell) -> str:
    """What comes of a call of somebody whom no policy allows anything."""
    # A token names its grant; there is none after it was retired or revoked, whoever brings the token.
    if cell.token in ("retired", "revoked"):
        return INVALID_TOKEN
    # Retiring is for the retiring principal, and for the grantee of a grant with RetireGrant. No constraint applies.
    if cell.operation == "RetireGrant":
        return ALLOWED if cell.caller in ("grantee", "retiring") else DENIED
    # A grant has one grantee, and a principal is not another one that came to bear its name. A token adds nothing.
    if cell.caller != "grantee":
        return DENIED
    # Constraints are for operations with an encryption context, and for the grants that CreateGrant makes.
    with_context = {"Encrypt", "Decrypt", "ReEncryptFrom", "ReEncryptTo", "GenerateDataKey", "CreateGrant"}
    with_context |= {name for name in OPERATIONS if name.startswith("GenerateDataKey")}
    if cell.operation not in with_context or cell.constraint == "none":
        return ALLOWED
    # Keys are compared without regard to case, values with it.
    met = {
        "exact": True,
        "extra": cell.constraint == "EncryptionContextSubset",
        "missing": False,
        "key-case": True,
        "value-case": False,
    }
    return ALLOWED if met[cell.context] else DENIED
