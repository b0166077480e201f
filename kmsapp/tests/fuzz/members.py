"""The members of an operation's input, and right values for each."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any, NamedTuple

from kmsapp.tests.fuzz.java_patterns import matches
from kmsapp.tests.fuzz.published import Raw, Service

Step = str | int  # a member or key, a position in a list
Path = tuple[Step, ...]
MAP_KEY = "key"

# One of these fits each pattern of the models, repeated if it is too short.
_SAMPLES = (
    "a",
    "1",
    "/",
    "/a/",
    "v1",
    "aa",
    "AWS234",
    "111122223333",
    "alias/a",
    "us-west-2",
    "us-west-2a",
    "10.0.1.11",
    "hsm1.medium",
    "service.amazonaws.com",
    "cluster-abcdefghijk",
    "backup-abcdefghijk",
    "hsm-abcdefghijk",
    "subnet-a6b10bd1",
    "eni-ea8647e1",
    "https://xks.example.com",
    "http://example.com/",
    "/prefix/kms/xks/v1",
    "com.amazonaws.vpce.us-east-1.vpce-svc-example",
    "arn:aws:iam::111122223333:user/somebody",
    "arn:aws:cloudhsm:us-west-2:111122223333:cluster/cluster-abcdefghijk",
    "o-1234567890/r-1234",
    "p-12345678",
)


class Member(NamedTuple):
    """A member at any depth. A list stands for its first element, a map for its first entry."""

    path: Path
    shape: Raw
    is_required: bool


def members(service: Service, operation: str) -> Iterator[Member]:
    """All of them, outermost first."""
    yield from _below(service, service.input(operation), (), ())


def _below(service: Service, shape: Raw, path: Path, inside: tuple[str, ...]) -> Iterator[Member]:
    parts: list[tuple[Step, str, bool]] = []
    match shape["type"]:
        case "structure":
            required = shape.get("required", ())
            parts = [(name, member["shape"], name in required) for name, member in shape["members"].items()]
        case "list":
            parts = [(0, shape["member"]["shape"], False)]
        case "map":
            parts = [(MAP_KEY, shape["value"]["shape"], False)]
    for step, name, is_required in parts:
        if name not in inside:  # a shape may contain itself
            member = service.shape(name)
            yield Member((*path, step), member, is_required)
            yield from _below(service, member, (*path, step), (*inside, name))


def good(service: Service, shape: Raw) -> Any:
    """A right value, as small as can be."""
    match shape["type"]:
        case "structure":
            names = shape.get("required", ())
            if not names and service.protocol == "query":
                names = [next(iter(shape["members"]))]  # a form can't hold a structure of nothing
            return {name: good(service, service.shape(shape["members"][name]["shape"])) for name in names}
        case "list":
            return [good(service, service.shape(shape["member"]["shape"]))] * max(shape.get("min", 0), 1)
        case "map":
            return {MAP_KEY: good(service, service.shape(shape["value"]["shape"]))}
        case "string":
            return text(shape, max(shape.get("min", 0), 1))
        case "blob":
            return b"x" * max(shape.get("min", 0), 1)
        case "boolean":
            return False
        case "timestamp":
            return 1_700_000_000 if service.protocol == "json" else "2023-11-14T22:13:20Z"
    return max(shape.get("min", 1), 1)


def text(shape: Raw, length: int) -> str:
    """A string of the shape with at least that many characters, which fits the pattern if any of the samples does."""
    if "enum" in shape:
        return str(shape["enum"][0])
    fits = next(filter(None, (_fitting(shape.get("pattern", ".*"), sample, length) for sample in _SAMPLES)), "")
    return fits or text(shape, 1).ljust(length, "a")


def _fitting(pattern: str, sample: str, length: int) -> str:
    """The sample repeated, or with its last character repeated, if that is long enough and fits the pattern."""
    for candidate in (sample, sample * -(-length // len(sample)), sample.ljust(length, sample[-1])):
        if len(candidate) >= length and matches(pattern, candidate):
            return candidate
    assert length > 1 or sample is not _SAMPLES[-1], f"no sample fits {pattern}"
    return ""


def put(service: Service, operation: str, request: dict[str, Any], path: Path, value: Any) -> dict[str, Any]:
    """A copy of the request with the value in that place; what it lies in is made unless something fit is there."""
    whole = copy.deepcopy(request)
    shape: Raw = service.input(operation)
    holder: Any = whole
    for step in path[:-1]:
        shape = _inner(service, shape, step)
        holder = _held(holder, step, good(service, shape))
    if isinstance(holder, list):
        holder[0:1] = [value]
    else:
        holder[path[-1]] = value
    return whole


def _inner(service: Service, shape: Raw, step: Step) -> Raw:
    match shape["type"]:
        case "structure":
            return service.shape(shape["members"][step]["shape"])
        case "list":
            return service.shape(shape["member"]["shape"])
    return service.shape(shape["value"]["shape"])


def _held(holder: Any, step: Step, instead: Any) -> Any:
    """What stands there, if it is a list or an object as `instead` is; otherwise that, put there."""
    if isinstance(holder, list):
        if not holder or type(holder[0]) is not type(instead):
            holder[0:1] = [instead]
        return holder[0]
    if type(holder.get(step)) is not type(instead):
        holder[step] = instead
    return holder[step]


def without(request: dict[str, Any], path: Path) -> dict[str, Any]:
    """A copy of the request in which nothing stands in that place."""
    whole = copy.deepcopy(request)
    holder: Any = whole
    for step in path[:-1]:
        try:
            holder = holder[step]
        except (KeyError, IndexError, TypeError):
            return whole
    if isinstance(holder, list):
        del holder[0:1]
    elif isinstance(holder, dict):
        holder.pop(path[-1], None)
    return whole
