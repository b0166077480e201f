"""From nodes to entries, by the tables of members."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from kmsapp.seed_file.entries import Entry, EntryType, Member, members_of, nothing_at
from kmsapp.seed_file.kinds import At, Kind, TextKind, one_of

IGNORED = "x-"  # how names at the top begin that hold nothing but anchors


@dataclass(frozen=True)
class EntryKind(Kind):
    """A mapping that is an entry of its own."""

    entry: type[Entry]
    noun: str = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "noun", f"the members of {self.entry.noun}")

    def read(self, at: At) -> Entry | None:
        return read_entry(self.entry, at)


def read_entry(kind: type[EntryType], at: At, *, ignored: str = "") -> EntryType | None:
    """The entry; None if there is no mapping. Wrong members count as left out, once that was noted.

    ignored: names that begin with it are no members.
    """
    written = at.members(f"the members of {kind.noun}")
    if written is None:
        return None
    table = members_of(kind)
    entry = kind(place=at.place, places={})
    for name, (name_node, value_node) in written.items():
        if name in table:
            _read_member(entry, table[name], at.member(name, value_node))
        elif not (ignored and name.startswith(ignored)):
            At(name_node, at.place.member(name), at.file).wrong(_unknown(name, kind, table))
    for name, one in table.items():
        if one.required and name not in written:
            at.wrong(f"{name} is missing. Write {one.kind.noun}, as in {name}: {one.example}.")
        if one.required and isinstance(one.kind, TextKind) and getattr(entry, name) is None:
            setattr(entry, name, nothing_at(at.place))
    return entry


def _read_member(entry: Entry, one: Member, at: At) -> None:
    entry.places[one.name] = at.place
    value: Any = one.kind.read(at)
    if value is not None:
        setattr(entry, one.name, value)


def _unknown(name: str, kind: type[Entry], table: Mapping[str, Member]) -> str:
    return f"{kind.noun.capitalize()} has no member {name}. {one_of(name, table)}"
