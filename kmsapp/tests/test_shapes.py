"""The sentences for broken constraints, and a walk over every operation of the four services."""

from __future__ import annotations

import sys
import unicodedata
from collections.abc import Iterator
from typing import Any

import pytest

from kmsapp import service_models, shapes
from kmsapp.errors import ValidationException
from kmsapp.service_models import Operation, ServiceModel, Shape

GOOD_ENCRYPT = {"KeyId": "alias/example", "Plaintext": b"hello", "EncryptionContext": {"purpose": "test"}}

# (service, operation, parameters, the whole message). Forms: the wire reference, section 3.
SENTENCES: dict[str, tuple[str, str, dict[str, Any], str]] = {
    "a number too small": (
        "kms",
        "GenerateRandom",
        {"NumberOfBytes": 0},
        "1 validation error detected: Value '0' at 'numberOfBytes' failed to satisfy constraint:"
        " Member must have value greater than or equal to 1",
    ),
    "a number too large": (
        "kms",
        "GenerateRandom",
        {"NumberOfBytes": 1025},
        "1 validation error detected: Value '1025' at 'numberOfBytes' failed to satisfy constraint:"
        " Member must have value less than or equal to 1024",
    ),
    "an empty key id": (
        "kms",
        "DescribeKey",
        {"KeyId": ""},
        "1 validation error detected: Value '' at 'keyId' failed to satisfy constraint:"
        " Member must have length greater than or equal to 1",
    ),
    "a missing key id": (
        "kms",
        "DescribeKey",
        {},
        "1 validation error detected: Value null at 'keyId' failed to satisfy constraint: Member must not be null",
    ),
    "null for a required member": (
        "kms",
        "DescribeKey",
        {"KeyId": None},
        "1 validation error detected: Value null at 'keyId' failed to satisfy constraint: Member must not be null",
    ),
    "two errors": (
        "kms",
        "Encrypt",
        {"Plaintext": b""},
        "2 validation errors detected: Value null at 'keyId' failed to satisfy constraint: Member must not be null;"
        " Value at 'plaintext' failed to satisfy constraint: Member must have length greater than or equal to 1",
    ),
    "a blob too long": (
        "kms",
        "Encrypt",
        GOOD_ENCRYPT | {"Plaintext": b"x" * 4097},
        "1 validation error detected: Value at 'plaintext' failed to satisfy constraint:"
        " Member must have length less than or equal to 4096",
    ),
    "a pattern": (
        "kms",
        "CreateAlias",
        {"AliasName": "alias/with space", "TargetKeyId": "x"},
        "1 validation error detected: Value 'alias/with space' at 'aliasName' failed to satisfy constraint:"
        " Member must satisfy regular expression pattern: ^[a-zA-Z0-9:/_-]+$",
    ),
    "an enum": (
        "kms",
        "Encrypt",
        GOOD_ENCRYPT | {"EncryptionAlgorithm": "ROT13"},
        "1 validation error detected: Value 'ROT13' at 'encryptionAlgorithm' failed to satisfy constraint: Member must"
        " satisfy enum value set: [SYMMETRIC_DEFAULT, RSAES_OAEP_SHA_1, RSAES_OAEP_SHA_256, SM2PKE]",
    ),
    "inside a list": (
        "kms",
        "CreateKey",
        {"Tags": [{"TagKey": "a", "TagValue": "b"}, {"TagKey": "c" * 129, "TagValue": "d"}]},
        f"1 validation error detected: Value '{'c' * 129}' at 'tags.2.member.tagKey' failed to satisfy constraint:"
        " Member must have length less than or equal to 128",
    ),
    "null inside a list": (
        "kms",
        "CreateKey",
        {"Tags": [None]},
        "1 validation error detected: Value null at 'tags.1.member' failed to satisfy constraint:"
        " Member must not be null",
    ),
    "null inside a map": (
        "kms",
        "Encrypt",
        GOOD_ENCRYPT | {"EncryptionContext": {"purpose": None}},
        "1 validation error detected: Value null at 'encryptionContext.purpose.member' failed to satisfy constraint:"
        " Member must not be null",
    ),
    "a list too long": (
        "kms",
        "Encrypt",
        GOOD_ENCRYPT | {"GrantTokens": ["t"] * 11},
        f"1 validation error detected: Value '[{', '.join('t' * 11)}]' at 'grantTokens' failed to satisfy constraint:"
        " Member must have length less than or equal to 10",
    ),
    "a sensitive string": (
        "kms",
        "UpdateCustomKeyStore",
        {"CustomKeyStoreId": "cks-1", "KeyStorePassword": "short"},
        "1 validation error detected: Value at 'keyStorePassword' failed to satisfy constraint:"
        " Member must have length greater than or equal to 7",
    ),
    "NUL": (
        "kms",
        "DescribeKey",
        {"KeyId": "a\0b"},
        "1 validation error detected: Value at 'keyId' failed to satisfy constraint:"
        " Member must not contain a NUL character",
    ),
    "a lone surrogate": (
        "kms",
        "Encrypt",
        GOOD_ENCRYPT | {"EncryptionContext": {"purpose": "\ud800"}},
        "1 validation error detected: Value at 'encryptionContext.purpose.member' failed to satisfy constraint:"
        " Member must be valid Unicode",
    ),
    "a lone surrogate in a map's key": (
        "kms",
        "Encrypt",
        GOOD_ENCRYPT | {"EncryptionContext": {"\udc00": "test"}},
        "1 validation error detected: Value at 'encryptionContext' failed to satisfy constraint:"
        " Map keys must satisfy constraint: [Member must be valid Unicode]",
    ),
    "CloudHSM": (
        "cloudhsm",
        "DescribeClusters",
        {"MaxResults": 26},
        "1 validation error detected: Value '26' at 'maxResults' failed to satisfy constraint:"
        " Member must have value less than or equal to 25",
    ),
}


