"""Which fault of a request with several is answered: its form, what its members say together, the right, the state.

https://docs.aws.amazon.com/kms/latest/APIReference/API_CreateKey.html and the order that the reference of keys copies.
"""

from __future__ import annotations

import base64
from typing import Any

import pytest

from hsmapp import epochs
from kmsapp import demo, dispatch, key_specs, service_models
from kmsapp.errors import (
    AccessDeniedException,
    CustomKeyStoreInvalidStateException,
    CustomKeyStoreNotFoundException,
    DisabledException,
    InvalidGrantIdException,
    KmsError,
    NotFoundException,
    SerializationException,
    UnsupportedOperationException,
    ValidationException,
)
from kmsapp.models import CustomKeyStore, KmsKey
from kmsapp.models.key_stores import ConnectionState
from kmsapp.registry import OPERATIONS
from kmsapp.tests.grant_world import rows
from kmsapp.tests.people import ALICE, BOB, MALLORY, call
from kmsapp.wire import awsjson

__all__ = ["rows"]
pytestmark = pytest.mark.usefixtures("rows")

STORE = demo.KEY_STORE_ID
IN_STORE = {"Origin": "AWS_CLOUDHSM", "CustomKeyStoreId": STORE}
KEY, TO_BOB = {"KeyId": demo.KEY_ID}, {"GranteePrincipal": BOB.principal_arn}
GRANT_ID = "0" * 64
NEW_STORE = {
    "CustomKeyStoreName": "Another",
    "CloudHsmClusterId": "cluster-aaaaaaaaaaa",
    "TrustAnchorCertificate": "-----BEGIN CERTIFICATE-----",
    "KeyStorePassword": "kmsPswd1",
}
TO_A_SERVICE = {"GranteeServicePrincipal": "sns.amazonaws.com"}
A_TOPIC = {"SourceArn": f"arn:aws:sns:{demo.REGION}:{demo.ACCOUNT}:topic"}
BOTH_CONTEXTS = {"EncryptionContextEquals": {"a": "b"}, "EncryptionContextSubset": {"a": "b"}}


def without(params: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in params.items() if name not in names}


