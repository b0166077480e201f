"""Where something stands in a seed file, and all that is wrong with one."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass

LONGEST_NAME = 40  # characters of one that is no plain name
_PLAIN = re.compile(r"[\w:/*-]{1,64}", re.ASCII)


@dataclass(frozen=True, order=True)
class Place:
    """A place in the file. Lines and columns are from 1, in characters."""

    line: int
    column: int
    path: str = ""  # of names and list positions: keys[2].aliases[0]; empty: the file as a whole

    def member(self, name: str) -> str:
        """The path of a member of what stands here."""
        if not _PLAIN.fullmatch(name):
            return f"{self.path}[{json.dumps(name[:LONGEST_NAME])}]"
        return f"{self.path}.{name}" if self.path else name

    def below(self, name: str) -> Place:
        """For a member that was left out: this place, under its path."""
        return Place(self.line, self.column, self.member(name))

    def item(self, position: int) -> str:
        """The path of an element, counted from 0, of the list that stands here."""
        return f"{self.path}[{position}]"


class Problems:
    """What is wrong with a file, each thing once."""

    def __init__(self) -> None:
        self._found: dict[tuple[Place, str], None] = {}

    def add(self, place: Place, sentence: str) -> None:
        """sentence: what is wrong, and what would be right. Never a secret."""
        self._found[place, sentence] = None

    def are_at(self, place: Place) -> bool:
        """Whether something is wrong at that very place already."""
        return any(found == place for found, _ in self._found)

    def __len__(self) -> int:
        return len(self._found)

    def require_none(self) -> None:
        """Raises: SeedFileError."""
        if self._found:
            raise SeedFileError(self._found)


class SeedFileError(Exception):
    """A file of which nothing is made. problems: places and sentences, in the order of the file."""

    def __init__(self, problems: Iterable[tuple[Place, str]]):
        self.problems = sorted(problems)
        super().__init__("\n".join(self.lines("seed file")))

    def lines(self, file_name: str) -> list[str]:
        """As compilers write them, so that editors find the place: seed.yaml:12:5: keys[2].alias: …"""
        return [
            f"{file_name}:{place.line}:{place.column}: {f'{place.path}: ' if place.path else ''}{sentence}"
            for place, sentence in self.problems
        ]
