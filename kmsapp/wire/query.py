"""AWS's query protocol, which STS and IAM speak: form fields to Python values, Python values and errors to XML.

Nested parameters are dotted names (`Tags.member.1.Key`); lists in answers are `<member>` elements. Error codes differ
from those of the JSON services for the same fault, so they are translated here and nowhere else.
Source: the models' own traits, and the wire reference, sections 5 and 7.
"""

from __future__ import annotations

import base64
import binascii
import datetime
import functools
import re
from collections.abc import Mapping
from typing import Any, NamedTuple
from urllib.parse import parse_qsl
from xml.sax.saxutils import escape

from kmsapp.errors import KmsError, SerializationException
from kmsapp.service_models import Operation, ServiceModel, Shape

CONTENT_TYPE = "text/xml"
FORM_CONTENT_TYPE = "application/x-www-form-urlencoded"

# No call of STS or IAM comes near this many fields.
MOST_FIELDS = 1000

_INTEGER_LIMIT = 1 << 31  # no number of STS or IAM is a long

# What XML 1.0 can't hold, not even escaped.
_NOT_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


class _QueryError(NamedTuple):
    code: str
    status: int
    message: str | None = None  # None: the error's own


# The JSON services' name -> what STS and IAM say. https://docs.aws.amazon.com/STS/latest/APIReference/CommonErrors.html
_ERRORS = {
    "MissingAuthenticationTokenException": _QueryError(
        "MissingAuthenticationToken", 403, "Request is missing Authentication Token"
    ),
    "IncompleteSignatureException": _QueryError("IncompleteSignature", 400),
    "InvalidSignatureException": _QueryError("SignatureDoesNotMatch", 403),
    "UnrecognizedClientException": _QueryError("InvalidClientTokenId", 403),
    "ExpiredTokenException": _QueryError("ExpiredToken", 403),
    "AccessDeniedException": _QueryError("AccessDenied", 403),
    "ValidationException": _QueryError("ValidationError", 400),
    "SerializationException": _QueryError("MalformedInput", 400),
    "ThrottlingException": _QueryError("Throttling", 400),
    "UnknownOperationException": _QueryError("InvalidAction", 400),
    "KMSInternalException": _QueryError("InternalFailure", 500),
}


# Form fields to parameters


def parse_form(body: bytes) -> dict[str, str]:
    """The form's fields. Raises SerializationException if it is not UTF-8, has too many fields or one of them twice."""
    try:
        pairs = parse_qsl(body.decode(), keep_blank_values=True, errors="strict", max_num_fields=MOST_FIELDS)
    except ValueError as error:
        raise SerializationException("The request body is not a form in UTF-8.") from error
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise SerializationException("A field of the request body appears twice.")
    return fields


def parse(fields: Mapping[str, str], shape: Shape) -> dict[str, Any]:
    """The parameters in `fields`, an operation's input of structure `shape`. Unknown fields are left out.

    Raises: SerializationException for a value that isn't of its shape's type.
    """
    return _structure(fields, shape, "")


def _structure(fields: Mapping[str, str], shape: Shape, prefix: str) -> dict[str, Any]:
    found = {name: _value(fields, member, prefix + name) for name, member in shape.parts.items()}
    return {name: value for name, value in found.items() if value is not None}


def _value(fields: Mapping[str, str], shape: Shape, name: str) -> Any:
    if shape.kind not in ("structure", "list", "map"):
        return _scalar(fields[name], shape) if name in fields else None
    # Also what ends the descent into a shape that contains itself.
    if not any(field.startswith(f"{name}.") for field in fields):
        return _without_parts(fields, shape, name)
    if shape.kind == "structure":
        return _structure(fields, shape, f"{name}.")
    if shape.kind == "list":
        positions = _positions(fields, shape, f"{name}.", "member")
        return [_value(fields, shape.parts["member"], f"{name}.member.{position}") for position in positions]
    entries = [f"{name}.entry.{position}" for position in _positions(fields, shape, f"{name}.", "entry")]
    keys = [_value(fields, shape.parts["key"], f"{entry}.key") for entry in entries]
    values = [_value(fields, shape.parts["value"], f"{entry}.value") for entry in entries]
    if None in keys or None in values:
        raise SerializationException(f"{shape.name} has a key without a value, or a value without a key.")
    return dict(zip(keys, values, strict=True))


def _without_parts(fields: Mapping[str, str], shape: Shape, name: str) -> Any:
    if name not in fields:
        return None
    if fields[name] or shape.kind == "structure":
        raise _wrong(shape)
    return [] if shape.kind == "list" else {}  # how SDKs send a list of nothing


def _positions(fields: Mapping[str, str], shape: Shape, prefix: str, word: str) -> range:
    """1 to the number of elements, in their order.

    (unconfirmed) What AWS does with a position that is left out, or with a part under another word. Nothing that was
    sent may be passed over in silence, so it is refused.
    """
    parts = {tuple(field[len(prefix) :].split(".")[:2]) for field in fields if field.startswith(prefix)}
    positions = range(1, len(parts) + 1)
    if parts != {(word, str(position)) for position in positions}:
        raise SerializationException(f"The parts of {shape.name} must be {word}.1, {word}.2 and so on.")
    return positions


