"""What AWS has published of an operation, as botocore has it: its errors, and the constraints of its members."""

from __future__ import annotations

from collections.abc import Iterator

import botocore

from kmsapp.tests.fuzz.members import members
from kmsapp.tests.fuzz.published import SERVICES, Raw, Service, service

TITLES = {"kms": "AWS KMS", "cloudhsm": "AWS CloudHSM v2", "sts": "AWS STS", "iam": "AWS IAM"}
VERSION = botocore.__version__
assert list(TITLES) == list(SERVICES)

# Trait of a shape, how a broken one is said.
_OF_LENGTH = (("min", "length greater than or equal to"), ("max", "length less than or equal to"))
_OF_VALUE = (("min", "value greater than or equal to"), ("max", "value less than or equal to"))
NOT_NULL = "not be null"
PATTERN, ENUM = "satisfy regular expression pattern", "satisfy enum value set"


def operations(prefix: str) -> list[str]:
    return sorted(service(prefix).raw["operations"])


def errors(prefix: str, operation: str) -> list[str]:
    """Names of the errors that the model lists."""
    return sorted(error["shape"] for error in service(prefix).operation(operation).get("errors", ()))


def constraints(prefix: str, operation: str) -> list[str]:
    """What can be broken: "tags.member.tagKey: length less than or equal to 128".

    A member stands under its name in AWS's sentences, an element of a list under `member`.
    """
    model = service(prefix)
    found = []
    for member in members(model, operation):
        names = ["member" if isinstance(step, int) else step for step in member.path]
        path = ".".join(name[:1].lower() + name[1:] for name in names)
        if member.is_required:
            found.append(f"{path}: {NOT_NULL}")
        found += [f"{path}: {constraint}" for constraint in _of_shape(member.shape)]
    return [*found, *_of_keys(model, operation)]


def _of_shape(shape: Raw) -> Iterator[str]:
    traits = _OF_VALUE if shape["type"] in ("integer", "long") else _OF_LENGTH
    # A length of 0 can't be fallen short of.
    yield from (
        f"{words} {shape[trait]}" for trait, words in traits if shape.get(trait) or shape["type"] in ("integer",)
    )
    if "pattern" in shape:
        yield PATTERN
    if "enum" in shape:
        yield ENUM


def _of_keys(model: Service, operation: str) -> Iterator[str]:
    for member in members(model, operation):
        if member.shape["type"] == "map" and "pattern" in model.shape(member.shape["key"]["shape"]):
            yield f"{member.path[0]}: keys {PATTERN}"
