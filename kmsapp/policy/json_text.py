"""JSON as policies are written in it: stricter than Python's reader, and with places.

Refused beyond JSON's own grammar: a member twice in one object, NaN and Infinity, lone surrogates. A number is kept as
the text it was written as, so none is too large. Places are found by a second pass, which runs only when one is asked
for.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator
from typing import Any, NoReturn

from kmsapp.policy.errors import SYNTAX, Path, PolicyError

# The closing quotation mark may be missing, so that what is no JSON takes no longer than what is.
_TOKEN = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"?|[{}\[\],:]|[^\s{}\[\],:"]+', re.DOTALL)
_OPENING, _CLOSING = ("{", "["), ("}", "]")
_MOST_DIGITS = 1000
# No part of a policy lies deeper than a value of a condition; what is deeper is wrong, and is found above it.
_DEEPEST_PLACE = 8
_NESTED_TOO_DEEPLY = 100


class Number(str):
    """A JSON number, as it was written."""

    __slots__ = ()


class _RefusedError(Exception):
    """Why the text is refused, and the token to look for."""

    def __init__(self, detail: str, token: str = "", *, twice: bool = False):
        super().__init__(detail)
        self.detail = detail
        self.token = token
        self.twice = twice


def load(text: str) -> Any:
    """The document: dicts, lists, strings, Numbers, booleans, None.

    Raises: PolicyError.
    """
    try:
        document = json.loads(
            text,
            object_pairs_hook=_object,
            parse_int=_number,
            parse_float=_number,
            parse_constant=_refuse_constant,
        )
    except json.JSONDecodeError as error:
        detail = f"The policy is not valid JSON: {error.msg}."
        raise _error(detail, error.lineno, error.colno) from error
    except _RefusedError as error:
        raise _error(error.detail, *line_and_column(text, _offset_of(text, error))) from error
    except RecursionError as error:
        raise _error("The policy is nested too deeply.", *line_and_column(text, _offset_of_depth(text))) from error
    _require_characters(text, document)
    return document


def line_and_column(text: str, offset: int) -> tuple[int, int]:
    """Both from 1; a tab is one column."""
    return text.count("\n", 0, offset) + 1, offset - text.rfind("\n", 0, offset)


def places(text: str) -> Iterator[tuple[Path, int]]:
    """Where each member's name and each list's element begins, of a text that is JSON."""
    open_parts: list[_Part] = []
    for match in _TOKEN.finditer(text):
        written, inner = match.group(), open_parts[-1] if open_parts else None
        if written in _CLOSING:
            open_parts.pop()
        elif written == "," and inner is not None:
            inner.go_on()
        elif written != ":":
            is_name = inner is not None and inner.awaits_name
            if inner is not None and is_name:
                inner.take_name(json.loads(written))
            if len(open_parts) <= _DEEPEST_PLACE and (inner is None or is_name or not inner.is_object):
                yield tuple(part.key for part in open_parts), match.start()
            if written in _OPENING:
                open_parts.append(_Part(is_object=written == "{"))


class _Part:
    """An object or a list that is open, and which of its members or elements is read."""

    def __init__(self, *, is_object: bool):
        self.is_object = self.awaits_name = is_object
        self.key: str | int = "" if is_object else 0

    def take_name(self, name: str) -> None:
        self.key, self.awaits_name = name, False

    def go_on(self) -> None:
        self.awaits_name = self.is_object
        if isinstance(self.key, int):
            self.key += 1


def offset_of(text: str, path: Path) -> int:
    """Where the path begins; of one that is not in the document, where its nearest part begins."""
    found = dict(reversed(list(places(text))))
    while path and path not in found:
        path = path[:-1]
    return found.get(path, 0)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        twice = next(name for name, times in Counter(name for name, _ in pairs).items() if times > 1)
        raise _RefusedError(f"{_shown(twice)} stands twice in one object.", twice, twice=True)
    return members


def _number(text: str) -> Number:
    if len(text) > _MOST_DIGITS:
        raise _RefusedError("The policy has a number that is too long.", text)
    return Number(text)


def _refuse_constant(name: str) -> NoReturn:
    raise _RefusedError(f"The policy is not valid JSON: {name} is no JSON value.", name)


def _require_characters(text: str, document: Any) -> None:
    """Refuse half a character: a lone surrogate, written as it is or as \\ud800."""
    try:
        text.encode()
        if "\\u" in text:
            json.dumps(document, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        # Of an escaped one the place in the text is not known; the escape itself is a good hint.
        offset = error.start if error.object == text else max(text.lower().find("\\ud"), 0)
        raise _error("The policy has half a character (a lone surrogate).", *line_and_column(text, offset)) from error


def _offset_of(text: str, error: _RefusedError) -> int:
    if not error.twice:
        return next((match.start() for match in _TOKEN.finditer(text) if match.group().startswith(error.token)), 0)
    seen: set[Path] = set()
    try:
        for path, offset in places(text):
            if path in seen and path[-1] == error.token:
                return offset
            seen.add(path)
    except (ValueError, IndexError):
        pass  # what follows the double is no JSON
    return 0


def _offset_of_depth(text: str) -> int:
    depth = 0
    for match in _TOKEN.finditer(text):
        depth += (match.group() in _OPENING) - (match.group() in _CLOSING)
        if depth > _NESTED_TOO_DEEPLY:
            return match.start()
    return 0


def _shown(name: str) -> str:
    return json.dumps(name[:60])


def _error(detail: str, line: int, column: int) -> PolicyError:
    return PolicyError(SYNTAX, detail, line, column, code="MalformedPolicyDocumentException")
