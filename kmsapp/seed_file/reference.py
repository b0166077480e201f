"""The tables of docs/seed-file.md, made from the tables of members. A test holds the page against them.

Whoever has changed a member brings the page up to date: `python -m kmsapp.seed_file.reference`.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from kmsapp.seed_file.entries import Entry, Member, members_of
from kmsapp.seed_file.file_entries import SeedFile
from kmsapp.seed_file.kinds import Choice, Kind, ListOf, MapOf, TextKind
from kmsapp.seed_file.reading import EntryKind

PAGE = Path(__file__).resolve().parents[2] / "docs" / "seed-file.md"
HEADING = "## Reference\n"  # on the page; the tables are all that follows
MOST_VALUES = 6  # of a choice that are all named


def up_to_date(page: str) -> str:
    """The page with the tables as they are now."""
    before, heading, _ = page.partition(HEADING)
    return f"{before}{heading}{tables()}"


def tables() -> str:
    """Markdown: a heading and a table for each kind of entry, in the order in which the file has them."""
    return "\n".join(_table(kind, paths) for kind, paths in _paths().items())


def _paths() -> dict[type[Entry], list[str]]:
    """Every kind of entry, with where it can stand."""
    found: dict[type[Entry], list[str]] = {SeedFile: []}
    for kind, path in _below(SeedFile, ""):
        found.setdefault(kind, []).append(path)
    return found


def _below(kind: type[Entry], path: str) -> Iterator[tuple[type[Entry], str]]:
    for member in members_of(kind).values():
        inner = entry_of(member.kind)
        if inner is not None:
            place = f"{path}.{member.name}".removeprefix(".") + ("[]" if isinstance(member.kind, ListOf) else "")
            yield inner, place
            yield from _below(inner, place)


def entry_of(kind: Kind) -> type[Entry] | None:
    """The kind of entry that a member holds, one or a list of them."""
    if isinstance(kind, ListOf):
        kind = kind.each
    return kind.entry if isinstance(kind, EntryKind) else None


def _table(kind: type[Entry], paths: list[str]) -> str:
    where = " and ".join(f"`{path}`" for path in paths) or "At the top"
    rows = [_row(member) for member in members_of(kind).values()]
    head = ["| member | what it is | what is taken | left out | example |", "|---|---|---|---|---|"]
    return "\n".join([f"### {where}", *head, *rows, ""])


def _row(member: Member) -> str:
    left_out = "**required**" if member.required else member.left_out
    example = "see below" if entry_of(member.kind) else f"`{member.example}`"
    return f"| `{member.name}` | {member.says} | {_taken(member.kind)} | {left_out} | {example} |"


def _taken(kind: Kind) -> str:
    if isinstance(kind, Choice) and len(kind.values) <= MOST_VALUES:
        return " or ".join(f"`{value}`" for value in kind.values)
    if isinstance(kind, TextKind):
        return f"{kind.noun}. {kind.rule}"
    if isinstance(kind, ListOf) and isinstance(kind.each, TextKind):
        return f"{kind.noun}. {kind.each.rule}"
    if isinstance(kind, MapOf) and isinstance(kind.each, TextKind):
        return f"{kind.noun}. Of keys: {kind.names.rule} Of values: {kind.each.rule}"
    return kind.noun


if __name__ == "__main__":
    PAGE.write_text(up_to_date(PAGE.read_text()))