# Rules that members obey together, each of a form that the model allows: operation, parameters, error.
TOGETHER: dict[str, tuple[str, dict[str, Any], type[KmsError]]] = {
    "a store's origin without a store": ("CreateKey", {"Origin": "AWS_CLOUDHSM"}, ValidationException),
    "a store without its origin": ("CreateKey", {"CustomKeyStoreId": STORE}, ValidationException),
    "a store with another origin": ("CreateKey", {**IN_STORE, "Origin": "EXTERNAL"}, ValidationException),
    "two names of the spec": (
        "CreateKey",
        {**IN_STORE, "KeySpec": "SYMMETRIC_DEFAULT", "CustomerMasterKeySpec": "SYMMETRIC_DEFAULT"},
        ValidationException,
    ),
    "an external key's id in a CloudHSM store": ("CreateKey", {**IN_STORE, "XksKeyId": "x"}, ValidationException),
    "a spec without its usage": ("CreateKey", {**IN_STORE, "KeySpec": "RSA_2048"}, ValidationException),
    "a usage that the spec has not": (
        "CreateKey",
        {**IN_STORE, "KeySpec": "RSA_2048", "KeyUsage": "KEY_AGREEMENT"},
        ValidationException,
    ),
    "a spec that no store has": (
        "CreateKey",
        {**IN_STORE, "KeySpec": "RSA_2048", "KeyUsage": "SIGN_VERIFY"},
        UnsupportedOperationException,
    ),
    "a usage that no store has": ("CreateKey", {**IN_STORE, "KeyUsage": "SIGN_VERIFY"}, UnsupportedOperationException),
    "MultiRegion in a store": ("CreateKey", {**IN_STORE, "MultiRegion": True}, UnsupportedOperationException),
    "no length of a data key": ("GenerateDataKey", KEY, ValidationException),
    "two lengths of a data key": (
        "GenerateDataKey",
        {**KEY, "KeySpec": "AES_256", "NumberOfBytes": 32},
        ValidationException,
    ),
    "no length, without plaintext": ("GenerateDataKeyWithoutPlaintext", KEY, ValidationException),
    "no ciphertext": ("Decrypt", KEY, ValidationException),
    "a context past 8 KB": (
        "Encrypt",
        {**KEY, "Plaintext": b"x", "EncryptionContext": {"a": "x" * 8192}},
        ValidationException,
    ),
    "an alias of another form": ("CreateAlias", {"AliasName": "payments", "TargetKeyId": "x"}, ValidationException),
    "an alias of an alias": ("CreateAlias", {"AliasName": "alias/a", "TargetKeyId": "alias/b"}, ValidationException),
    "no grantee": ("CreateGrant", {**KEY, "Operations": ["Decrypt"]}, ValidationException),
    "two grantees": ("CreateGrant", {**KEY, **TO_BOB, **TO_A_SERVICE, "Operations": ["Decrypt"]}, ValidationException),
    "a service without a source": (
        "CreateGrant",
        {**KEY, **TO_A_SERVICE, "Operations": ["Decrypt"], "RetiringPrincipal": BOB.principal_arn},
        ValidationException,
    ),
    "a service that nobody retires": (
        "CreateGrant",
        {**KEY, **TO_A_SERVICE, "Operations": ["Decrypt"], "Constraints": A_TOPIC},
        ValidationException,
    ),
    "a grant of nothing": ("CreateGrant", {**KEY, **TO_BOB, "Operations": []}, ValidationException),
    "a grant of CreateGrant alone": (
        "CreateGrant",
        {**KEY, **TO_BOB, "Operations": ["CreateGrant"]},
        ValidationException,
    ),
    "two constraints of the context": (
        "CreateGrant",
        {**KEY, **TO_BOB, "Operations": ["Decrypt"], "Constraints": BOTH_CONTEXTS},
        ValidationException,
    ),
    "nothing to retire": ("RetireGrant", {}, ValidationException),
    "half of what to retire": ("RetireGrant", KEY, ValidationException),
    "two ways to say what to retire": (
        "RetireGrant",
        {**KEY, "GrantId": GRANT_ID, "GrantToken": "t"},
        ValidationException,
    ),
    "no grant's id": ("RevokeGrant", {**KEY, "GrantId": "x"}, InvalidGrantIdException),
    "no grant's id in a list": ("ListGrants", {**KEY, "GrantId": "x"}, InvalidGrantIdException),
    "nobody who retires": ("ListRetirableGrants", {}, ValidationException),
    "a store by id and by name": (
        "DescribeCustomKeyStores",
        {"CustomKeyStoreId": STORE, "CustomKeyStoreName": "ExampleKeyStore"},
        ValidationException,
    ),
    "a store without its cluster": (
        "CreateCustomKeyStore",
        without(NEW_STORE, "CloudHsmClusterId"),
        ValidationException,
    ),
    "a store without kmsuser's password": (
        "CreateCustomKeyStore",
        without(NEW_STORE, "KeyStorePassword"),
        ValidationException,
    ),
    "a store with another type's member": (
        "CreateCustomKeyStore",
        {**NEW_STORE, "XksProxyConnectivity": "PUBLIC_ENDPOINT"},
        ValidationException,
    ),
    "nothing to update": ("UpdateCustomKeyStore", {"CustomKeyStoreId": STORE}, ValidationException),
}


def refused(operation: str, caller: Any, params: dict[str, Any]) -> KmsError | None:
    """The error, or None. Nothing here may need an HSM."""
    try:
        call(operation, caller, **params)
    except KmsError as error:
        return error
    return None


def test_what_members_say_together_comes_before_the_right() -> None:
    """Who may do nothing is told the same as who may."""
    for name, (operation, params, expected) in TOGETHER.items():
        allowed, denied = (refused(operation, caller, params) for caller in (ALICE, MALLORY))
        assert isinstance(allowed, expected) and isinstance(denied, expected), (name, allowed, denied)
        assert allowed.message == denied.message and allowed.message, name
    print(f"{len(TOGETHER)} rules of members together, each before the right")


def test_the_form_comes_before_what_members_say_together() -> None:
    """The same requests, with a member that is too long for the model as well."""
    tried = 0
    for name, (operation, params, _) in TOGETHER.items():
        error = refused(operation, ALICE, {**params, **_too_long(operation, params)})
        assert isinstance(error, ValidationException), name
        assert "1 validation error detected: Value" in error.message, (name, error.message)
        tried += 1
    print(f"{tried} rules of members together, each after the form")


