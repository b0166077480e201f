"""Patterns of the models, which are in Java's dialect, as Python's: whole values, ASCII classes, Unicode properties."""

from __future__ import annotations

import functools
import itertools
import re
import sys
import unicodedata
from collections.abc import Iterator


@functools.cache
def _classes() -> dict[str, str]:
    """General category (L, N, Z) -> its ranges, for use inside a character class."""
    points: dict[str, list[int]] = {letter: [] for letter in "LNZ"}
    for point in range(sys.maxunicode + 1):
        letter = unicodedata.category(chr(point))[0]
        if letter in points:
            points[letter].append(point)
    return {
        letter: "".join(f"\\U{first:08x}-\\U{last:08x}" for first, last in _ranges(found))
        for letter, found in points.items()
    }


def _ranges(points: list[int]) -> Iterator[tuple[int, int]]:
    for _, group in itertools.groupby(enumerate(points), lambda pair: pair[1] - pair[0]):
        run = [point for _, point in group]
        yield run[0], run[-1]


@functools.cache
def _compiled(pattern: str) -> re.Pattern[str]:
    text = re.sub(r"\\p\{([LNZ])\}", lambda found: _classes()[found[1]], pattern)
    # Java's dot stops at more line ends than Python's. No class of the models has a dot before a quantifier.
    text = re.sub(r"(?<!\\)\.(?=[*+])", "[^\\\\n\\\\r\\\\x85\\\\u2028\\\\u2029]", text)
    return re.compile(text, re.ASCII)


def matches(pattern: str, value: str) -> bool:
    """Whether the whole value is as the pattern says."""
    return _compiled(pattern).fullmatch(value) is not None
