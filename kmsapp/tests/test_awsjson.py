"""awsJson both ways: hostile bodies, and botocore's own serializer and parser as the other side."""

from __future__ import annotations

import base64
import datetime
import json
import math
from pathlib import Path
from typing import Any

import botocore.model
import botocore.parsers
import botocore.serialize
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kmsapp import service_models, shapes
from kmsapp.errors import (
    InvalidCiphertextException,
    KMSInternalException,
    NotFoundException,
    SerializationException,
    UnknownOperationException,
    ValidationException,
)
from kmsapp.service_models import Shape
from kmsapp.wire import awsjson

BODIES = Path(__file__).resolve().parents[2].parent / "shared" / "data" / "payloads" / "JSONTestSuite" / "test_parsing"
KMS = service_models.service("kms")
ENCRYPT = KMS.operation("Encrypt")


def parse(body: bytes, operation: str = "Encrypt", service: str = "kms") -> dict[str, Any]:
    return awsjson.parse(body, service_models.service(service).operation(operation).input)


# Hostile bodies


@pytest.mark.skipif(not BODIES.is_dir(), reason="JSONTestSuite is not beside the repository")
def test_every_body_of_jsontestsuite_is_parsed_or_refused() -> None:
    parsed = refused = 0
    for path in sorted(BODIES.iterdir()):
        body = path.read_bytes()
        try:
            shapes.validate("kms", "CreateKey", parse(body, "CreateKey"))
            parsed += 1
        except SerializationException:
            refused += 1
            assert not (path.name.startswith("y_object") and "duplicated" not in path.name), path.name
        # No body at all is an empty input; whatever else isn't JSON must not pass.
        assert not path.name.startswith("n_") or not body or not _passes(body), path.name
    print(f"{parsed} parsed, {refused} refused, 0 other")
    assert parsed + refused == 318


def _passes(body: bytes) -> bool:
    try:
        parse(body, "CreateKey")
    except SerializationException:
        return False
    return True


@pytest.mark.skipif(not BODIES.is_dir(), reason="JSONTestSuite is not beside the repository")
def test_every_text_of_jsontestsuite_as_a_policy_is_parsed_or_refused() -> None:
    accepted = refused = 0
    for path in sorted(BODIES.iterdir()):
        body = json.dumps({"Policy": path.read_bytes().decode(errors="surrogateescape")}).encode()
        try:
            shapes.validate("kms", "CreateKey", parse(body, "CreateKey"))
            accepted += 1
        except (SerializationException, ValidationException):
            refused += 1
    print(f"{accepted} pass the shape, {refused} refused, 0 other")
    assert accepted + refused == 318


HOSTILE: dict[str, bytes] = {
    "100,000 brackets": b"[" * 100_000,
    "100,000 braces": b'{"a":' * 100_000,
    "a million brackets in an unknown member": b'{"x":' + b"[" * 500_000 + b"]" * 500_000 + b"}",
    "NaN": b'{"Unheard":NaN}',
    "Infinity": b'{"Unheard":-Infinity}',
    "past a double": b'{"Unheard":1e400}',
    "a number of a megabyte": b'{"Unheard":' + b"9" * 1_000_000 + b"}",
    "a key twice": b'{"KeyId":"a","KeyId":"b"}',
    "a context key twice": b'{"KeyId":"a","EncryptionContext":{"a":"1","a":"2"}}',
    "UTF-16": '{"KeyId":"a"}'.encode("utf-16"),
    "a byte order mark": b'\xef\xbb\xbf{"KeyId":"a"}',
    "half a character": b'{"KeyId":"\xc3"}',
    "an array": b"[]",
    "a string": b'"KeyId"',
    "null": b"null",
    "two documents": b"{}{}",
    "white space": b" ",
    "a number for a string": b'{"KeyId":5}',
    "a string for a map": b'{"EncryptionContext":"a"}',
    "a number in a map": b'{"EncryptionContext":{"a":1}}',
    "a string for a list": b'{"GrantTokens":"a"}',
    "a list in a list": b'{"GrantTokens":[[]]}',
    "a number for a boolean": b'{"DryRun":1}',
    "a list for a blob": b'{"Plaintext":[1]}',
    "base64 without padding": b'{"Plaintext":"YQ"}',
    "base64 with more padding": b'{"Plaintext":"YQ==="}',
    "base64 with data after padding": b'{"Plaintext":"YQ==YQ=="}',
    "base64 with a line break": b'{"Plaintext":"YW\\nJj"}',
    "base64 of the URL alphabet": b'{"Plaintext":"__-_"}',
    "a blob beyond ASCII": '{"Plaintext":"é==="}'.encode(),
}


