"""The query protocol's forms: lists, structures and numbers as AWS's clients spell them, and as nobody does."""

from __future__ import annotations

import xml.etree.ElementTree
from typing import Any
from urllib.parse import urlencode

import botocore.model
import botocore.serialize
import pytest

from kmsapp import service_models
from kmsapp.errors import SerializationException, ValidationException
from kmsapp.shapes import validate
from kmsapp.wire import query

IAM = service_models.service("iam")


def parse(operation: str, **fields: str) -> dict[str, Any]:
    body = urlencode({name.replace("__", "."): value for name, value in fields.items()}).encode()
    return query.parse(query.parse_form(body), IAM.operation(operation).input)


def test_what_botocore_sends_is_what_was_meant() -> None:
    model = botocore.model.ServiceModel(IAM.raw, "iam")
    serializer = botocore.serialize.create_serializer("query", include_validation=False)
    tags = [{"Key": "a", "Value": ""}, {"Key": "b", "Value": "c"}]
    cases: tuple[tuple[str, dict[str, Any]], ...] = (
        ("TagUser", {"UserName": "bob", "Tags": tags}),
        ("TagUser", {"UserName": "bob", "Tags": []}),
        ("UntagUser", {"UserName": "bob", "TagKeys": []}),
        ("UntagUser", {"UserName": "bob", "TagKeys": [str(number) for number in range(12)]}),
        ("CreateLoginProfile", {"UserName": "bob", "Password": "p", "PasswordResetRequired": False}),
        ("ListUsers", {"MaxItems": 5}),
    )
    for operation, params in cases:
        sent = serializer.serialize_to_request(params, model.operation_model(operation))["body"]
        fields = query.parse_form(urlencode(sent).encode())
        assert query.parse(fields, IAM.operation(operation).input) == params


WRONG: dict[str, tuple[str, dict[str, str]]] = {
    "a text for a list": ("TagUser", {"Tags": "a"}),
    "a text for a structure": ("TagUser", {"Tags__member__1": "a"}),
    "a position left out": ("UntagUser", {"TagKeys__member__1": "a", "TagKeys__member__3": "b"}),
    "a position that is none": ("UntagUser", {"TagKeys__member__x": "a"}),
    "a position before the first": ("UntagUser", {"TagKeys__member__0": "a", "TagKeys__member__1": "b"}),
    "a position spelt twice": ("UntagUser", {"TagKeys__member__1": "a", "TagKeys__member__01": "b"}),
    "elements under another word": ("UntagUser", {"TagKeys__1": "a"}),
    "a number with a fraction": ("ListUsers", {"MaxItems": "1.5"}),
    "a number with a sign": ("ListUsers", {"MaxItems": "+5"}),
    "digits of another script": ("ListUsers", {"MaxItems": "\u0665"}),
    "a number of 40 digits": ("ListUsers", {"MaxItems": "9" * 40}),
    "no boolean": ("CreateLoginProfile", {"PasswordResetRequired": "yes"}),
}


@pytest.mark.parametrize(("operation", "fields"), WRONG.values(), ids=WRONG)
def test_nothing_that_was_sent_is_passed_over(operation: str, fields: dict[str, str]) -> None:
    with pytest.raises(SerializationException):
        parse(operation, **fields)


def test_a_number_past_32_bits_is_past_its_range() -> None:
    with pytest.raises(ValidationException, match="less than or equal to 1000"):
        validate("iam", "ListUsers", parse("ListUsers", MaxItems="4294967296"))


def test_a_structure_of_unknown_members_is_there() -> None:
    assert parse("TagUser", UserName="bob", Tags__member__1__Unheard="of") == {"UserName": "bob", "Tags": [{}]}


def test_line_ends_of_an_answer_reach_its_reader() -> None:
    description = "a\r\nb\rc\nd\te"
    answer = {"Role": {"Description": description}}
    text = query.serialize(answer, IAM.operation("GetRole"), namespace="urn:x", request_id="1")
    found = xml.etree.ElementTree.fromstring(text).find(".//{urn:x}Description")  # noqa: S314  our own
    assert found is not None and found.text == description
