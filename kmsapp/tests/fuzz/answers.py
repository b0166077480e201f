"""What AWS answers to a request before it looks at who asks: nothing, a type that can't be read, or broken constraints.

A request is a tree of JSON's types, bytes where a blob is rightly sent. The sentences are those of the wire reference,
section 3: recorded answers of AWS's. What is this product's own says so.
"""

from __future__ import annotations

import binascii
import datetime
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

from kmsapp.tests.fuzz.java_patterns import matches
from kmsapp.tests.fuzz.published import Raw, Service

REFUSED = {"json": "ValidationException", "query": "ValidationError"}
UNREADABLE = {"json": "SerializationException", "query": "MalformedInput"}
# Ours: no request of AWS's clients is longer.
LONGEST_BODY = 1024 * 1024
TOO_LARGE = "RequestEntityTooLargeException"
_SURROGATE = re.compile("[\ud800-\udfff]")
# What XML can't hold is shown as U+FFFD.
_NOT_XML = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]")
_BITS = {"integer": 32, "long": 64}
# Ours: AWS repeats a value in full, however long, and has a sentence for every fault.
_LONGEST = 1024
_MOST = 100
_CUT = "..."


class Expected(NamedTuple):
    """`code` is empty for a request that is well-formed; `sentences` are in any order."""

    code: str
    sentences: tuple[str, ...] = ()

    def is_said_by(self, message: str) -> bool:
        """Whether the message has exactly these sentences."""
        number = len(self.sentences)
        if not number:
            return " detected: " not in message
        if number > _MOST:
            return " validation errors detected: " in message
        rest = message.removeprefix(f"{number} validation error{'s' if number > 1 else ''} detected: ")
        for sentence in sorted(self.sentences, key=len, reverse=True):
            before, found, after = rest.partition(sentence)
            if not found:
                return False
            rest = before + after
        return rest == "; " * (number - 1) and " detected: " in message


def expected(service: Service, operation: str, request: dict[str, Any], length: int) -> Expected:
    """length: of the body, in bytes."""
    shape = service.input(operation)
    if length > LONGEST_BODY:
        return Expected(TOO_LARGE)
    if not _is_readable(service, shape, request):
        return Expected(UNREADABLE[service.protocol])
    sentences = tuple(_broken(service, shape, request, ()))
    if service.protocol == "query":
        sentences = tuple(_NOT_XML.sub("\ufffd", sentence) for sentence in sentences)
    return Expected(REFUSED[service.protocol] if sentences else "", sentences)


# Types


def _is_readable(service: Service, shape: Raw, value: Any) -> bool:
    if value is None:
        return True
    match shape["type"]:
        case "structure":
            return isinstance(value, dict) and all(
                _is_readable(service, service.shape(member["shape"]), value.get(name))
                for name, member in shape["members"].items()
            )
        case "list":
            member = service.shape(shape["member"]["shape"])
            return isinstance(value, list) and all(_is_readable(service, member, item) for item in value)
        case "map":
            member = service.shape(shape["value"]["shape"])
            return isinstance(value, dict) and all(_is_readable(service, member, item) for item in value.values())
    return _is_readable_alone(service.protocol, shape, value)


def _is_readable_alone(protocol: str, shape: Raw, value: Any) -> bool:
    match shape["type"]:
        case "string":
            return isinstance(value, str)
        case "blob":
            return isinstance(value, bytes) or (isinstance(value, str) and _is_base64(value))
        case "boolean":
            return isinstance(value, bool) or (protocol == "query" and str(value).lower() in ("true", "false"))
        case "timestamp" if protocol == "query":
            return _is_time(str(value))
        case "timestamp":
            return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e11
        case "integer" | "long":
            return _is_whole_number(protocol, shape, value)
    raise AssertionError(f"nothing is known of {shape['type']}")


def _is_base64(text: str) -> bool:
    try:
        binascii.a2b_base64(text, strict_mode=True)
    except ValueError:
        return False
    return text.isascii()


def _is_time(text: str) -> bool:
    try:
        datetime.datetime.fromisoformat(text)
    except ValueError:
        return False
    return True


def _is_whole_number(protocol: str, shape: Raw, value: Any) -> bool:
    if protocol == "query" and isinstance(value, str) and re.fullmatch("-?[0-9]{1,18}", value):
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool):
        return False
    # What is past the type's own range is past the model's, where that has one: recorded for Athena's MaxResults.
    limit = 1 << _BITS[shape["type"]] - 1
    return ("min" in shape or value >= -limit) and ("max" in shape or value < limit)