@pytest.mark.parametrize("body", HOSTILE.values(), ids=HOSTILE)
def test_a_body_that_is_not_the_operations_input_is_refused(body: bytes) -> None:
    with pytest.raises(SerializationException):
        parse(body)


# (member, JSON value, what AWS says of it): recorded from services of the same protocol.
WRONG_TYPES = {
    "a number for a string": ("KeyId", "5", "NUMBER_VALUE can not be converted to a String"),
    "a fraction for a string": ("KeyId", "1.5", "NUMBER_VALUE can not be converted to a String"),
    "true for a string": ("KeyId", "true", "TRUE_VALUE can not be converted to a String"),
    "false for a string": ("KeyId", "false", "FALSE_VALUE can not be converted to a String"),
    "a list for a string": ("KeyId", '["a"]', "Start of list found where not expected"),
    "an object for a string": ("KeyId", '{"a":1}', "Start of structure or map found where not expected."),
    "a number for a boolean": ("DryRun", "0", "NUMBER_VALUE can not be converted to a Boolean"),
    "a string for a list": ("GrantTokens", '"a"', "Expected list or null"),
    "an object for a list": ("GrantTokens", "{}", "Start of structure or map found where not expected."),
    "a number in a list": ("GrantTokens", "[1]", "NUMBER_VALUE can not be converted to a String"),
    "a number for a map": ("EncryptionContext", "1", "Expected map or null"),
    "a list for a map": ("EncryptionContext", "[]", "Start of list found where not expected"),
    "a number in a map": ("EncryptionContext", '{"a":1}', "NUMBER_VALUE can not be converted to a String"),
    "no base64": ("Plaintext", '"secret!"', "STRING_VALUE can not be converted to a Blob"),
}


@pytest.mark.parametrize(("member", "value", "message"), WRONG_TYPES.values(), ids=WRONG_TYPES)
def test_a_wrong_type_is_said_in_the_words_of_aws(member: str, value: str, message: str) -> None:
    with pytest.raises(SerializationException) as raised:
        parse(f'{{"{member}":{value}}}'.encode())
    assert raised.value.message == message


def test_a_structure_and_a_number_have_words_of_their_own() -> None:
    for body, message in (
        (b'{"Constraints":"a"}', "Expected null"),
        (b'{"Constraints":[]}', "Start of list found where not expected"),
        (b"[]", "Start of list found where not expected"),
    ):
        with pytest.raises(SerializationException) as raised:
            parse(body, "CreateGrant")
        assert raised.value.message == message
    with pytest.raises(SerializationException) as raised:
        parse(b'{"NumberOfBytes":"5"}', "GenerateRandom")
    assert raised.value.message == "STRING_VALUE can not be converted to an Integer"


WRONG_NUMBERS = ("true", "1.5", "1.0", '"5"', "[]", "9" * 5000)


@pytest.mark.parametrize("number", WRONG_NUMBERS)
def test_a_number_must_be_whole(number: str) -> None:
    with pytest.raises(SerializationException):
        parse(b'{"NumberOfBytes":%s}' % number.encode(), "GenerateRandom")


