"""Of which there may be one only."""

from __future__ import annotations

from collections.abc import Hashable, Iterable

from kmsapp.seed_file.places import Place, Problems

TAKEN = "is taken, in line {line}. Choose another one."
WRITTEN_TWICE = "is written twice; the first is in line {line}. Take one out."


def require(found: Iterable[tuple[Hashable, Place, str]], problems: Problems, *, sentence: str = TAKEN) -> None:
    """Note each that is there already.

    found: what must differ, where it stands, and what it is called, as the sentence begins: "The user name alice".
    """
    first: dict[Hashable, Place] = {}
    for what, place, name in found:
        if what in first:
            problems.add(place, f"{name} {sentence.format(line=first[what].line)}")
        else:
            first[what] = place
