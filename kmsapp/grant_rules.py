"""What a grant allows, who may use and retire it, and what may be granted on: pure, so that every case can be tried.

Grants only allow. Principals are compared by unique id, so a namesake that was made later has nothing by a grant.
Encryption context constraints compare keys without regard to case and values exactly, as the API Reference has it:
https://docs.aws.amazon.com/kms/latest/APIReference/API_GrantConstraints.html
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from kmsapp.caller import Caller

EQUALS = "EncryptionContextEquals"
SUBSET = "EncryptionContextSubset"
SOURCE_ARN = "SourceArn"

# https://docs.aws.amazon.com/kms/latest/developerguide/grants.html#terms-grant-operations, by the usage of the key.
_FOR_EVERY_KEY = frozenset({"CreateGrant", "DescribeKey", "RetireGrant"})
_ENCRYPTION = frozenset({"Decrypt", "Encrypt", "ReEncryptFrom", "ReEncryptTo"})
_DATA_KEYS = frozenset({"GenerateDataKey", "GenerateDataKeyWithoutPlaintext"})
_DATA_KEY_PAIRS = frozenset({"GenerateDataKeyPair", "GenerateDataKeyPairWithoutPlaintext"})
_BY_USAGE = {
    "ENCRYPT_DECRYPT": _ENCRYPTION | {"GetPublicKey"},
    "SIGN_VERIFY": frozenset({"Sign", "Verify", "GetPublicKey"}),
    "GENERATE_VERIFY_MAC": frozenset({"GenerateMac", "VerifyMac"}),
    "KEY_AGREEMENT": frozenset({"DeriveSharedSecret", "GetPublicKey"}),
    "ENCAPSULATE_DECAPSULATE": frozenset({"Encapsulate", "Decapsulate", "GetPublicKey"}),
}
OPERATIONS = frozenset().union(_FOR_EVERY_KEY, _DATA_KEYS, _DATA_KEY_PAIRS, *_BY_USAGE.values())

# Where a request has the encryption context that a constraint looks at. An operation that is not here has none, and
# constraints on it are not applied; those on CreateGrant are applied to the grant that is asked for (`may_create`).
CONTEXT_MEMBER = {
    **dict.fromkeys(("Encrypt", "Decrypt", *_DATA_KEYS, *_DATA_KEY_PAIRS), "EncryptionContext"),
    "ReEncryptFrom": "SourceEncryptionContext",
    "ReEncryptTo": "DestinationEncryptionContext",
}


@dataclass(frozen=True)
class Permissions:
    """What is granted, and under which constraints."""

    operations: frozenset[str]
    constraints: Mapping[str, Any] = field(default_factory=dict)  # GrantConstraints, as in CreateGrant


@dataclass(frozen=True)
class Terms(Permissions):
    """All that one grant says. A principal is an ARN, or the name of an AWS service, which nobody here calls as."""

    grant_id: str = ""
    grantee_principal: str = ""
    grantee_id: str = ""  # the unique id of that principal when the grant was made
    retiring_principal: str = ""
    retiring_id: str = ""
    issuing_account: str = ""


def supported(*, key_spec: str, key_usage: str, in_custom_key_store: bool) -> frozenset[str]:
    """The operations that a grant on such a key can allow."""
    if key_spec != "SYMMETRIC_DEFAULT":
        return _FOR_EVERY_KEY | _BY_USAGE.get(key_usage, frozenset())
    pairs = frozenset[str]() if in_custom_key_store else _DATA_KEY_PAIRS
    return _FOR_EVERY_KEY | _ENCRYPTION | _DATA_KEYS | pairs


def allows(
    grant: Terms,
    caller: Caller,
    operation: str,
    context: Mapping[str, str],
    *,
    source_arn: str = "",
    iam_allows: bool = False,
) -> bool:
    """Whether the grant lets the caller do the operation (a name of GrantOperation).

    context: the encryption context of the request, empty if it has none. source_arn: the resource on whose behalf an
    AWS service calls. iam_allows: whether the caller's own account allows the operation by IAM policy, without which a
    grant to the account is its root user's alone.
    """
    return (
        operation in grant.operations
        and _is_meant(caller, grant.grantee_principal, grant.grantee_id, iam_allows=iam_allows)
        and _is_met(grant.constraints, operation, context, source_arn)
    )


def why_not(grant: Terms, caller: Caller, operation: str, context: Mapping[str, str], *, iam_allows: bool) -> str:
    """In a sentence, what a grant to the caller lacks to let them do the operation; "" if it is not to the caller.

    Call it for a grant that does not cover the operation.
    """
    if not _is_meant(caller, grant.grantee_principal, grant.grantee_id, iam_allows=True):
        return ""
    name = f"Grant {grant.grant_id}"
    if operation not in grant.operations:
        return f"{name} is for {', '.join(sorted(grant.operations))}, not for {operation}."
    if not _is_meant(caller, grant.grantee_principal, grant.grantee_id, iam_allows=iam_allows):
        return f"{name} allows {operation} to the whole account, but an IAM policy must allow it to the caller, too."
    if SOURCE_ARN in grant.constraints and operation != "RetireGrant":
        return f"{name} allows {operation}, but only when an AWS service calls for {grant.constraints[SOURCE_ARN]}."
    if operation == "CreateGrant":
        return (
            f"{name} allows CreateGrant, but only of grants for what it allows, under its constraints or stricter ones."
        )
    for kind, wanted in ((EQUALS, "the encryption context"), (SUBSET, "an encryption context that has")):
        if kind in grant.constraints and not _is_met({kind: grant.constraints[kind]}, operation, context, ""):
            return f"{name} allows {operation}, but only with {wanted} {_shown(grant.constraints[kind])}."
    return ""


def _shown(context: Mapping[str, str]) -> str:
    return ", ".join(f"{key} = {value}" for key, value in sorted(context.items()))


def may_retire(grant: Terms, caller: Caller) -> bool:
    """Whether the grant itself lets the caller retire it, as retiring principal or as a grantee with RetireGrant."""
    if is_principal(caller, grant.retiring_principal, grant.retiring_id):
        return True
    return allows(grant, caller, "RetireGrant", {})


def accounts_that_retire(grant: Terms, key_account: str) -> set[str]:
    """Accounts whose root user, and whoever their IAM policies allow it, may retire the grant.

    https://docs.aws.amazon.com/kms/latest/developerguide/grant-delete.html
    """
    named = [grant.retiring_principal]
    if "RetireGrant" in grant.operations:
        named.append(grant.grantee_principal)
    return {grant.issuing_account, key_account, *(arn.split(":")[4] for arn in named if arn.endswith(":root"))}


def may_create(parent: Permissions, child: Permissions) -> bool:
    """Whether who has CreateGrant by `parent` alone may make `child`: no more operations, constraints no looser."""
    return child.operations <= parent.operations and _is_no_looser(child.constraints, parent.constraints)


def is_principal(caller: Caller, arn: str, unique_id: str) -> bool:
    """Whether the caller is this principal: user, root user, role (by each of its sessions), one session.

    A user that was renamed has another ARN and is the same. For an account and for sessions the id tells too little.
    """
    if arn.startswith("arn:aws:sts::") or arn == account_arn(caller.account):
        return arn == caller.principal_arn and unique_id == caller.identity_id
    return bool(unique_id) and unique_id == caller.identity_id


def ids_of(caller: Caller) -> set[str]:
    """The unique ids of principals by which a grant can mean the caller."""
    return {caller.identity_id, caller.account}


def account_arn(account: str) -> str:
    """The ARN of an account as a principal, which is also that of its root user."""
    return f"arn:aws:iam::{account}:root"


def _is_meant(caller: Caller, arn: str, unique_id: str, *, iam_allows: bool) -> bool:
    if is_principal(caller, arn, unique_id):
        return True
    return iam_allows and arn == account_arn(caller.account)


def _is_met(constraints: Mapping[str, Any], operation: str, context: Mapping[str, str], source_arn: str) -> bool:
    if SOURCE_ARN in constraints and operation != "RetireGrant" and constraints[SOURCE_ARN] != source_arn:
        return False
    if operation not in CONTEXT_MEMBER:
        return True
    if EQUALS in constraints and _pairs(constraints[EQUALS]) != _pairs(context):
        return False
    return SUBSET not in constraints or _contains(context, constraints[SUBSET])


def _is_no_looser(child: Mapping[str, Any], parent: Mapping[str, Any]) -> bool:
    if SOURCE_ARN in parent and child.get(SOURCE_ARN) != parent[SOURCE_ARN]:
        return False
    if EQUALS in parent:
        return EQUALS in child and _pairs(child[EQUALS]) == _pairs(parent[EQUALS])
    if SUBSET in parent:
        return any(kind in child and _contains(child[kind], parent[SUBSET]) for kind in (EQUALS, SUBSET))
    return True


def _pairs(context: Mapping[str, str]) -> list[tuple[str, str]]:
    # A list and not a dict: a context may have two keys that differ by case only, and has then one pair too many.
    return sorted((key.lower(), value) for key, value in context.items())


def _contains(context: Mapping[str, str], wanted: Mapping[str, str]) -> bool:
    return set(_pairs(wanted)) <= set(_pairs(context))
