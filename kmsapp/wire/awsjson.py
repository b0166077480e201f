"""The awsJson 1.1 protocol: JSON to Python values by an operation's input shape, Python values to JSON by its output
shape.

The only place that knows how JSON spells a blob (base64), a timestamp (epoch seconds) and an error (`__type`).
Operations see bytes and aware datetimes. Whatever a body holds, the answer is parameters or SerializationException.
"""

from __future__ import annotations

import base64
import binascii
import datetime
import functools
import json
import math
from collections.abc import Callable, Mapping
from typing import Any, NoReturn

from kmsapp.errors import KmsError, SerializationException
from kmsapp.service_models import Shape

CONTENT_TYPE = "application/x-amz-json-1.1"

# AWS's front layer names these with their namespace and the services don't; clients cut it off
# (reference: issue threads quoted in the wire reference, section 2).
_NAMESPACES = {
    "UnknownOperationException": "com.amazon.coral.service#",
    "IncompleteSignatureException": "com.amazon.coral.service#",
}
# KMS's model calls an error's text `message`, CloudHSM's `Message`.
_MESSAGE_MEMBERS = {"cloudhsm": "Message"}
# What is our own bug has each service's own name.
_INTERNAL_ERRORS = {"cloudhsm": "CloudHsmInternalFailureException"}

_INTEGER_BITS = {"integer": 32, "long": 64}

# (unconfirmed) What AWS says of a value of the wrong type is recorded from services of the same protocol, not from KMS.
_LIST_NOT_EXPECTED = "Start of list found where not expected"
_OBJECT_NOT_EXPECTED = "Start of structure or map found where not expected."
_WANTED = {
    "structure": "Expected null",
    "list": "Expected list or null",
    "map": "Expected map or null",
    "string": "a String",
    "boolean": "a Boolean",
    "integer": "an Integer",
    "long": "a Long",
    "float": "a Float",
    "double": "a Double",
    "blob": "a Blob",
    "timestamp": "milliseconds since epoch",
}

Convert = Callable[[Any], Any]


# JSON to parameters


def parse(body: bytes, shape: Shape) -> dict[str, Any]:
    """The parameters in `body`, an operation's input of structure `shape`.

    Members that are null count as absent; members that the shape doesn't know are left out.

    (unconfirmed) A body of no bytes is no parameters. Of one service it is recorded that it can't be read.

    Raises: SerializationException for anything else than a JSON object whose values have the shape's types.
    """
    if not body:
        return {}
    params: dict[str, Any] = _parser(shape)(_load(body))
    return params


def _load(body: bytes) -> Any:
    try:
        return _DECODER.decode(body.decode())
    except (ValueError, RecursionError) as error:
        # ValueError: not UTF-8, not JSON, NaN, a number of thousands of digits. RecursionError: nested past Python's
        # stack, which the scanner notices by itself about a thousand levels down.
        # AWS gives no text here. Whoever sent the body is better helped by one.
        raise SerializationException("The request body is not valid JSON.") from error


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _finite(text: str) -> float:
    number = float(text)
    if math.isinf(number):
        raise ValueError("a number past the range of a double")
    return number


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    # (unconfirmed) An encryption context with one key twice has two meanings. AWS probably takes the last; then data
    # would be bound to something other than what their owner may think, for ever. Refusing is what nobody can misread.
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a member appears twice")
    return found


# Kept, because json.dumps and json.loads make a new one for each call that has options.
_ENCODER = json.JSONEncoder(separators=(",", ":"), allow_nan=False)
_DECODER = json.JSONDecoder(object_pairs_hook=_object, parse_float=_finite, parse_constant=_refuse_constant)


@functools.cache
def _parser(shape: Shape) -> Convert:
    if shape.kind == "structure":
        return _structure_parser(shape)
    if shape.kind == "list":
        return _list_parser(shape)
    if shape.kind == "map":
        return _map_parser(shape)
    return _SCALARS[shape.kind](shape)


def _later(maker: Callable[[Shape], Convert], shape: Shape) -> Convert:
    # A shape with parts may contain itself, so it is compiled when it is first met.
    return (lambda value: maker(shape)(value)) if shape.parts else maker(shape)


def _wrong(shape: Shape, value: Any) -> SerializationException:
    if isinstance(value, list):
        return SerializationException(_LIST_NOT_EXPECTED)
    if isinstance(value, dict):
        return SerializationException(_OBJECT_NOT_EXPECTED)
    if shape.parts or shape.kind == "structure":
        return SerializationException(_WANTED[shape.kind])
    # AWS repeats a text that is no base64. It may be a plaintext, and the sentence is kept in the audit record.
    return SerializationException(f"{_name(value)} can not be converted to {_WANTED[shape.kind]}")


def _name(value: Any) -> str:
    if isinstance(value, bool):
        return f"{str(value).upper()}_VALUE"
    return "STRING_VALUE" if isinstance(value, str) else "NUMBER_VALUE"


def _structure_parser(shape: Shape) -> Convert:
    parsers = {name: _later(_parser, member) for name, member in shape.parts.items()}

    def parse_structure(value: Any) -> dict[str, Any]:
        if not isinstance(value, dict):
            raise _wrong(shape, value)
        return {name: parsers[name](item) for name, item in value.items() if item is not None and name in parsers}

    return parse_structure