def _wrong(shape: Shape) -> SerializationException:
    return SerializationException(f"{shape.name} must be of type {shape.kind}.")


def _scalar(text: str, shape: Shape) -> Any:
    try:
        if shape.kind in ("integer", "long"):
            return _whole_number(text, shape)
        if shape.kind == "boolean":
            return {"true": True, "false": False}[text.lower()]
        if shape.kind == "timestamp":
            moment = datetime.datetime.fromisoformat(text)
            return moment.astimezone(datetime.UTC) if moment.tzinfo else moment.replace(tzinfo=datetime.UTC)
        if shape.kind == "blob":
            return binascii.a2b_base64(text, strict_mode=True)
    except (ValueError, KeyError, OverflowError) as error:
        raise _wrong(shape) from error
    return text


def _whole_number(text: str, shape: Shape) -> int:
    # Eighteen digits are more than any shape allows, which is refused as that.
    if not re.fullmatch(r"-?[0-9]{1,18}", text):
        raise ValueError("not a whole number")
    number = int(text)
    if (shape.minimum is None and number < -_INTEGER_LIMIT) or (shape.maximum is None and number >= _INTEGER_LIMIT):
        raise ValueError("not a whole number of 32 bits")
    return number


# Results to XML


def serialize(result: Mapping[str, Any] | None, operation: Operation, *, namespace: str, request_id: str) -> bytes:
    """The XML answer: `<XResponse><XResult>…</XResult><ResponseMetadata>…`. Members that are None are left out.

    namespace: the model's metadata.xmlNamespace.
    Raises: ValueError for a member that the output shape doesn't have (our bug).
    """
    inner = ""
    if operation.output is not None:
        wrapper = operation.result_wrapper or f"{operation.name}Result"
        inner = f"<{wrapper}>{_members(result or {}, operation.output)}</{wrapper}>"
    metadata = f"<ResponseMetadata><RequestId>{request_id}</RequestId></ResponseMetadata>"
    name = f"{operation.name}Response"
    return f'<{name} xmlns="{namespace}">{inner}{metadata}</{name}>'.encode()


def _members(value: Mapping[str, Any], shape: Shape) -> str:
    if not value.keys() <= shape.parts.keys():
        raise ValueError(f"{shape.name} has no member {', '.join(sorted(value.keys() - shape.parts.keys()))}")
    return "".join(
        f"<{name}>{_xml(item, shape.parts[name])}</{name}>" for name, item in value.items() if item is not None
    )


def _xml(value: Any, shape: Shape) -> str:
    if shape.kind == "structure":
        return _members(value, shape)
    if shape.kind == "list":
        return "".join(f"<member>{_xml(item, shape.parts['member'])}</member>" for item in value)
    if shape.kind == "map":
        key, item = shape.parts["key"], shape.parts["value"]
        return "".join(
            f"<entry><key>{_xml(k, key)}</key><value>{_xml(v, item)}</value></entry>" for k, v in value.items()
        )
    if shape.kind == "boolean":
        return "true" if value else "false"
    if shape.kind == "timestamp":
        moment: datetime.datetime = value
        return moment.astimezone(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    if shape.kind == "blob":
        return base64.b64encode(value).decode("ascii")
    return _text(str(value))


def _text(text: str) -> str:
    # A carriage return that is not escaped reaches no reader: XML makes a line feed of it.
    return escape(_NOT_XML.sub("\N{REPLACEMENT CHARACTER}", text), {"\r": "&#13;"})


def translated(error: KmsError, model: ServiceModel) -> tuple[str, int, str]:
    """Code, HTTP status and message that STS or IAM give for `error`."""
    known = _ERRORS.get(error.code)
    if known is not None:
        return known.code, known.status, error.message if known.message is None else known.message
    code, status = _modelled_codes(model).get(error.code, (error.code, error.status))
    return code, status, error.message


@functools.cache
def _modelled_codes(model: ServiceModel) -> dict[str, tuple[str, int]]:
    """Error shape name -> the code and status on the wire, which models of the query protocol give apart from it."""
    modelled = ((name, shape.get("error")) for name, shape in model.raw["shapes"].items())
    return {name: (error["code"], error["httpStatusCode"]) for name, error in modelled if error}


def error_body(code: str, status: int, message: str, *, namespace: str, request_id: str) -> bytes:
    """The XML that says an error; `status` decides whose fault it is."""
    fault = "Receiver" if status >= 500 else "Sender"
    error = f"<Error><Type>{fault}</Type><Code>{_text(code)}</Code><Message>{_text(message)}</Message></Error>"
    answer = f'<ErrorResponse xmlns="{namespace}">{error}<RequestId>{request_id}</RequestId></ErrorResponse>'
    return answer.encode()
