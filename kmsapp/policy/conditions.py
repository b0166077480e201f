"""The Condition element: operators, compiled to functions of the request's context.

Between operators and keys stands an AND, between the values of one key an OR, which a negated operator turns into NOR.
A key that is missing makes a positive operator false, a negated one true, one with IfExists true.
https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_condition_operators.html
"""

from __future__ import annotations

import base64
import binascii
import ipaddress
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import lru_cache
from operator import eq, ge, gt, le, lt
from typing import Any

from kmsapp.policy import wildcards
from kmsapp.policy.errors import OVERLY_PERMISSIVE, FaultError, Path
from kmsapp.policy.variables import Context, Template, template

Holds = Callable[[Context], bool]
# Whether one value of the request fits any of the policy's values.
_Fits = Callable[[str, Context], bool]
# Of the policy's values, with variables or without; FaultError's path is that of one value.
_Compile = Callable[["_Values"], _Fits]


class Several(tuple[str, ...]):
    """Values of single-valued keys whose names differ in case only, such as two pairs of an encryption context."""

    __slots__ = ()


class Unusable(tuple[str, ...]):
    """Values that no Allow may rest on: a set operator holds in a Deny, whatever they are, and in no Allow."""

    __slots__ = ()


@dataclass(frozen=True)
class Condition:
    """One key under one operator."""

    operator: str  # as the policy writes it
    key: str  # as the policy writes it
    values: tuple[str, ...]
    holds: Holds


@dataclass(frozen=True)
class _Values:
    texts: tuple[str, ...]
    has_variables: bool  # by the policy's version
    path: Path

    def templates(self) -> list[Template]:
        return [template(text, enabled=self.has_variables) for text in dict.fromkeys(self.texts)]

    def parsed(self, parse: Callable[[str], Any], what: str) -> list[Any]:
        values = [parse(text) for text in self.texts]
        for index, value in enumerate(values):
            if value is None:
                raise FaultError((*self.path, index), f"{self.texts[index][:200]!r} is no {what}.")
        return values


def compile_condition(
    block: Any, path: Path, *, has_variables: bool, is_denial: bool, is_key_policy: bool
) -> tuple[Condition, ...]:
    """block: the Condition element. is_denial: of a Deny statement.

    Raises: FaultError.
    """
    if not isinstance(block, dict):
        raise FaultError(path, 'Condition must be an object such as {"StringEquals": {"aws:username": "alice"}}.')
    compiled = []
    for name, keys in block.items():
        operator = _operator(name, (*path, name))
        if not isinstance(keys, dict):
            raise FaultError((*path, name), f"{name} must be an object of condition keys and values.")
        for key, value in keys.items():
            place = (*path, name, key)
            _require_key(key, operator, place, is_key_policy=is_key_policy)
            values = _Values(_texts(value, place), has_variables, place)
            holds = operator.holds(key.lower(), operator.compile(values), values.texts, is_denial)
            compiled.append(Condition(name, key, values.texts, holds))
    return tuple(compiled)


def _require_key(key: str, operator: _Operator, path: Path, *, is_key_policy: bool) -> None:
    if ":" not in key.strip(":"):
        raise FaultError(path, f"{key[:200]!r} is no condition key: one begins with aws: or the name of a service.")
    single = key.lower().startswith(("kms:encryptioncontext:", "aws:requesttag/"))
    if is_key_policy and single and operator.quantifier == "ForAllValues":
        raise FaultError(path, f"{key} has one value in a request. Remove ForAllValues.", OVERLY_PERMISSIVE)


def _texts(value: Any, path: Path) -> tuple[str, ...]:
    values = value if isinstance(value, list) else [value]
    for index, one in enumerate(values):
        if not isinstance(one, str | bool):
            raise FaultError((*path, index), "A condition's value must be a text, a number, true or false.")
    return tuple(str(one).lower() if isinstance(one, bool) else str(one) for one in values)


# Families of operators.


def _equal(values: _Values) -> _Fits:
    templates = values.templates()
    fixed = frozenset(text for one in templates if not one.has_variables and (text := one.text({})) is not None)
    filled = [one for one in templates if one.has_variables]
    if not filled:
        return lambda value, context: value in fixed
    return lambda value, context: value in fixed or any(one.text(context) == value for one in filled)


def _equal_ignoring_case(values: _Values) -> _Fits:
    templates = values.templates()
    fixed = frozenset(text.lower() for one in templates if not one.has_variables and (text := one.text({})) is not None)
    filled = [one for one in templates if one.has_variables]
    if not filled:
        return lambda value, context: value.lower() in fixed

    def fits(value: str, context: Context) -> bool:
        lower = value.lower()
        texts = (one.text(context) for one in filled)
        return lower in fixed or any(text is not None and text.lower() == lower for text in texts)

    return fits


def _like(values: _Values) -> _Fits:
    templates = values.templates()
    filled = [pattern(one) for one in templates if one.has_variables]
    fixed = [one.pieces({}) or () for one in templates if not one.has_variables]
    if not fixed:
        return any_of(filled)
    matches = wildcards.compile_any(fixed)
    return any_of([lambda value, context: matches(value), *filled])


