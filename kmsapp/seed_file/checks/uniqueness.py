"""Of which there may be one only."""

from __future__ import annotations

from collections.abc import Hashable, Iterable

from kmsapp.seed_file.places import Place, Problems


def require(found: Iterable[tuple[Hashable, Place, str]], problems: Problems) -> None:
    """Note each that is there already.

    found: what must differ, where it stands, and what it is called in the sentence: "the user name alice".
    """
    first: dict[Hashable, Place] = {}
    for what, place, name in found:
        if what in first:
            problems.add(place, f"{name} is taken, in line {first[what].line}. Choose another one.")
        else:
            first[what] = place
