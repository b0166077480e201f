"""What a member of a seed file can be: how its node is read, what is said of a wrong one, what the reference calls it.

A reader answers None for what is wrong, after it has said so: the member then counts as left out, and reading goes on.
"""

from __future__ import annotations

import difflib
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import yaml

from kmsapp import service_models, shapes
from kmsapp.seed_file import yaml_tree
from kmsapp.seed_file.places import Place, Problems
from kmsapp.seed_file.yaml_tree import Node

LONGEST_SHOWN = 80  # characters of a wrong value


class Text(str):
    """A text of the file, and where it stands."""

    __slots__ = ("place",)
    place: Place

    @classmethod
    def at(cls, value: str, place: Place) -> Text:
        text = cls(value)
        text.place = place
        return text


@dataclass(frozen=True)
class File:
    """The file that is being read."""

    lines: list[str]
    problems: Problems


@dataclass(frozen=True)
class At:
    """A node that is being read."""

    node: Node
    path: str
    file: File

    @property
    def place(self) -> Place:
        return yaml_tree.place_of(self.node, self.path)

    def wrong(self, sentence: str) -> None:
        self.file.problems.add(self.place, sentence)

    def members(self, expected: str) -> yaml_tree.Members | None:
        """The members of a mapping; None, and a problem, if it is none. expected: what it should be."""
        if not isinstance(self.node, yaml.MappingNode):
            self._is_no(expected)
            return None
        return yaml_tree.members(self.node, self.path, self.file.problems)

    def items(self, expected: str) -> list[At] | None:
        """The elements of a list; None, and a problem, if it is none."""
        if not isinstance(self.node, yaml.SequenceNode):
            self._is_no(expected)
            return None
        return [At(node, self.place.item(index), self.file) for index, node in enumerate(self.node.value)]

    def scalar(self, expected: str) -> str | None:
        """The text as it was written; None, and a problem, if there is none."""
        if not isinstance(self.node, yaml.ScalarNode) or yaml_tree.is_null(self.node):
            self._is_no(expected)
            return None
        return str(self.node.value)

    def member(self, name: str, node: Node) -> At:
        return At(node, self.place.member(name), self.file)

    def _is_no(self, expected: str) -> None:
        if yaml_tree.is_null(self.node):
            self.wrong(f"There is no value. Write {expected}.")
        else:
            kinds = {yaml.MappingNode: "a mapping", yaml.SequenceNode: "a list", yaml.ScalarNode: "a text"}
            self.wrong(f"This is {kinds[type(self.node)]}. Write {expected}.")


class Kind(ABC):
    """A kind of value."""

    noun: str  # as the reference has it, with its article

    @abstractmethod
    def read(self, at: At) -> Any:
        """The value; None, after the problem was noted, if it is wrong."""


@dataclass(frozen=True)
class TextKind(Kind):
    """A text. What makes a right one is AWS's own shape, a pattern, a function, or several of them."""

    noun: str
    rule: str  # what to write: a sentence
    shape: str = ""  # of AWS's model: kms.AliasNameType
    pattern: str = ""
    fits: Callable[[str], bool] | None = None
    is_secret: bool = False

    def read(self, at: At) -> Text | None:
        value = at.scalar(self.noun)
        if value is None:
            return None
        if not self._is_right(value):
            at.wrong(f"This is not {self.noun}. {self.rule}" if self.is_secret else f"{self._no(value)}. {self.rule}")
            return None
        return Text.at(value, at.place)

    def _no(self, value: str) -> str:
        article, _, noun = self.noun.partition(" ")
        return f"{shown(value)} is no {noun}" if article in ("a", "an") else f"{shown(value)} is not {self.noun}"

    def _is_right(self, value: str) -> bool:
        if self.shape:
            service, _, name = self.shape.partition(".")
            if not shapes.fits(service_models.service(service).shape(name), value):
                return False
        if self.pattern and not re.fullmatch(self.pattern, value, re.ASCII):
            return False
        return self.fits is None or self.fits(value)


@dataclass(frozen=True)
class Choice(Kind):
    """One of a few texts."""

    noun: str
    values: tuple[str, ...]

    def read(self, at: At) -> Text | None:
        value = at.scalar(f"one of {', '.join(self.values)}")
        if value is None:
            return None
        if value not in self.values:
            at.wrong(f"{shown(value)} is no {self.noun.partition(' ')[2]}. {one_of(value, self.values)}")
            return None
        return Text.at(value, at.place)


class Flag(Kind):
    """true or false, and no other word that YAML 1.1 takes for them."""

    noun = "true or false"

    def read(self, at: At) -> bool | None:
        value = at.scalar(self.noun)
        if value is None:
            return None
        if value not in ("true", "false"):
            at.wrong(f"{shown(value)} is neither true nor false. Write true or false.")
            return None
        return value == "true"


@dataclass(frozen=True)
class Whole(Kind):
    """A whole number of a range."""

    noun: str
    lowest: int
    highest: int

    def read(self, at: At) -> int | None:
        value = at.scalar(self.noun)
        if value is None:
            return None
        # Not int(): 1_000 and 0o17 are numbers to YAML or to Python, and typing errors to people.
        if not re.fullmatch(r"0|-?[1-9]\d{0,17}", value, re.ASCII) or not self.lowest <= int(value) <= self.highest:
            at.wrong(f"{shown(value)} is out of range. Write {self.noun}.")
            return None
        return int(value)


@dataclass(frozen=True)
class ListOf(Kind):
    """A list of values of one kind."""

    each: Kind
    noun: str

    def read(self, at: At) -> list[Any] | None:
        items = at.items(self.noun)
        if items is None:
            return None
        return [value for value in map(self.each.read, items) if value is not None]


@dataclass(frozen=True)
class MapOf(Kind):
    """A mapping from texts to values of one kind."""

    names: TextKind
    each: Kind
    noun: str

    def read(self, at: At) -> dict[Text, Any] | None:
        members = at.members(self.noun)
        if members is None:
            return None
        found: dict[Text, Any] = {}
        for name, (name_node, value_node) in members.items():
            inner = at.member(name, value_node)
            key = self.names.read(At(name_node, inner.path, at.file))
            value = self.each.read(inner)
            if key is not None and value is not None:
                found[key] = value
        return found


def shown(value: str) -> str:
    """A wrong value as a sentence has it: on one line, and not endless."""
    cut = value if len(value) <= LONGEST_SHOWN else f"{value[:LONGEST_SHOWN]}…"
    return (
        '"' + cut.encode("unicode_escape").decode().replace('"', '\\"') + '"' if not cut.isprintable() else f'"{cut}"'
    )


def one_of(value: str, possible: Iterable[str]) -> str:
    """What would be right instead of a wrong value: the nearest, if one is near, else all of the possible ones."""
    possible = sorted(possible)
    near = nearest(value, possible)
    if near:
        return f"Did you mean {near}?"
    return (
        f"Write {' or '.join((', '.join(possible[:-1]), possible[-1]))}."
        if len(possible) > 1
        else (f"Write {possible[0]}." if possible else "There is none to choose.")
    )


def nearest(value: str, possible: Iterable[str]) -> str:
    """The one that was probably meant, "" if none is near. CamelCase and dashes are taken for snake_case."""
    by_plain: Mapping[str, str] = {_plain(name): name for name in possible}
    found = difflib.get_close_matches(_plain(value), by_plain, n=1, cutoff=0.7)
    return by_plain[found[0]] if found else ""


def _plain(name: str) -> str:
    return re.sub("[-_ ]", "", name).lower()
