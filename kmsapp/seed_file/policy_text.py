"""Policies in a seed file: a mapping, which becomes JSON, or JSON as a text; and where each part of one stands."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

import yaml

from kmsapp.policy import documents
from kmsapp.policy.documents import Document
from kmsapp.policy.errors import Path, PolicyError
from kmsapp.policy.json_text import line_and_column, offset_of
from kmsapp.seed_file import yaml_tree
from kmsapp.seed_file.kinds import At, Kind, shown
from kmsapp.seed_file.places import Place

_ACCOUNT = re.compile("[0-9]{12}")
_INTEGER = re.compile(r"-?(0|[1-9]\d*)", re.ASCII)
_FLOAT = re.compile(r"-?(0|[1-9]\d*)(\.\d+)?([eE][-+]?\d+)?", re.ASCII)


@dataclass(frozen=True)
class Policy:
    """A policy that is valid by itself."""

    text: str  # JSON, as it is stored
    document: Document
    at: At

    @property
    def place(self) -> Place:
        return self.at.place

    def place_of(self, path: Path) -> Place:
        """Where a part of the document stands, or the nearest part that it has."""
        return _place_of(self.at, self.text, path)


@dataclass(frozen=True)
class PolicyKind(Kind):
    """A policy of one of the four kinds."""

    kind: documents.Kind
    noun: str = "a policy, as a mapping or as JSON in a text"

    def read(self, at: At) -> Policy | None:
        text = _json(at)
        if text is None:
            return None
        try:
            return Policy(text, documents.parse(text, self.kind), at)
        except PolicyError as error:
            at.file.problems.add(*_told(at, text, error))
            return None


def _told(at: At, text: str, error: PolicyError) -> tuple[Place, str]:
    """Where a mistake stands, and what it is."""
    if not isinstance(at.node, yaml.ScalarNode):
        return _in_mapping(at, error.path), error.detail
    path = _spelled(at.path, error.path)
    place = _in_text(at, error.line, error.column)
    if place is not None:
        return Place(place.line, place.column, path), error.detail
    where = f"It is in line {error.line}, column {error.column} of the text."
    return Place(at.place.line, at.place.column, path), f"{error.detail} {where}"


def _json(at: At) -> str | None:
    """The policy as JSON; None, after the problems were noted, if it can't be one."""
    if isinstance(at.node, yaml.ScalarNode):
        return at.scalar(PolicyKind.noun)
    if not isinstance(at.node, yaml.MappingNode):
        at.members(PolicyKind.noun)
        return None
    before = len(at.file.problems)
    document = _value(at)
    if len(at.file.problems) > before:
        return None
    return json.dumps(document, indent=2, ensure_ascii=False)


def _value(at: At) -> Any:
    if isinstance(at.node, yaml.MappingNode):
        members = at.members("a mapping") or {}
        return {name: _value(at.member(name, value)) for name, (_, value) in members.items()}
    if isinstance(at.node, yaml.SequenceNode):
        return [_value(item) for item in at.items("a list") or []]
    return _scalar(at)


def _scalar(at: At) -> str | bool | int | float:
    """As JSON has it, except that a date is a text (Version: 2012-10-17) and that twelve digits are an account ID."""
    value = at.scalar("a text") or ""
    if yaml_tree.is_truth_value(at.node):
        if value in ("true", "false"):
            return value == "true"
        at.wrong(f'{shown(value)} is a truth value to some and a text to others. Write true or false, or "{value}".')
    if yaml_tree.is_number(at.node) and not _ACCOUNT.fullmatch(value):
        if _INTEGER.fullmatch(value):
            return int(value)
        if _FLOAT.fullmatch(value):
            return float(value)
    return value


def _place_of(at: At, text: str, path: Path) -> Place:
    if isinstance(at.node, yaml.ScalarNode):
        place = _in_text(at, *line_and_column(text, offset_of(text, path))) or at.place
        return Place(place.line, place.column, _spelled(at.path, path))
    return _in_mapping(at, path)


def _in_mapping(at: At, path: Path) -> Place:
    place = at.place
    for step in path:
        if isinstance(at.node, yaml.MappingNode):
            found = yaml_tree.members(at.node, at.path, at.file.problems).get(str(step))
            if found is None:
                break
            name, value = found
            at = at.member(str(step), value)
            place = yaml_tree.place_of(name, at.path)
        elif isinstance(at.node, yaml.SequenceNode) and isinstance(step, int) and step < len(at.node.value):
            at = At(at.node.value[step], place.item(step), at.file)
            place = at.place
        else:
            break
    return place


def _in_text(at: At, line: int, column: int) -> Place | None:
    """Where a line and a column, both from 1, of a text are in the file; None if that is not plain to see."""
    start, lines = at.place, at.file.lines
    of_text, style = str(at.node.value).split("\n"), getattr(at.node, "style", None)
    if style == "|":
        number = start.line + line  # the first line of the text is the one after the |
        written, of_line = lines[number - 1] if number <= len(lines) else "", of_text[line - 1]
        if written.endswith(of_line):
            return Place(number, len(written) - len(of_line) + column, at.path)
    in_quotes = style in ("'", '"')
    begins = start.column - 1 + in_quotes
    if line == 1 and lines[start.line - 1][begins:].startswith(of_text[0]):
        return Place(start.line, begins + column, at.path)
    return None


def _spelled(path: str, inner: Path) -> str:
    return path + "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in inner)