def any_of(matchers: Sequence[_Fits]) -> _Fits:
    """Whether any of the matchers fits."""
    if len(matchers) == 1:
        return matchers[0]

    def fits_any(value: str, context: Context) -> bool:
        for fits in matchers:  # noqa: SIM110 # half the time of any()
            if fits(value, context):
                return True
        return False

    return fits_any


def pattern(one: Template) -> _Fits:
    """A matcher for a template with wildcards."""
    if not one.has_variables:
        matches = wildcards.compile_pieces(one.pieces({}) or ())
        return lambda value, context: matches(value)

    def fits(value: str, context: Context) -> bool:
        pieces = one.pieces(context)
        return pieces is not None and wildcards.compiled(pieces)(value)

    return fits


_COLON = re.compile(r"\$\{[^{}]*\}|:")


def _arn_like(values: _Values) -> _Fits:
    return any_of([_one_arn(text, values.has_variables) for text in values.texts])


def _one_arn(text: str, has_variables: bool) -> _Fits:
    """Each of the six parts by itself: an asterisk does not reach across a colon, save in the last part."""
    parts = _arn_parts(text) if has_variables else text.split(":", 5)
    if len(parts) != 6:
        return lambda value, context: False
    matchers = [pattern(template(part, enabled=has_variables)) for part in parts]

    def fits(value: str, context: Context) -> bool:
        found = value.split(":", 5)
        return len(found) == 6 and all(matches(part, context) for matches, part in zip(matchers, found, strict=True))

    return fits


def _arn_parts(text: str) -> list[str]:
    """The six parts; the colon of a variable's name is none of the ARN's."""
    colons = [match.start() for match in _COLON.finditer(text) if match.group() == ":"][:5]
    begins = [0, *(colon + 1 for colon in colons)]
    return [text[begin:end] for begin, end in zip(begins, [*colons, len(text)], strict=True)]


def _compared(parse: Callable[[str], Any], what: str, compare: Callable[[Any, Any], bool]) -> _Compile:
    def compile_values(values: _Values) -> _Fits:
        wanted = values.parsed(parse, what)

        def fits(value: str, context: Context) -> bool:
            found = parse(value)
            if found is not None:
                for one in wanted:  # half the time of any(), as below
                    if compare(found, one):
                        return True
            return False

        return fits

    return compile_values


_NUMBER = re.compile(r"[+-]?(?:\d{1,400}(?:\.\d{0,400})?|\.\d{1,400})(?:[eE][+-]?\d{1,4})?", re.ASCII)


@lru_cache(maxsize=256)
def _number(text: str) -> Decimal | None:
    return Decimal(text) if _NUMBER.fullmatch(text) else None


# https://www.w3.org/TR/NOTE-datetime
_DATE = re.compile(
    r"(\d{4})(?:-(\d\d)(?:-(\d\d)(?:T(\d\d):(\d\d)(?::(\d\d)(?:\.(\d{1,9}))?)?(Z|[+-]\d\d:?\d\d)?)?)?)?", re.ASCII
)
_EPOCH = re.compile(r"-?\d{1,13}(?:\.\d{1,9})?", re.ASCII)
_BEGINNING = datetime(1970, 1, 1, tzinfo=UTC)


@lru_cache(maxsize=256)
def _moment(text: str) -> Decimal | None:
    """Seconds since 1970 of an ISO 8601 time or of epoch seconds; four digits are a year."""
    match = _DATE.fullmatch(text)
    if match is None:
        return Decimal(text) if _EPOCH.fullmatch(text) else None
    *numbers, fraction, zone = match.groups()
    year, month, day, hour, minute, second = (
        int(number) if number else least for number, least in zip(numbers, (1, 1, 1, 0, 0, 0), strict=True)
    )
    try:
        moment = datetime(year, month, day, hour, minute, second, tzinfo=UTC) - _offset(zone)
    except (ValueError, OverflowError):
        return None
    since = moment - _BEGINNING
    return Decimal(since.days * 86_400 + since.seconds) + Decimal(f"0.{fraction or 0}")


def _offset(zone: str | None) -> timedelta:
    if zone is None or zone == "Z":
        return timedelta()
    digits = zone[1:].replace(":", "")
    offset = timedelta(hours=int(digits[:2]), minutes=int(digits[2:]))
    return -offset if zone[0] == "-" else offset


_Network = tuple[int, int, int]  # IP version, bits that the prefix leaves out, the number before them


@lru_cache(maxsize=1024)
def _address(text: str) -> tuple[int, int] | None:
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    return address.version, int(address)


def _network(text: str) -> _Network | None:
    try:
        network = ipaddress.ip_network(text, strict=False)
    except ValueError:
        return None
    shift = network.max_prefixlen - network.prefixlen
    return network.version, shift, int(network.network_address) >> shift