def _list_parser(shape: Shape) -> Convert:
    parse_member = _later(_parser, shape.parts["member"])

    def parse_list(value: Any) -> list[Any]:
        if not isinstance(value, list):
            raise _wrong(shape, value)
        return [None if item is None else parse_member(item) for item in value]

    return parse_list


def _map_parser(shape: Shape) -> Convert:
    parse_member = _later(_parser, shape.parts["value"])

    def parse_map(value: Any) -> dict[str, Any]:
        if not isinstance(value, dict):
            raise _wrong(shape, value)
        return {key: None if item is None else parse_member(item) for key, item in value.items()}

    return parse_map


def _string_parser(shape: Shape) -> Convert:
    def parse_string(value: Any) -> str:
        if not isinstance(value, str):
            raise _wrong(shape, value)
        return value

    return parse_string


def _boolean_parser(shape: Shape) -> Convert:
    def parse_boolean(value: Any) -> bool:
        # (unconfirmed) Of one service it is recorded that any text counts as true. "false" must not.
        if not isinstance(value, bool):
            raise _wrong(shape, value)
        return value

    return parse_boolean


def _integer_parser(shape: Shape) -> Convert:
    limit = 1 << (_INTEGER_BITS[shape.kind] - 1)
    # What is past the type's range is past the shape's, and is refused as that.
    low = -limit if shape.minimum is None else -math.inf
    high = limit if shape.maximum is None else math.inf

    def parse_integer(value: Any) -> int:
        # (unconfirmed) Of one service it is recorded that a fraction is cut off. A number that isn't whole is refused.
        if not isinstance(value, int) or isinstance(value, bool) or not low <= value < high:
            raise _wrong(shape, value)
        return value

    return parse_integer


def _float_parser(shape: Shape) -> Convert:
    def parse_float(value: Any) -> float:
        if not isinstance(value, int | float) or isinstance(value, bool):
            raise _wrong(shape, value)
        try:
            return float(value)
        except OverflowError as error:
            raise _wrong(shape, value) from error

    return parse_float


def _blob_parser(shape: Shape) -> Convert:
    def parse_blob(value: Any) -> bytes:
        if not isinstance(value, str):
            raise _wrong(shape, value)
        try:
            return binascii.a2b_base64(value, strict_mode=True)
        except ValueError as error:
            raise _wrong(shape, value) from error

    return parse_blob


def _timestamp_parser(shape: Shape) -> Convert:
    def parse_timestamp(value: Any) -> datetime.datetime:
        if not isinstance(value, int | float) or isinstance(value, bool):
            raise _wrong(shape, value)
        try:
            return datetime.datetime.fromtimestamp(value, datetime.UTC)
        except (ValueError, OverflowError, OSError) as error:
            raise _wrong(shape, value) from error

    return parse_timestamp


_SCALARS: dict[str, Callable[[Shape], Convert]] = {
    "string": _string_parser,
    "boolean": _boolean_parser,
    "integer": _integer_parser,
    "long": _integer_parser,
    "float": _float_parser,
    "double": _float_parser,
    "blob": _blob_parser,
    "timestamp": _timestamp_parser,
}


# Results to JSON


def serialize(result: Mapping[str, Any] | None, shape: Shape | None) -> bytes:
    """The body for an operation's `result`: empty where the operation has no output, else an object; None is left out.

    Raises: ValueError for a member that the shape doesn't have, TypeError for a wrong Python type. Both are our bugs,
    and what the model doesn't name must not leave by accident.
    """
    if shape is None:
        return b""
    return _ENCODER.encode(_writer(shape)(result or {})).encode()


@functools.cache
def _writer(shape: Shape) -> Convert:
    if shape.kind == "structure":
        return _structure_writer(shape)
    if shape.kind == "list":
        write_member = _later(_writer, shape.parts["member"])
        return lambda value: [write_member(item) for item in value]
    if shape.kind == "map":
        write_value = _later(_writer, shape.parts["value"])
        return lambda value: {key: write_value(item) for key, item in value.items()}
    if shape.kind == "blob":
        return lambda value: base64.b64encode(value).decode("ascii")
    if shape.kind == "timestamp":
        return _epoch_seconds
    return lambda value: value


def _structure_writer(shape: Shape) -> Convert:
    writers = {name: _later(_writer, member) for name, member in shape.parts.items()}

    def write_structure(value: Mapping[str, Any]) -> dict[str, Any]:
        if not value.keys() <= writers.keys():
            raise ValueError(f"{shape.name} has no member {', '.join(sorted(value.keys() - writers.keys()))}")
        return {name: writers[name](item) for name, item in value.items() if item is not None}

    return write_structure


def _epoch_seconds(moment: datetime.datetime) -> float:
    """Seconds since 1970 with milliseconds, as AWS prints times."""
    return round(moment.timestamp(), 3)


def error_body(service: str, error: KmsError) -> bytes:
    """The body that says `error` to a client of `service` (IAM prefix). An error without text has `__type` alone."""
    code = _INTERNAL_ERRORS.get(service, error.code) if error.code == "KMSInternalException" else error.code
    answer = {"__type": _NAMESPACES.get(code, "") + code}
    if error.message:
        answer[_MESSAGE_MEMBERS.get(service, "message")] = error.message
    return _ENCODER.encode(answer).encode()
