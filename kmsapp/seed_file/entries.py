"""What entries of a seed file have in common, and how the tables of their members are written.

An entry is a dataclass whose fields are the members it can have: the annotation says what the field holds when the file
is read, `member` what may be written, and both the reader and the reference work from it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, TypeVar

from kmsapp.seed_file.kinds import Kind, Text
from kmsapp.seed_file.places import Place

EntryType = TypeVar("EntryType", bound="Entry")
_KEY = "member"


@dataclass(frozen=True)
class Member:
    """A member of an entry, as the reference has it too."""

    name: str
    kind: Kind
    says: str  # what it is
    example: str  # a value, as YAML
    required: bool
    left_out: str  # what counts when it is left out


@dataclass(kw_only=True)
class Entry:
    """Something that is to be made."""

    noun: ClassVar[str]  # with its article
    place: Place
    places: dict[str, Place]  # of the values of members that were written

    def place_of(self, name: str) -> Place:
        """Where a member's value stands, or the entry if it was left out."""
        return self.places.get(name, self.place)


@dataclass(kw_only=True)
class OfAccount(Entry):
    """Something of an account."""

    account: str = ""  # replaced by the first account, where none was written


def member(
    kind: Kind, says: str, *, example: str, left_out: str = "", required: bool = False, default: Any = None
) -> Any:
    """A field of an entry. default: what it holds if the member is left out; a type, such as list, is called."""
    told = {_KEY: (kind, says, example, required, left_out)}
    if isinstance(default, type):
        return field(default_factory=default, metadata=told)
    return field(default=default, metadata=told)


def members_of(entry: type[Entry]) -> Mapping[str, Member]:
    """The members that such an entry can have, by name."""
    if entry not in _tables:
        told = {one.name: one.metadata[_KEY] for one in dataclasses.fields(entry) if _KEY in one.metadata}
        _tables[entry] = {name: Member(name, *rest) for name, rest in told.items()}
    return _tables[entry]


_tables: dict[type[Entry], Mapping[str, Member]] = {}


def nothing_at(place: Place) -> Text:
    """What a required text holds where it is missing or wrong, which has been said: whoever meets it says no more."""
    return Text.at("", place)
