"""Checks of an operation's parameters against AWS's published shapes, answered in AWS's own sentences.

`validate("kms", "Encrypt", params)` compiles the operation's input shape once into nested closures and runs them. A
check gives None, or a list of violations whose paths are built only when something is wrong, so a good call pays for no
text.

Values are Python's own: str, bytes (blobs), bool, int, aware datetime (timestamps), list, dict. `wire/awsjson.py` makes
them from JSON and has refused wrong JSON types before; forms of the console make them directly.
Two rules are ours and not AWS's: no string may hold a NUL (PostgreSQL can't store one) or a lone surrogate (it has no
UTF-8). Members that the model doesn't know are ignored.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from kmsapp import service_models
from kmsapp.errors import ValidationException
from kmsapp.service_models import Shape

# Ids that the scope document prints although AWS's own patterns exclude them ([2-7a-zA-Z] for CloudHSM ids), each with
# an id of the right form that is matched in its place.
SAMPLE_IDS = {"cluster-1a23b4cdefg": "cluster-aaaaaaaaaaa", "vpc-1a2b3c4d": "vpc-1"}

# AWS repeats the refused value in full. A body may be a megabyte, and the sentence is also kept in the audit record.
LONGEST_VALUE_SHOWN = 1024

# A list of 300,000 empty structures fits into a body; its answer need not name each of them.
MOST_VIOLATIONS = 100

_SAMPLE_ID = re.compile("(?:" + "|".join(map(re.escape, SAMPLE_IDS)) + r")(?![0-9a-zA-Z])")


class Violation(NamedTuple):
    """A constraint that a value broke. `path` runs outwards from the value, innermost part last."""

    path: tuple[str, ...]
    shown: str | None  # the value as the sentence prints it; None leaves it out
    constraint: str

    def under(self, *path: str) -> Violation:
        return self._replace(path=path + self.path)

    def sentence(self) -> str:
        value = "Value" if self.shown is None else f"Value {self.shown}"
        return f"{value} at '{'.'.join(self.path)}' failed to satisfy constraint: {self.constraint}"


Check = Callable[[Any], "list[Violation] | None"]


def validate(service: str, operation: str, params: Mapping[str, Any]) -> None:
    """Raise ValidationException, naming every broken constraint, if `params` doesn't fit the operation's input shape.

    service: IAM prefix (kms, cloudhsm, sts, iam).
    Raises: KeyError for an operation that the service doesn't have; TypeError for a Python value of the wrong type (our
    bug, never the caller's).
    """
    violations = broken(service, operation, params)
    if violations:
        raise ValidationException(_message(violations))


def broken(service: str, operation: str, params: Mapping[str, Any]) -> list[Violation]:
    """The constraints of the operation's input shape that `params` don't satisfy."""
    return _input_check(service, operation)(params) or []


def fits(shape: Shape, value: Any) -> bool:
    """Whether a value by itself satisfies every constraint of a shape."""
    return _compile(shape)(value) is None


def require(params: Mapping[str, Any], name: str) -> None:
    """Raise ValidationException without a member that the model leaves to the service to require."""
    if params.get(name) is None:
        raise ValidationException(_message([_missing(lower_camel(name))]))


def _message(violations: list[Violation]) -> str:
    count = "1 validation error" if len(violations) == 1 else f"{len(violations)} validation errors"
    return f"{count} detected: " + "; ".join(violation.sentence() for violation in violations)


@functools.cache
def _input_check(service: str, operation: str) -> Check:
    return _compile(service_models.service(service).operation(operation).input)


@functools.cache
def _compile(shape: Shape) -> Check:
    makers = {
        "structure": _structure,
        "list": _list,
        "map": _map,
        "string": _string,
        "blob": _blob,
        "integer": _number,
        "long": _number,
    }
    return makers.get(shape.kind, _anything)(shape)


def _member(shape: Shape) -> Check:
    # A shape with parts may contain itself, so it is compiled when its check first runs, not while its owner is.
    return (lambda value: _compile(shape)(value)) if shape.parts else _compile(shape)


def _missing(path: str) -> Violation:
    # (unconfirmed) This sentence is recorded from services of the same framework, not from KMS.
    return Violation((path,), "null", "Member must not be null")


def lower_camel(name: str) -> str:
    """The name as AWS's sentences spell it: KeyId -> keyId."""
    return name[:1].lower() + name[1:]


# Structures, lists and maps


def _structure(shape: Shape) -> Check:
    members = [
        (name, lower_camel(name), name in shape.required, _member(member)) for name, member in shape.parts.items()
    ]

    def check(value: Any) -> list[Violation] | None:
        if not isinstance(value, Mapping):
            raise TypeError(f"{shape.name} must be a mapping, not {type(value).__name__}")
        found: list[Violation] | None = None
        get = value.get
        for name, path, required, check_member in members:
            item = get(name)
            if item is None:
                if required:
                    found = [*(found or ()), _missing(path)]
            elif (wrong := check_member(item)) is not None:
                found = (found or []) + [violation.under(path) for violation in wrong]
        return found

    return check


def _list(shape: Shape) -> Check:
    check_member = _member(shape.parts["member"])
    check_length = _length(shape, _shown_list)

    def check(value: Any) -> list[Violation] | None:
        if not isinstance(value, list | tuple):
            raise TypeError(f"{shape.name} must be a list, not {type(value).__name__}")
        found = check_length(value) or []
        for position, item in enumerate(value, 1):
            if len(found) >= MOST_VIOLATIONS:
                break
            if item is None:
                found.append(_missing("member").under(str(position)))
            elif (wrong := check_member(item)) is not None:
                found += [violation.under(str(position), "member") for violation in wrong]
        return found or None

    return check


