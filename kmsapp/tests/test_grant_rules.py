"""What grants allow, tried against the table that the documents give, and principals and constraints one by one."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from kmsapp import grant_rules, service_models
from kmsapp.caller import Caller
from kmsapp.grant_rules import Permissions, Terms
from kmsapp.tests.grant_table import ALLOWED, CONSTRAINED, CONTEXTS, DENIED, INVALID_TOKEN, OPERATIONS, Cell, cells
from kmsapp.tests.grant_table import expected as expected_of

ACCOUNT, OTHER_ACCOUNT, REGION = "111122223333", "444455556666", "us-west-2"


def user(name: str, unique_id: str, account: str = ACCOUNT) -> Caller:
    return Caller(account, REGION, f"arn:aws:iam::{account}:user/{name}", unique_id, name)


def session(role: str, name: str, role_id: str, account: str = ACCOUNT, path: str = "/") -> Caller:
    arn = f"arn:aws:sts::{account}:assumed-role/{role}/{name}"
    role_arn = f"arn:aws:iam::{account}:role{path}{role}"
    return Caller(account, REGION, arn, f"{role_id}:{name}", principal_type="AssumedRole", role_arn=role_arn)


def root(account: str = ACCOUNT) -> Caller:
    return Caller(account, REGION, f"arn:aws:iam::{account}:root", account, principal_type="Root")


def federated(name: str) -> Caller:
    return Caller(ACCOUNT, REGION, f"arn:aws:sts::{ACCOUNT}:federated-user/{name}", f"{ACCOUNT}:{name}")


CALLERS = {
    "grantee": user("app", "AIDAFIRST"),
    "other": user("other", "AIDAOTHER"),
    "retiring": user("cleaner", "AIDACLEANER"),
    "namesake": user("app", "AIDASECOND"),
}


def grant(principal: str, unique_id: str, *operations: str, **constraints: Any) -> Terms:
    return Terms(
        frozenset(operations or OPERATIONS),
        constraints,
        grantee_principal=principal,
        grantee_id=unique_id,
        retiring_principal=CALLERS["retiring"].principal_arn,
        retiring_id=CALLERS["retiring"].principal_id,
        issuing_account=ACCOUNT,
    )


def found(cell: Cell) -> str:
    """What the rules say of a cell of the table."""
    caller = CALLERS[cell.caller]
    constraints = {} if cell.constraint == "none" else {cell.constraint: CONSTRAINED}
    given = grant(CALLERS["grantee"].principal_arn, "AIDAFIRST", **constraints)
    if cell.token in ("retired", "revoked"):
        return INVALID_TOKEN  # decided where tokens are opened: test_grant_tokens.py and test_grant_calls.py
    if cell.operation == "RetireGrant":
        return ALLOWED if grant_rules.may_retire(given, caller) else DENIED
    allowed = grant_rules.allows(given, caller, cell.operation, CONTEXTS[cell.context])
    if cell.operation == "CreateGrant":
        child = Permissions(frozenset({"Decrypt"}), {"EncryptionContextEquals": CONTEXTS[cell.context]})
        allowed = allowed and grant_rules.may_create(given, child)
    return ALLOWED if allowed else DENIED


def test_every_cell_of_the_table_is_decided_as_the_documents_say() -> None:
    assert set(OPERATIONS) == grant_rules.OPERATIONS == set(service_models.service("kms").shape("GrantOperation").enum)
    counted: Counter[str] = Counter()
    for cell in cells():
        assert found(cell) == expected_of(cell), cell
        counted[expected_of(cell)] += 1
    assert counted.total() == 19 * 4 * 3 * 5 * 4 and min(counted.values()) > 300
    print(f"{counted.total()} cells: {dict(counted)}")


USER = "arn:aws:iam::111122223333:user/app"
ROLE = "arn:aws:iam::111122223333:role/work/Worker"
SESSION = "arn:aws:sts::111122223333:assumed-role/Worker/one"
FEDERATED = "arn:aws:sts::111122223333:federated-user/fay"
ROOT = "arn:aws:iam::111122223333:root"
ONE = session("Worker", "one", "AROAWORKER", path="/work/")

# grantee, its id, who asks, whether IAM allows them, whether the grant does
GRANTEES: dict[str, tuple[str, str, Caller, bool, bool]] = {
    "a user": (USER, "AIDAFIRST", user("app", "AIDAFIRST"), False, True),
    "a user who was renamed": (USER, "AIDAFIRST", user("renamed", "AIDAFIRST"), False, True),
    "a namesake made later": (USER, "AIDAFIRST", user("app", "AIDASECOND"), True, False),
    "a user of that name elsewhere": (USER, "AIDAFIRST", user("app", "AIDAX", OTHER_ACCOUNT), True, False),
    "a session of the role": (ROLE, "AROAWORKER", ONE, False, True),
    "another session of the role": (ROLE, "AROAWORKER", session("Worker", "two", "AROAWORKER"), False, True),
    "a session of a namesake role": (ROLE, "AROAWORKER", session("Worker", "one", "AROANEW"), True, False),
    "the session": (SESSION, "AROAWORKER", ONE, False, True),
    "a session of another name": (SESSION, "AROAWORKER", session("Worker", "two", "AROAWORKER"), True, False),
    "that session of a namesake role": (SESSION, "AROAWORKER", session("Worker", "one", "AROANEW"), True, False),
    "the federated user": (FEDERATED, ACCOUNT, federated("fay"), False, True),
    "another federated user": (FEDERATED, ACCOUNT, federated("ben"), True, False),
    "root, where a federated user is meant": (FEDERATED, ACCOUNT, root(), True, False),
    "root": (ROOT, ACCOUNT, root(), False, True),
    "a federated user, who is not root": (ROOT, ACCOUNT, federated("fay"), False, False),
    "a user of the account, without IAM": (ROOT, ACCOUNT, user("app", "AIDAFIRST"), False, False),
    "a user of the account, with IAM": (ROOT, ACCOUNT, user("app", "AIDAFIRST"), True, True),
    "a session of the account, with IAM": (ROOT, ACCOUNT, ONE, True, True),
    "root of another account": (ROOT, ACCOUNT, root(OTHER_ACCOUNT), True, False),
    "nobody for a service": ("dynamodb.amazonaws.com", "", user("app", "AIDAFIRST"), True, False),
}


@pytest.mark.parametrize(("principal", "unique_id", "caller", "iam", "allowed"), GRANTEES.values(), ids=GRANTEES)
def test_a_grant_means(principal: str, unique_id: str, caller: Caller, iam: bool, allowed: bool) -> None:
    assert grant_rules.allows(grant(principal, unique_id), caller, "Decrypt", {}, iam_allows=iam) is allowed


def test_only_the_operations_of_a_grant_are_allowed() -> None:
    caller = CALLERS["grantee"]
    for operation in OPERATIONS:
        given = grant(USER, "AIDAFIRST", operation)
        assert [name for name in OPERATIONS if grant_rules.allows(given, caller, name, {})] == [operation]


def test_pairs_that_differ_only_by_the_case_of_their_keys_are_two() -> None:
    equals = grant(USER, "AIDAFIRST", EncryptionContextEquals={"a": "1"})
    subset = grant(USER, "AIDAFIRST", EncryptionContextSubset={"a": "1"})
    for context, by_equals, by_subset in (
        ({"A": "1"}, True, True),
        ({"A": "1", "a": "1"}, False, True),
        ({"A": "1", "a": "2"}, False, True),
        ({"A": "2"}, False, False),
        ({}, False, False),
    ):
        assert grant_rules.allows(equals, CALLERS["grantee"], "Encrypt", context) is by_equals, context
        assert grant_rules.allows(subset, CALLERS["grantee"], "Encrypt", context) is by_subset, context


def test_a_source_arn_is_met_by_the_service_that_calls_for_that_resource() -> None:
    topic = "arn:aws:sns:us-west-2:111122223333:topic"
    given = grant(USER, "AIDAFIRST", SourceArn=topic)
    asked = {"": False, topic: True, f"{topic}s": False}
    for source, allowed in asked.items():
        for operation in ("Decrypt", "DescribeKey", "Sign"):
            assert grant_rules.allows(given, CALLERS["grantee"], operation, {}, source_arn=source) is allowed
    assert grant_rules.may_retire(given, CALLERS["grantee"])


A, AB, B = {"a": "1"}, {"a": "1", "b": "2"}, {"b": "2"}
TOPIC, QUEUE = "arn:aws:sns:us-west-2:111122223333:topic", "arn:aws:sqs:us-west-2:111122223333:queue"
# constraints of the grant that gives CreateGrant, those of the grant that is asked for
CHILDREN: dict[str, tuple[dict[str, Any], dict[str, Any], bool]] = {
    "none of none": ({}, {}, True),
    "stricter than none": ({}, {"EncryptionContextSubset": A}, True),
    "equal": ({"EncryptionContextEquals": AB}, {"EncryptionContextEquals": AB}, True),
    "equal but for the case of a key": ({"EncryptionContextEquals": A}, {"EncryptionContextEquals": {"A": "1"}}, True),
    "equal but for the case of a value": (
        {"EncryptionContextEquals": {"a": "x"}},
        {"EncryptionContextEquals": {"a": "X"}},
        False,
    ),
    "none where all is fixed": ({"EncryptionContextEquals": A}, {}, False),
    "more where all is fixed": ({"EncryptionContextEquals": A}, {"EncryptionContextEquals": AB}, False),
    "the same pairs, but not only them": ({"EncryptionContextEquals": A}, {"EncryptionContextSubset": A}, False),
    "the same subset": ({"EncryptionContextSubset": A}, {"EncryptionContextSubset": A}, True),
    "a larger subset": ({"EncryptionContextSubset": A}, {"EncryptionContextSubset": AB}, True),
    "a smaller subset": ({"EncryptionContextSubset": AB}, {"EncryptionContextSubset": A}, False),
    "another subset": ({"EncryptionContextSubset": A}, {"EncryptionContextSubset": B}, False),
    "all fixed, the subset within": ({"EncryptionContextSubset": A}, {"EncryptionContextEquals": AB}, True),
    "all fixed, the subset not within": ({"EncryptionContextSubset": A}, {"EncryptionContextEquals": B}, False),
    "none where there is a subset": ({"EncryptionContextSubset": A}, {}, False),
    "the same source": ({"SourceArn": TOPIC}, {"SourceArn": TOPIC}, True),
    "another source": ({"SourceArn": TOPIC}, {"SourceArn": QUEUE}, False),
    "no source where there is one": ({"SourceArn": TOPIC}, {}, False),
    "a source in place of a context": ({"EncryptionContextSubset": A}, {"SourceArn": TOPIC}, False),
}


@pytest.mark.parametrize(("parent", "child", "allowed"), CHILDREN.values(), ids=CHILDREN)
def test_constraints_of_what_is_granted_on(parent: dict[str, Any], child: dict[str, Any], allowed: bool) -> None:
    operations = frozenset({"CreateGrant", "Decrypt"})
    assert grant_rules.may_create(Permissions(operations, parent), Permissions(operations, child)) is allowed
    fewer, more = frozenset({"Decrypt"}), operations | {"Encrypt"}
    assert grant_rules.may_create(Permissions(operations, parent), Permissions(fewer, child)) is allowed
    assert not grant_rules.may_create(Permissions(operations, parent), Permissions(more, child))


def test_accounts_that_retire_are_those_of_the_key_the_issuer_and_accounts_that_the_grant_names() -> None:
    def accounts(**changed: Any) -> set[str]:
        terms = Terms(**{"operations": frozenset({"Decrypt"}), "issuing_account": "2" * 12, **changed})
        return grant_rules.accounts_that_retire(terms, "1" * 12)

    assert accounts() == {"1" * 12, "2" * 12}
    assert accounts(retiring_principal=f"arn:aws:iam::{'3' * 12}:root") == {"1" * 12, "2" * 12, "3" * 12}
    assert accounts(retiring_principal=f"arn:aws:iam::{'3' * 12}:user/root") == {"1" * 12, "2" * 12}
    grantee = f"arn:aws:iam::{'4' * 12}:root"
    assert accounts(grantee_principal=grantee) == {"1" * 12, "2" * 12}
    operations = frozenset({"RetireGrant"})
    assert accounts(grantee_principal=grantee, operations=operations) == {"1" * 12, "2" * 12, "4" * 12}


SUPPORTED: dict[tuple[str, str, bool], set[str]] = {
    ("SYMMETRIC_DEFAULT", "ENCRYPT_DECRYPT", True): {
        "Decrypt",
        "Encrypt",
        "ReEncryptFrom",
        "ReEncryptTo",
        "GenerateDataKey",
        "GenerateDataKeyWithoutPlaintext",
    },
    ("RSA_2048", "ENCRYPT_DECRYPT", False): {"Decrypt", "Encrypt", "ReEncryptFrom", "ReEncryptTo", "GetPublicKey"},
    ("RSA_2048", "SIGN_VERIFY", False): {"Sign", "Verify", "GetPublicKey"},
    ("HMAC_256", "GENERATE_VERIFY_MAC", False): {"GenerateMac", "VerifyMac"},
    ("ECC_NIST_P256", "KEY_AGREEMENT", False): {"DeriveSharedSecret", "GetPublicKey"},
    ("ML_KEM_768", "ENCAPSULATE_DECAPSULATE", False): {"Encapsulate", "Decapsulate", "GetPublicKey"},
}


def test_operations_that_a_key_supports() -> None:
    for (spec, usage, in_store), operations in SUPPORTED.items():
        found = grant_rules.supported(key_spec=spec, key_usage=usage, in_custom_key_store=in_store)
        assert found == operations | {"CreateGrant", "DescribeKey", "RetireGrant"}, spec
    native = grant_rules.supported(key_spec="SYMMETRIC_DEFAULT", key_usage="ENCRYPT_DECRYPT", in_custom_key_store=False)
    assert {"GenerateDataKeyPair", "GenerateDataKeyPairWithoutPlaintext"} < native