def _too_long(operation: str, params: dict[str, Any]) -> dict[str, Any]:
    """A member with more characters, or a larger value, than the model allows."""
    shape = service_models.service("kms").operation(operation).input
    for name, member in shape.parts.items():
        if member.kind == "string" and member.maximum and not member.enum and not member.pattern:
            return {name: "x" * (member.maximum + 1)}
        if member.kind == "integer" and member.maximum:
            return {name: member.maximum + 1}
    raise AssertionError(f"{operation} has no member with a greatest length alone")


def test_the_form_comes_before_the_right_for_every_operation() -> None:
    """And what can't be read comes before the form."""
    tried = 0
    for name in sorted(OPERATIONS):
        prefix, _, operation = name.partition(":")
        if prefix == "console":
            continue
        shape = service_models.service(prefix).operation(operation).input
        if not shape.required:
            continue
        answers = [_answer(name, caller) for caller in (ALICE, MALLORY)]
        assert all(isinstance(answer, ValidationException) for answer in answers), name
        assert answers[0].message == answers[1].message and "Member must not be null" in answers[0].message, name
        if prefix in ("kms", "cloudhsm"):
            wrong = ",".join(f'"{member}":[{{}}, 1]' for member in shape.required if not shape.parts[member].parts)
            if wrong:
                with pytest.raises(SerializationException):
                    awsjson.parse(f"{{{wrong}}}".encode(), shape)
        tried += 1
    print(f"{tried} operations refuse what is missing before they ask for a right")


def _answer(name: str, caller: Any) -> KmsError:
    with pytest.raises(KmsError) as raised:
        dispatch.call(caller, name, {})
    return raised.value


# The right before the state, and what is not there


def test_the_right_comes_before_the_state_of_a_key() -> None:
    KmsKey.objects.filter(key_id=demo.KEY_ID).update(key_state=KmsKey.State.DISABLED)
    epochs.raise_epoch(demo.ACCOUNT)
    calls: dict[str, dict[str, Any]] = {
        "Encrypt": {"Plaintext": b"x"},
        "GenerateDataKey": {"KeySpec": "AES_256"},
        "CreateGrant": {**TO_BOB, "Operations": ["Decrypt"]},
    }
    for operation, params in calls.items():
        assert isinstance(refused(operation, ALICE, {**KEY, **params}), DisabledException), operation
        assert isinstance(refused(operation, MALLORY, {**KEY, **params}), AccessDeniedException), operation


def test_the_right_comes_before_the_state_of_a_store_and_before_there_is_one() -> None:
    missing = {**IN_STORE, "CustomKeyStoreId": "cks-00000000000000000"}
    assert isinstance(refused("CreateKey", ALICE, missing), CustomKeyStoreNotFoundException)
    assert isinstance(refused("CreateKey", MALLORY, missing), AccessDeniedException)
    CustomKeyStore.objects.update(connection_state=ConnectionState.DISCONNECTED)
    assert isinstance(refused("CreateKey", ALICE, IN_STORE), CustomKeyStoreInvalidStateException)
    assert isinstance(refused("CreateKey", MALLORY, IN_STORE), AccessDeniedException)


def test_a_key_that_is_not_there_comes_before_the_right_in_ones_own_account() -> None:
    absent = {"KeyId": demo.KEY_ID.replace("1234abcd", "00000000")}
    for caller in (ALICE, MALLORY):
        assert isinstance(refused("DescribeKey", caller, absent), NotFoundException)


def test_a_grant_token_comes_after_the_form_and_before_the_key() -> None:
    params = {"KeyId": "x", "Plaintext": b"", "GrantTokens": [base64.b64encode(b"none").decode()]}
    error = refused("Encrypt", ALICE, params)
    assert isinstance(error, ValidationException)
    error = refused("Encrypt", ALICE, {**params, "Plaintext": b"x"})
    assert error is not None and error.code == "InvalidGrantTokenException"


def test_every_spec_of_the_model_has_its_usages() -> None:
    shape = service_models.service("kms").shape
    known = set(shape("KeyUsageType").enum)
    for spec in shape("KeySpec").enum:
        assert key_specs.usages(spec) and key_specs.usages(spec) <= known, spec
    assert set().union(*map(key_specs.usages, shape("KeySpec").enum)) == known
