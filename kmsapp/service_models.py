"""AWS's published service models, as botocore ships them: operations, shapes and error names.

A service is named by its IAM prefix (kms, cloudhsm, sts, iam), as in `kms:Encrypt`. A model is read from disk when it
is first asked for and then kept, so a start pays for none of them. Nothing here may change a model: what AWS published
is what is validated, listed and answered.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from botocore.loaders import Loader

# IAM prefix -> botocore's folder. CloudHSM's prefix differs from its client's name.
MODEL_NAMES = {"kms": "kms", "cloudhsm": "cloudhsmv2", "sts": "sts", "iam": "iam"}

# X-Amz-Target prefix -> IAM prefix, so that a target is told apart without loading a model (reference: the models' own
# metadata.targetPrefix, which a test compares).
TARGET_PREFIXES = {"TrentService": "kms", "BaldrApiService": "cloudhsm"}

# Version of the query protocol -> IAM prefix (the models' own metadata.apiVersion, which a test compares).
QUERY_VERSIONS = {"2011-06-15": "sts", "2010-05-08": "iam"}


@dataclass(frozen=True, eq=False)
class Shape:
    """One shape of a model.

    `parts` are a structure's members by name, a list's one part "member", or a map's "key" and "value".
    `minimum` and `maximum` are a length (characters, bytes, elements) or, for numbers, a value.
    """

    name: str
    kind: str  # structure, list, map, string, blob, integer, long, float, double, boolean, timestamp
    parts: Mapping[str, Shape]
    required: tuple[str, ...]
    minimum: int | None
    maximum: int | None
    pattern: str | None
    enum: tuple[str, ...]
    sensitive: bool


@dataclass(frozen=True, eq=False)
class Operation:
    """One operation. `input` is an empty structure where the model has none; `output` None where nothing comes back."""

    name: str
    input: Shape
    output: Shape | None
    result_wrapper: str | None  # the query protocol's element around the output
    errors: tuple[str, ...]


@dataclass(eq=False)
class ServiceModel:
    """One service of AWS's, with its shapes resolved as they are asked for."""

    prefix: str  # IAM prefix, which is also the signing name
    raw: Mapping[str, Any] = field(repr=False)
    _shapes: dict[str, Shape] = field(default_factory=dict, repr=False)
    _operations: dict[str, Operation] = field(default_factory=dict, repr=False)

    @property
    def metadata(self) -> Mapping[str, Any]:
        metadata: Mapping[str, Any] = self.raw["metadata"]
        return metadata

    @property
    def operation_names(self) -> tuple[str, ...]:
        return tuple(self.raw["operations"])

    def __contains__(self, operation: str) -> bool:
        return operation in self.raw["operations"]

    def operation(self, name: str) -> Operation:
        """The operation called `name`, exactly as AWS spells it. Raises KeyError if the service has none."""
        known = self._operations.get(name)
        if known is None:
            known = self._operations[name] = self._read_operation(name, self.raw["operations"][name])
        return known

    def shape(self, name: str) -> Shape:
        """The shape called `name`. Raises KeyError if the model has none of that name."""
        known = self._shapes.get(name)
        return known if known is not None else self._read_shape(name, self.raw["shapes"][name])

    def error_names(self) -> tuple[str, ...]:
        return tuple(name for name, shape in self.raw["shapes"].items() if shape.get("exception"))

    def _read_operation(self, name: str, raw: Mapping[str, Any]) -> Operation:
        output = raw.get("output")
        return Operation(
            name=name,
            input=self.shape(raw["input"]["shape"]) if "input" in raw else NO_MEMBERS,
            output=self.shape(output["shape"]) if output else None,
            result_wrapper=output.get("resultWrapper") if output else None,
            errors=tuple(error["shape"] for error in raw.get("errors", ())),
        )

    def _read_shape(self, name: str, raw: Mapping[str, Any]) -> Shape:
        parts: dict[str, Shape] = {}
        shape = Shape(
            name=name,
            kind=raw["type"],
            parts=parts,
            required=tuple(raw.get("required", ())),
            minimum=raw.get("min"),
            maximum=raw.get("max"),
            pattern=raw.get("pattern"),
            enum=tuple(raw.get("enum", ())),
            sensitive=bool(raw.get("sensitive")),
        )
        # Known before its parts are read, because a shape may contain itself.
        self._shapes[name] = shape
        references = dict(raw.get("members", {}))
        references |= {part: raw[part] for part in ("member", "key", "value") if part in raw}
        parts.update((part, self.shape(reference["shape"])) for part, reference in references.items())
        return shape


NO_MEMBERS = Shape("NoMembers", "structure", {}, (), None, None, None, (), False)


@functools.cache
def region_names() -> frozenset[str]:
    """The names of AWS's Regions (in the partition aws, the only one here), as botocore ships them."""
    partitions = Loader().load_data("partitions")["partitions"]
    return frozenset(name for one in partitions if one["id"] == "aws" for name in one["regions"])


@functools.cache
def service(prefix: str) -> ServiceModel:
    """The service with this IAM prefix, read from disk at the first call. Raises KeyError for an unknown prefix."""
    return ServiceModel(prefix, Loader().load_service_model(MODEL_NAMES[prefix], "service-2"))