def test_a_number_past_32_bits_is_past_its_range() -> None:
    """What the shape limits is refused by its limit, as AWS was recorded to do; what it does not, as no number."""
    for number in (2**31 - 1, 2**31, -(2**31) - 1, 10**1000):
        params = parse(b'{"NumberOfBytes":%d}' % number, "GenerateRandom")
        with pytest.raises(ValidationException, match="Member must have value"):
            shapes.validate("kms", "GenerateRandom", params)
    unlimited = Shape("Number", "integer", {}, (), None, None, None, (), False)
    holder = Shape("Holder", "structure", {"Number": unlimited}, (), None, None, None, (), False)
    assert awsjson.parse(b'{"Number":%d}' % (2**31 - 1), holder) == {"Number": 2**31 - 1}
    for number in (2**31, -(2**31) - 1):
        with pytest.raises(SerializationException):
            awsjson.parse(b'{"Number":%d}' % number, holder)


def test_times_are_epoch_seconds() -> None:
    body = b'{"KeyId":"a","ImportToken":"YQ==","EncryptedKeyMaterial":"YQ==","ValidTo":1499288695.918}'
    moment = datetime.datetime(2017, 7, 5, 21, 4, 55, 918000, tzinfo=datetime.UTC)
    assert parse(body, "ImportKeyMaterial")["ValidTo"] == moment
    for wrong in (b'"2017-07-05"', b"1e300", b"-1e300", b"true", b"9" * 300, b"{}"):
        with pytest.raises(SerializationException):
            parse(b'{"ValidTo":%s}' % wrong, "ImportKeyMaterial")


def test_null_members_are_absent_and_unknown_ones_left_out() -> None:
    assert parse(b'{"KeyId":null,"Unheard":{"of":[1]},"GrantTokens":[null]}') == {"GrantTokens": [None]}
    assert parse(b"") == {}


# botocore as the other side


def values(shape: Shape) -> st.SearchStrategy[Any]:
    """Values of a shape's type; patterns and lengths are not the protocol's matter."""
    if shape.kind == "structure":
        return st.fixed_dictionaries({}, optional={name: values(part) for name, part in shape.parts.items()})
    if shape.kind == "list":
        return st.lists(values(shape.parts["member"]), max_size=3)
    if shape.kind == "map":
        return st.dictionaries(values(shape.parts["key"]), values(shape.parts["value"]), max_size=3)
    return SCALARS[shape.kind]


SCALARS: dict[str, st.SearchStrategy[Any]] = {
    "string": st.text(st.characters(exclude_categories=["Cs"]), max_size=12),
    "blob": st.binary(max_size=40),
    "boolean": st.booleans(),
    "integer": st.integers(-(2**31), 2**31 - 1),
    "long": st.integers(-(2**63), 2**63 - 1),
    "timestamp": st.integers(0, 4_000_000_000).map(lambda s: datetime.datetime.fromtimestamp(s, datetime.UTC)),
}
OPERATIONS = [
    (prefix, name) for prefix in ("kms", "cloudhsm") for name in service_models.service(prefix).operation_names
]


def botocore_operation(service: str, name: str) -> Any:
    return botocore.model.ServiceModel(service_models.service(service).raw, service).operation_model(name)


@settings(max_examples=400, deadline=None, derandomize=True)
@given(operation=st.sampled_from(OPERATIONS), data=st.data())
def test_what_botocore_serializes_is_parsed_back(operation: tuple[str, str], data: st.DataObject) -> None:
    service, name = operation
    shape = service_models.service(service).operation(name).input
    params = data.draw(values(shape))
    serializer = botocore.serialize.create_serializer("json", include_validation=False)
    request = serializer.serialize_to_request(params, botocore_operation(service, name))
    assert awsjson.parse(request["body"], shape) == params
    prefix, _, sent_name = request["headers"]["X-Amz-Target"].partition(".")
    assert (service_models.TARGET_PREFIXES[prefix], sent_name) == operation