def _map(shape: Shape) -> Check:
    check_key, check_member = _member(shape.parts["key"]), _member(shape.parts["value"])
    check_length = _length(shape, lambda value: None)

    def check(value: Any) -> list[Violation] | None:
        if not isinstance(value, Mapping):
            raise TypeError(f"{shape.name} must be a mapping, not {type(value).__name__}")
        found = check_length(value) or []
        for key, item in value.items():
            if len(found) >= MOST_VIOLATIONS:
                break
            # (unconfirmed) How KMS names a value of a map, and whether it has one sentence for all keys.
            if (wrong := check_key(key)) is not None:
                found += [Violation((), None, f"Map keys must satisfy constraint: [{w.constraint}]") for w in wrong]
            elif item is None:
                found.append(_missing("member").under(_shortened(key)))
            elif (wrong := check_member(item)) is not None:
                found += [violation.under(_shortened(key), "member") for violation in wrong]
        return found or None

    return check


# Single values


def _string(shape: Shape) -> Check:
    shown = _nothing_shown if shape.sensitive else _quoted
    check_length = _length(shape, shown)
    matches = _matcher(shape.pattern) if shape.pattern else None
    enum = frozenset(shape.enum)

    def check(value: Any) -> list[Violation] | None:
        if not isinstance(value, str):
            raise TypeError(f"{shape.name} must be a string, not {type(value).__name__}")
        if "\0" in value:
            return [Violation((), None, "Member must not contain a NUL character")]
        if not value.isascii() and _has_lone_surrogate(value):
            return [Violation((), None, "Member must be valid Unicode")]
        found = check_length(value)
        if matches is not None and not matches(value):
            constraint = f"Member must satisfy regular expression pattern: {shape.pattern}"
            found = [*(found or ()), Violation((), shown(value), constraint)]
        if enum and value not in enum:
            constraint = f"Member must satisfy enum value set: [{', '.join(shape.enum)}]"
            found = [*(found or ()), Violation((), shown(value), constraint)]
        return found

    return check


def _blob(shape: Shape) -> Check:
    check_length = _length(shape, _nothing_shown)

    def check(value: Any) -> list[Violation] | None:
        if not isinstance(value, bytes):
            raise TypeError(f"{shape.name} must be bytes, not {type(value).__name__}")
        return check_length(value)

    return check


def _number(shape: Shape) -> Check:
    low, high = shape.minimum, shape.maximum

    def check(value: Any) -> list[Violation] | None:
        if not isinstance(value, int):
            raise TypeError(f"{shape.name} must be a whole number, not {type(value).__name__}")
        if low is not None and value < low:
            return [Violation((), _quoted(value), f"Member must have value greater than or equal to {low}")]
        if high is not None and value > high:
            return [Violation((), _quoted(value), f"Member must have value less than or equal to {high}")]
        return None

    return check


def _anything(shape: Shape) -> Check:
    return lambda value: None


def _length(shape: Shape, shown: Callable[[Any], str | None]) -> Check:
    low, high = shape.minimum or 0, shape.maximum

    def check(value: Any) -> list[Violation] | None:
        length = len(value)
        if length < low:
            return [Violation((), shown(value), f"Member must have length greater than or equal to {low}")]
        if high is not None and length > high:
            return [Violation((), shown(value), f"Member must have length less than or equal to {high}")]
        return None

    return check


def _has_lone_surrogate(value: str) -> bool:
    try:
        value.encode()
    except UnicodeEncodeError:
        return True
    return False


# How a refused value is printed


def _quoted(value: object) -> str:
    return f"'{_shortened(str(value))}'"


def _shortened(text: str) -> str:
    return text if len(text) <= LONGEST_VALUE_SHOWN else f"{text[:LONGEST_VALUE_SHOWN]}..."


def _nothing_shown(value: object) -> str | None:
    return None


def _shown_list(value: list[Any]) -> str | None:
    # A string that can't be sent (its own violation says so) must not travel in this sentence either.
    # (unconfirmed) Only lists of plain strings are printed: what AWS prints of structures isn't known, and a secret
    # could be inside.
    if all(isinstance(item, str) and "\0" not in item and not _has_lone_surrogate(item) for item in value):
        return _quoted(f"[{', '.join(value)}]")
    return None


# Patterns


def _matcher(pattern: str) -> Callable[[str], object]:
    """A whole-value match of a model's pattern, which is written in Java's dialect.

    Java's \\w, \\d and \\s are ASCII, Python's aren't. Java's point stops at all ends of lines, Python's at \\n alone.
    Python has no \\p{L}; its Unicode \\w is \\p{L}, \\p{N} and the underscore, and every class of the models that uses
    \\p{L} lists the underscore too.
    """
    flags = re.RegexFlag(0) if r"\p{" in pattern else re.ASCII
    translated = pattern.replace(r"\p{L}", r"\w").replace(r"\p{N}", "").replace(r"\p{Z}", _SEPARATORS)
    translated = _PART.sub(lambda part: _POINT if part[0] == "." else part[0], translated)
    fullmatch = re.compile(translated, flags).fullmatch

    def matches(value: str) -> object:
        return fullmatch(value) or (_SAMPLE_ID.search(value) and fullmatch(_with_legal_ids(value)))

    return matches


# Parts of a pattern: a class, an escaped character, a point that is neither.
_PART = re.compile(r"\[(?:\\.|[^\]\\])*\]|\\.|\.")
_POINT = r"[^\n\r\u0085\u2028\u2029]"

# Unicode's general category Z (space, line and paragraph separators), for use inside a character class.
_SEPARATORS = r"\u0020\u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000"


def _with_legal_ids(value: str) -> str:
    return _SAMPLE_ID.sub(lambda sample: SAMPLE_IDS[sample[0]], value)