@pytest.mark.parametrize(("service", "operation", "params", "message"), SENTENCES.values(), ids=SENTENCES)
def test_a_broken_constraint_is_said_in_the_words_of_aws(
    service: str, operation: str, params: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValidationException) as raised:
        shapes.validate(service, operation, params)
    assert raised.value.message == message


def test_good_parameters_and_unknown_members_pass() -> None:
    shapes.validate("kms", "Encrypt", GOOD_ENCRYPT | {"Unheard": "of"})
    shapes.validate(
        "kms", "Encrypt", GOOD_ENCRYPT | {"EncryptionContext": {"\U0001f511": "naïve"}, "GrantTokens": None}
    )
    shapes.validate("kms", "ListKeys", {"Limit": 1000})
    shapes.validate("kms", "TagResource", {"KeyId": "x", "Tags": [{"TagKey": "k" * 128, "TagValue": ""}]})
    shapes.validate("sts", "GetCallerIdentity", {})


def test_a_long_value_and_a_flood_of_errors_are_cut_short() -> None:
    with pytest.raises(ValidationException) as raised:
        shapes.validate("kms", "CreateKey", {"Description": "x" * 1_000_000})
    assert len(raised.value.message) < 1_300
    with pytest.raises(ValidationException) as raised:
        shapes.validate("kms", "CreateKey", {"Tags": [{}] * 300_000})
    assert len(raised.value.message) < 20_000


def test_a_wrong_python_type_is_our_bug_and_not_the_callers() -> None:
    for wrong in ({"KeyId": 5}, {"KeyId": "x", "Plaintext": "text"}, {"EncryptionContext": [1]}, {"GrantTokens": "t"}):
        with pytest.raises(TypeError):
            shapes.validate("kms", "Encrypt", {**GOOD_ENCRYPT, **wrong})


def test_the_sample_ids_of_the_scope_document_are_accepted_by_name() -> None:
    assert list(shapes.SAMPLE_IDS) == ["cluster-1a23b4cdefg", "vpc-1a2b3c4d"]
    tags = [{"Key": "k", "Value": "v"}]
    shapes.validate("cloudhsm", "TagResource", {"ResourceId": "cluster-1a23b4cdefg", "TagList": tags})
    shapes.validate("kms", "DescribeCustomKeyStores", {"CustomKeyStoreId": "cks-1234567890abcdef0"})
    shapes.validate("cloudhsm", "DeleteHsm", {"ClusterId": "cluster-1a23b4cdefg", "HsmId": "hsm-abcdefghijk"})
    arn = "arn:aws:cloudhsm:us-west-2:111122223333:cluster/cluster-1a23b4cdefg"
    assert shapes._compile(service_models.service("cloudhsm").shape("CloudHsmArn"))(arn) is None
    for other in ("cluster-1a23b4cdefh", "cluster-1a23b4cdefgg", "xcluster-1a23b4cdefg"):
        with pytest.raises(ValidationException):
            shapes.validate("cloudhsm", "TagResource", {"ResourceId": other, "TagList": tags})