# Constraints


def _broken(service: Service, shape: Raw, value: Any, path: tuple[str, ...]) -> Iterator[str]:
    match shape["type"]:
        case "structure":
            for name, member in shape["members"].items():
                inner = (*path, name[0].lower() + name[1:])
                if value.get(name) is not None:
                    yield from _broken(service, service.shape(member["shape"]), value[name], inner)
                elif name in shape.get("required", ()):
                    yield _sentence("Value null", inner, "Member must not be null")
        case "list":
            yield from _broken_length(shape, value, path, _shown_list(value))
            member = service.shape(shape["member"]["shape"])
            for number, item in enumerate(value, 1):
                yield from _broken_item(service, member, item, (*path, str(number), "member"))
        case "map":
            yield from _broken_length(shape, value, path, "Value")
            yield from _broken_entries(service, shape, value, path)
        case "integer" | "long":
            yield from _broken_range(shape, int(value), path)
        case "blob":
            data = value if isinstance(value, bytes) else binascii.a2b_base64(value)
            yield from _broken_length(shape, data, path, "Value")
        case "string":
            yield from _broken_text(shape, value, path)


def _broken_item(service: Service, shape: Raw, value: Any, path: tuple[str, ...]) -> Iterator[str]:
    if value is None:
        yield _sentence("Value null", path, "Member must not be null")
    else:
        yield from _broken(service, shape, value, path)


def _broken_entries(service: Service, shape: Raw, value: dict[str, Any], path: tuple[str, ...]) -> Iterator[str]:
    key_shape, member = service.shape(shape["key"]["shape"]), service.shape(shape["value"]["shape"])
    for key, item in value.items():
        wrong = [sentence.partition(" constraint: ")[2] for sentence in _broken_text(key_shape, key, ())]
        yield from (
            _sentence("Value", path, f"Map keys must satisfy constraint: [{constraint}]") for constraint in wrong
        )
        if not wrong:
            yield from _broken_item(service, member, item, (*path, _shortened(key), "member"))


def _broken_text(shape: Raw, value: str, path: tuple[str, ...]) -> Iterator[str]:
    # The first two are ours.
    if "\0" in value:
        yield _sentence("Value", path, "Member must not contain a NUL character")
        return
    if _SURROGATE.search(value):
        yield _sentence("Value", path, "Member must be valid Unicode")
        return
    shown = "Value" if shape.get("sensitive") else f"Value '{_shortened(value)}'"
    yield from _broken_length(shape, value, path, shown)
    if "pattern" in shape and not matches(shape["pattern"], value):
        yield _sentence(shown, path, f"Member must satisfy regular expression pattern: {shape['pattern']}")
    if "enum" in shape and value not in shape["enum"]:
        yield _sentence(shown, path, f"Member must satisfy enum value set: [{', '.join(shape['enum'])}]")


def _broken_length(shape: Raw, value: Any, path: tuple[str, ...], shown: str) -> Iterator[str]:
    if len(value) < shape.get("min", 0):
        yield _sentence(shown, path, f"Member must have length greater than or equal to {shape['min']}")
    if len(value) > shape.get("max", len(value)):
        yield _sentence(shown, path, f"Member must have length less than or equal to {shape['max']}")


def _broken_range(shape: Raw, value: int, path: tuple[str, ...]) -> Iterator[str]:
    if value < shape.get("min", value):
        yield _sentence(f"Value '{value}'", path, f"Member must have value greater than or equal to {shape['min']}")
    if value > shape.get("max", value):
        yield _sentence(f"Value '{value}'", path, f"Member must have value less than or equal to {shape['max']}")


def _sentence(shown: str, path: tuple[str, ...], constraint: str) -> str:
    return f"{shown} at '{'.'.join(path)}' failed to satisfy constraint: {constraint}"


def _shortened(text: str) -> str:
    return text if len(text) <= _LONGEST else text[:_LONGEST] + _CUT


def _shown_list(value: list[Any]) -> str:
    """Ours: only what holds nothing but texts is shown, for what AWS prints of the rest isn't known."""
    texts = [item for item in value if isinstance(item, str)]
    if len(texts) < len(value) or any(list(_broken_text({}, text, ())) for text in texts):
        return "Value"
    return f"Value '{_shortened('[' + ', '.join(texts) + ']')}'"