def _in_network(values: _Values) -> _Fits:
    networks = values.parsed(_network, "IP address or range such as 203.0.113.0/24")

    def fits(value: str, context: Context) -> bool:
        address = _address(value)
        if address is None:
            return False
        version, number = address
        for of, shift, prefix in networks:  # noqa: SIM110
            if version == of and number >> shift == prefix:
                return True
        return False

    return fits


def _bytes(text: str) -> bytes | None:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return None


def _truth(values: _Values) -> _Fits:
    for index, one in enumerate(values.templates()):
        if not one.has_variables and (one.text({}) or "").lower() not in ("true", "false"):
            raise FaultError((*values.path, index), f"{values.texts[index][:200]!r} is neither true nor false.")
    return _equal_ignoring_case(values)


def _nothing(values: _Values) -> _Fits:
    _truth(_Values(values.texts, False, values.path))
    return lambda value, context: False


_COMPARISONS: dict[str, Callable[[Any, Any], bool]] = {
    "Equals": eq,
    "LessThan": lt,
    "LessThanEquals": le,
    "GreaterThan": gt,
    "GreaterThanEquals": ge,
}
_POSITIVE: dict[str, _Compile] = {
    "StringEquals": _equal,
    "StringEqualsIgnoreCase": _equal_ignoring_case,
    "StringLike": _like,
    **{f"Numeric{name}": _compared(_number, "number", compare) for name, compare in _COMPARISONS.items()},
    **{
        f"Date{name}": _compared(_moment, "date such as 2026-01-31T12:00:00Z", compare)
        for name, compare in _COMPARISONS.items()
    },
    "Bool": _truth,
    "BinaryEquals": _compared(_bytes, "base64", eq),
    "IpAddress": _in_network,
    "ArnEquals": _arn_like,
    "ArnLike": _arn_like,
}
# Name of the negated operator: the one that it negates.
_NEGATED = {
    "StringNotEquals": "StringEquals",
    "StringNotEqualsIgnoreCase": "StringEqualsIgnoreCase",
    "StringNotLike": "StringLike",
    "NumericNotEquals": "NumericEquals",
    "DateNotEquals": "DateEquals",
    "NotIpAddress": "IpAddress",
    "ArnNotEquals": "ArnEquals",
    "ArnNotLike": "ArnLike",
}


@dataclass(frozen=True)
class _Operator:
    compile: _Compile
    negated: bool
    if_exists: bool
    quantifier: str  # "", ForAllValues, ForAnyValue
    is_null: bool

    def holds(self, key: str, fits: _Fits, texts: tuple[str, ...], is_denial: bool) -> Holds:
        """key: in lower case."""
        if self.is_null:
            return _null(key, texts)
        if self.quantifier:
            return self._of_several(key, fits, is_denial)
        return self._of_one(key, fits, is_denial)

    def _of_one(self, key: str, fits: _Fits, is_denial: bool) -> Holds:
        negated, without = self.negated, self.negated or self.if_exists

        def holds(context: Context) -> bool:
            value = context.get(key)
            if value.__class__ is str:
                return fits(value, context) is not negated
            if value is None:
                return without
            if isinstance(value, Several):
                # Which of them AWS would take is not known. An Allow needs all of them, a Deny one.
                return (any if is_denial else all)(fits(one, context) is not negated for one in value)
            return False  # a key of several values needs a set operator, also for a negated one

        return holds

    def _of_several(self, key: str, fits: _Fits, is_denial: bool) -> Holds:
        negated, of_all = self.negated, self.quantifier == "ForAllValues"
        # Without a value ForAllValues holds and ForAnyValue does not, whether negated or not.
        without = of_all or self.if_exists

        def holds(context: Context) -> bool:
            value = context.get(key)
            values = (value,) if isinstance(value, str) else value
            if isinstance(values, Unusable):
                return is_denial
            if not values or not any(values):
                return without  # empty texts are a "null data set", as none are
            for one in values:
                if (fits(one, context) is not negated) is not of_all:
                    return not of_all
            return of_all

        return holds


def _null(key: str, texts: tuple[str, ...]) -> Holds:
    wanted = frozenset(text.lower() for text in texts)
    if_absent, if_there = "true" in wanted, "false" in wanted
    return lambda context: if_absent if context.get(key) is None else if_there


def _operator(name: str, path: Path) -> _Operator:
    quantifier, colon, base = name.rpartition(":")
    if base == "Null" and not colon:
        return _Operator(_nothing, False, False, "", True)
    simple = base.removesuffix("IfExists")
    compile_values = _POSITIVE.get(_NEGATED.get(simple, simple))
    if compile_values is None or (colon and quantifier not in ("ForAllValues", "ForAnyValue")):
        detail = f"There is no condition operator {name[:100]!r}."
        if simple == "Null":
            detail += " Null stands by itself, without IfExists or a set operator."
        raise FaultError(path, detail)
    return _Operator(compile_values, simple in _NEGATED, simple != base, quantifier, False)