def test_a_pattern_must_match_the_whole_value_in_javas_dialect() -> None:
    for name in ("default\n", "größe", "a b"):
        with pytest.raises(ValidationException):
            shapes.validate("kms", "GetKeyPolicy", {"KeyId": "x", "PolicyName": name})
    shapes.validate(
        "cloudhsm", "TagResource", {"ResourceId": "cluster-abcdefghijk", "TagList": [{"Key": "größe", "Value": "5 µ"}]}
    )


def test_letters_and_numbers_are_those_of_unicode() -> None:
    # The models' class \p{L}\p{Z}\p{N} is translated; Python's own category table says what it must hold.
    matches = shapes._matcher(r"[\p{L}\p{Z}\p{N}_]")
    wrong = [
        f"U+{point:04X}"
        for point in range(sys.maxunicode + 1)
        if not 0xD800 <= point <= 0xDFFF
        and bool(matches(chr(point))) != (unicodedata.category(chr(point))[0] in "LZN" or point == 0x5F)
    ]
    assert not wrong, wrong[:20]


# Walks over the models


def operations() -> Iterator[tuple[ServiceModel, Operation]]:
    for prefix in service_models.MODEL_NAMES:
        model = service_models.service(prefix)
        for name in model.operation_names:
            yield model, model.operation(name)


def test_every_operation_of_every_service_can_be_validated() -> None:
    counted = 0
    for model, operation in operations():
        missing = [shapes.lower_camel(name) for name in operation.input.required]
        if not missing:
            shapes.validate(model.prefix, operation.name, {})
        else:
            with pytest.raises(ValidationException) as raised:
                shapes.validate(model.prefix, operation.name, {})
            for path in missing:
                assert f"Value null at '{path}' failed" in raised.value.message
        counted += 1
    print(f"{counted} operations")
    assert counted > 250


def breaches(shape: Shape) -> Iterator[tuple[Any, str]]:
    """Values that break one constraint of `shape`, each with how its sentence begins."""
    unit: Any = {"string": "\u20ac", "blob": b"x", "list": [None]}.get(shape.kind)
    if shape.kind in ("integer", "long"):
        if shape.minimum is not None:
            yield shape.minimum - 1, "Member must have value greater"
        if shape.maximum is not None:
            yield shape.maximum + 1, "Member must have value less"
    elif unit is not None:
        if shape.minimum:
            yield unit * (shape.minimum - 1), "Member must have length greater"
        if shape.maximum is not None:
            yield unit * (shape.maximum + 1), "Member must have length less"
    if shape.enum:
        yield "no such value", "Member must satisfy enum value set"
    if shape.kind == "string":
        yield "\0", "Member must not contain a NUL"
        yield "\ud800", "Member must be valid Unicode"


def test_every_constraint_of_every_member_is_checked() -> None:
    counted = 0
    for model, operation in operations():
        for name, member in operation.input.parts.items():
            for value, beginning in breaches(member):
                with pytest.raises(ValidationException) as raised:
                    shapes.validate(model.prefix, operation.name, {name: value})
                sentences = raised.value.message.split("; ")
                path = f"at '{shapes.lower_camel(name)}"
                assert any(path in said and f": {beginning}" in said for said in sentences), (operation.name, name)
                counted += 1
    print(f"{counted} constraints")
    assert counted > 2000


def test_the_tables_of_prefixes_are_those_of_the_models() -> None:
    targets = {prefix: service_models.service(prefix).metadata.get("targetPrefix") for prefix in ("kms", "cloudhsm")}
    assert {target: prefix for prefix, target in targets.items()} == service_models.TARGET_PREFIXES
    versions = {prefix: service_models.service(prefix).metadata["apiVersion"] for prefix in ("sts", "iam")}
    assert {version: prefix for prefix, version in versions.items()} == service_models.QUERY_VERSIONS
    for prefix in service_models.MODEL_NAMES:
        metadata = service_models.service(prefix).metadata
        assert metadata.get("signingName", metadata["endpointPrefix"]) == prefix