@settings(max_examples=400, deadline=None, derandomize=True)
@given(operation=st.sampled_from(OPERATIONS), data=st.data())
def test_what_we_serialize_is_parsed_by_botocore(operation: tuple[str, str], data: st.DataObject) -> None:
    service, name = operation
    shape = service_models.service(service).operation(name).output
    result = data.draw(values(shape)) if shape else None
    body = awsjson.serialize(result, shape)
    assert bool(body) == bool(shape)
    if shape:
        response = {"status_code": 200, "headers": {}, "body": body}
        parsed = botocore.parsers.create_parser("json").parse(response, botocore_operation(service, name).output_shape)
        del parsed["ResponseMetadata"]
        assert parsed == result


@settings(max_examples=300, deadline=None, derandomize=True)
@given(
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.integers() | st.text(),
        lambda inner: (
            st.lists(inner) | st.dictionaries(st.sampled_from(sorted(ENCRYPT.input.parts)) | st.text(), inner)
        ),
        max_leaves=20,
    )
)
def test_any_json_gives_parameters_or_an_aws_error(document: Any) -> None:
    body = json.dumps(document).encode()
    try:
        params = parse(body)
        shapes.validate("kms", "Encrypt", params)
    except (SerializationException, ValidationException):
        return
    assert params["KeyId"] and params["Plaintext"]


# Answers


def test_an_answer_spells_blobs_and_times_as_aws_does() -> None:
    body = awsjson.serialize({"CiphertextBlob": b"\x00\xff", "KeyId": "k", "EncryptionAlgorithm": None}, ENCRYPT.output)
    assert body == b'{"CiphertextBlob":"AP8=","KeyId":"k"}'
    moment = datetime.datetime(2017, 7, 5, 21, 4, 55, 918273, tzinfo=datetime.UTC)
    created = {"KeyMetadata": {"KeyId": "k", "CreationDate": moment}}
    body = awsjson.serialize(created, KMS.operation("CreateKey").output)
    assert body == b'{"KeyMetadata":{"KeyId":"k","CreationDate":1499288695.918}}'


def test_operations_without_an_output_answer_nothing_and_those_with_an_empty_one_an_object() -> None:
    assert awsjson.serialize(None, KMS.operation("CreateAlias").output) == b""
    assert awsjson.serialize(None, KMS.operation("ConnectCustomKeyStore").output) == b"{}"


def test_a_member_that_the_model_does_not_name_never_leaves() -> None:
    with pytest.raises(ValueError, match="has no member Secret"):
        awsjson.serialize({"Secret": "x"}, ENCRYPT.output)
    with pytest.raises(ValueError, match="not JSON compliant"):
        awsjson.serialize({"KeyId": math.nan}, ENCRYPT.output)


def test_errors_have_the_members_of_their_service() -> None:
    assert json.loads(awsjson.error_body("kms", NotFoundException("gone"))) == {
        "__type": "NotFoundException",
        "message": "gone",
    }
    assert json.loads(awsjson.error_body("cloudhsm", ValidationException("bad"))) == {
        "__type": "ValidationException",
        "Message": "bad",
    }
    assert json.loads(awsjson.error_body("kms", InvalidCiphertextException())) == {
        "__type": "InvalidCiphertextException"
    }
    unknown = json.loads(awsjson.error_body("", UnknownOperationException()))
    assert unknown == {"__type": "com.amazon.coral.service#UnknownOperationException"}
    internal = json.loads(awsjson.error_body("cloudhsm", KMSInternalException("x")))
    assert internal["__type"] in service_models.service("cloudhsm").error_names()


def test_blobs_round_trip_at_their_largest() -> None:
    plaintext = bytes(range(256)) * 16
    body = json.dumps({"KeyId": "k", "Plaintext": base64.b64encode(plaintext).decode()}).encode()
    assert parse(body)["Plaintext"] == plaintext
