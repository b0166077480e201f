"""The service models that AWS publishes, as botocore ships them: raw JSON, read here and not by the product."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from botocore.loaders import Loader

Raw = Mapping[str, Any]

# IAM prefix -> botocore's folder, protocol of the wire.
SERVICES = {
    "kms": ("kms", "json"),
    "cloudhsm": ("cloudhsmv2", "json"),
    "sts": ("sts", "query"),
    "iam": ("iam", "query"),
}
NOTHING: Raw = {"type": "structure", "members": {}}

# What every operation may answer besides what its model lists, by the pages of common errors.
# https://docs.aws.amazon.com/kms/latest/APIReference/CommonErrors.html
# https://docs.aws.amazon.com/IAM/latest/APIReference/CommonErrors.html
COMMON = {
    "json": {
        "AccessDeniedException",
        "RequestEntityTooLargeException",
        "SerializationException",
        "ThrottlingException",
        "ValidationException",
    },
    "query": {
        "AccessDenied",
        "InvalidParameterValue",
        "MalformedInput",
        "RequestEntityTooLargeException",
        "Throttling",
        "ValidationError",
    },
}
# (operation, code) -> why it is answered although the model doesn't list it.
UNLISTED = {
    ("DescribeKey", "InvalidGrantTokenException"): "it takes grant tokens as the others do",
    ("ListKeyPolicies", "InvalidMarkerException"): "as all other lists of KMS",
    ("GetAccessKeyLastUsed", "NoSuchEntity"): "its page lists no error at all",
    ("GetAccessKeyInfo", "ValidationError"): "as above",
}
NOT_BUILT = "not built in this version of Casemate."


@dataclass(frozen=True)
class Service:
    """One service. Shapes are the model's own dictionaries."""

    prefix: str
    protocol: str  # json or query
    raw: Raw

    def operation(self, name: str) -> Raw:
        operation: Raw = self.raw["operations"][name]
        return operation

    def input(self, operation: str) -> Raw:
        reference = self.operation(operation).get("input")
        return self.shape(reference["shape"]) if reference else NOTHING

    def shape(self, name: str) -> Raw:
        shape: Raw = self.raw["shapes"][name]
        return shape

    def errors(self, operation: str) -> set[str]:
        """The codes that the model lists for the operation, as they stand on the wire."""
        shapes = {error["shape"]: self.shape(error["shape"]) for error in self.operation(operation).get("errors", ())}
        return {shape.get("error", {}).get("code", name) for name, shape in shapes.items()}

    def may_answer(self, operation: str, code: str, message: str) -> bool:
        """Whether the operation may refuse a well-formed request with that."""
        known = self.errors(operation) | COMMON[self.protocol]
        is_not_built = code == "UnsupportedOperationException" and message.endswith(NOT_BUILT)
        return code in known or (operation, code) in UNLISTED or is_not_built


@functools.cache
def service(prefix: str) -> Service:
    folder, protocol = SERVICES[prefix]
    return Service(prefix, protocol, Loader().load_service_model(folder, "service-2"))
