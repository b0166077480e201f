"""Ways to make one member of a request wrong, or right at the edge of being wrong."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from typing import Any, NamedTuple

from kmsapp.tests.fuzz.members import Member, Path, good, members, put, text, without
from kmsapp.tests.fuzz.published import Service

# Longer values make a body that is refused as a whole. Long ones cost more than all others together.
LONGEST, _LONG = 150_000, 20_000
# A form has as many fields as a list has elements, or twice as many.
_MOST_ELEMENTS = 300

# Composed and decomposed, look-alikes, beyond the basic plane, joined, written from right to left, invisible.
UNICODE = {
    "composed": "caf\u00e9",
    "decomposed": "cafe\u0301",
    "look-alike": "\u0430lias/\u0440ayments",  # Cyrillic
    "full width": "\uff41\uff4c\uff49\uff41\uff53",
    "emoji": "\U0001f511",
    "family": "\U0001f469\u200d\U0001f469\u200d\U0001f467",
    "right to left": "\u202egpj.exe",
    "zero width": "a\u200bb",
    "byte order mark": "\ufeffa",
    "no character": "\ufffe\uffff",
    "Turkish": "I\u0307\u0131",
    "ligature": "\ufb01",
    "combining": "Z" + "\u0300" * 40,
    "separators": "a\u2028b\u2029c\u0085d",
    "control": "a\x01\x1b[31m\x7f",
    "spaces": " \t \u00a0 ",
    "line ends": "a\r\nb\n",
}
assert unicodedata.normalize("NFC", UNICODE["decomposed"]) == UNICODE["composed"]
_HOSTILE = ("' OR 1=1 --", "%s%n", "../../etc/passwd", "<script>", "{{7*7}}", "${jndi:x}", "*", "None", "\\", '"')
_WRONG_PATTERN = ("\u20ac", " ", "a b", "\t", "\u00e9", "!", "a\n", "\x7f", "")
# For each type of the model, JSON values of every other kind.
_SCALARS: tuple[Any, ...] = ("text", "", "1", 5, -1, 1.5, 1e300, True, False)
_KINDS = {"string": str, "list": list, "map": dict, "structure": dict}
_QUERY_WRONG = {
    "integer": ("text", "", "1.5", "1e3", "+5", " 5", "0x10", "9" * 40, "\u0665", "true"),
    "long": ("text", "1.5"),
    "boolean": ("text", "", "1", "yes"),
    "timestamp": ("text", "1700000000", "2023-13-01T00:00:00Z"),
    "blob": ("not base64!",),
    "list": ("text",),
    "map": ("text",),
    "structure": ("text",),
}


class Mutation(NamedTuple):
    """What stands in `path` instead of what the request had; NOTHING takes it away."""

    kind: str
    path: Path
    value: Any


class _Nothing:
    """What a missing member has."""

    def __repr__(self) -> str:
        return "NOTHING"


NOTHING = _Nothing()


def apply(service: Service, operation: str, request: dict[str, Any], mutation: Mutation) -> dict[str, Any]:
    if mutation.value is NOTHING:
        return without(request, mutation.path)
    return put(service, operation, request, mutation.path, mutation.value)


def of_operation(service: Service, operation: str) -> Iterator[Mutation]:
    """All of them for all members."""
    yield Mutation("extra", ("Casemate",), {"TagKey": [1, None]})
    for member in members(service, operation):
        yield from of_member(service, member)


def of_member(service: Service, member: Member) -> Iterator[Mutation]:
    path, shape = member.path, member.shape
    yield Mutation("missing", path, NOTHING)
    if service.protocol == "json":
        yield Mutation("null", path, None)
    yield from (Mutation("wrong type", path, value) for value in _wrong_types(service.protocol, shape["type"]))
    match shape["type"]:
        case "structure":
            yield Mutation("extra", (*path, "Casemate"), "x")
            if service.protocol == "json":
                yield Mutation("empty", path, {})
        case "list" | "map":
            yield from (Mutation(kind, path, value) for kind, value in _sizes(service, shape))
        case "string":
            yield from (Mutation(kind, path, value) for kind, value in _texts(service.protocol, shape))
        case "blob":
            lengths = _lengths(shape)
            yield from (Mutation(kind, path, b"\xff" * length) for kind, length in lengths)
        case "integer" | "long":
            yield from (Mutation(kind, path, value) for kind, value in _numbers(shape))
        case "boolean":
            yield Mutation("at the limit", path, True)


def _wrong_types(protocol: str, kind: str) -> Iterator[Any]:
    if protocol == "query":
        yield from _QUERY_WRONG.get(kind, ())
        return
    if kind == "blob":
        yield from ("not base64!", "QUJ", "QQ==\n", "\u00e9", 5, True, [], {})
        return
    right = _KINDS.get(kind)
    for value in (*_SCALARS, [], [1], {}, {"a": 1}):
        if not (right and isinstance(value, right)) and not _is_right_scalar(kind, value):
            yield value


def _is_right_scalar(kind: str, value: Any) -> bool:
    match kind:
        case "integer" | "long":
            return isinstance(value, int) and not isinstance(value, bool)
        case "boolean":
            return isinstance(value, bool)
        case "timestamp":
            return isinstance(value, int | float) and not isinstance(value, bool)
    return False


def _lengths(shape: Any) -> Iterator[tuple[str, int]]:
    if shape.get("min"):
        yield "too short", shape["min"] - 1
        yield "at the limit", shape["min"]
    if shape.get("max", LONGEST) < LONGEST:
        yield "at the limit", shape["max"]
        yield "too long", shape["max"] + 1
    if not shape.get("min"):
        yield "empty", 0


def _texts(protocol: str, shape: Any) -> Iterator[tuple[str, Any]]:
    for kind, length in _lengths(shape):
        # Cut to the length that is meant, though it may break the pattern then.
        yield kind, text(shape, length)[:length] if length else ""
        if kind == "too long" and length < _LONG:
            yield kind, "\u00e9" * length
    if "enum" in shape:
        yield "bad enum", "NO_SUCH_VALUE"
        yield "bad enum", shape["enum"][0].swapcase()
        yield "bad enum", shape["enum"][-1] + " "
        yield from (("at the limit", value) for value in shape["enum"])
    if "pattern" in shape:
        yield from (("bad pattern", value) for value in _WRONG_PATTERN)
    yield from (("Unicode", value) for value in UNICODE.values())
    yield from (("hostile", value) for value in _HOSTILE)
    yield "NUL", "a\0b"
    if protocol == "json":  # a form is UTF-8, which has no lone surrogates
        yield "lone surrogate", "a\ud800b"
        yield "lone surrogate", "\udc00"


def _sizes(service: Service, shape: Any) -> Iterator[tuple[str, Any]]:
    for kind, length in _lengths(shape):
        if length > _MOST_ELEMENTS:
            continue
        if shape["type"] == "list":
            yield kind, [good(service, service.shape(shape["member"]["shape"]))] * length
        else:
            value = good(service, service.shape(shape["value"]["shape"]))
            yield kind, {f"key{number}": value for number in range(length)}
    if shape["type"] == "list":
        if service.protocol == "json":
            yield "null", [None]
        return
    value = good(service, service.shape(shape["value"]["shape"]))
    yield from (("key", {key: value}) for key in ("\0", *UNICODE.values(), *_HOSTILE, "k" * 5000))
    if service.protocol == "json":
        yield "key", {"\ud800": value}


def _numbers(shape: Any) -> Iterator[tuple[str, int]]:
    if "min" in shape:
        yield "below the range", shape["min"] - 1
        yield "at the limit", shape["min"]
    if "max" in shape:
        yield "at the limit", shape["max"]
        yield "above the range", shape["max"] + 1
    for power in (31, 32, 53):
        yield "below the range", -(1 << power) - 1
        yield "above the range", 1 << power
