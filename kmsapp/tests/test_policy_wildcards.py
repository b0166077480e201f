"""Patterns with * and ?: what they match, and that the work grows with the value and no faster."""

from __future__ import annotations

import random
import re
import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kmsapp.policy import wildcards

MATCHES = {
    ("", ""): True,
    ("", "a"): False,
    ("*", ""): True,
    ("**", "abc"): True,
    ("?", ""): False,
    ("?", "a"): True,
    ("a*", "a"): True,
    ("a*", "ba"): False,
    ("*a", "ba"): True,
    ("*a", "ab"): False,
    ("a*a", "a"): False,
    ("a*a", "aa"): True,
    ("*?*", ""): False,
    ("*?*?", "ab"): True,
    ("a*b?c*d", "axxbxxbycd"): True,
    ("a*b?c*d", "axxbxxbycx"): False,
    ("*ab*ab*", "abab"): True,
    ("*ab*ab*", "abb"): False,
    ("*a?a*", "aabab"): True,
    ("*?a?*", "xa"): False,
    ("a.c", "abc"): False,
    ("[a]*", "[a]b"): True,
    ("a\n*", "a\nb\nc"): True,
    ("kms:GenerateDataKey*", "kms:GenerateDataKeyWithoutPlaintext"): True,
}


@pytest.mark.parametrize(("pattern", "value"), MATCHES, ids=[f"{pattern} on {value}" for pattern, value in MATCHES])
def test_a_pattern(pattern: str, value: str) -> None:
    assert wildcards.compile_text(pattern)(value) is MATCHES[pattern, value]


def test_a_literal_piece_has_no_wildcards() -> None:
    matches = wildcards.compile_pieces((("a*", True), ("*?", False), ("?", True)))
    assert matches("axx*?y") and not matches("axxbby")


def as_regular_expression(pattern: str) -> re.Pattern[str]:
    parts = {"*": ".*", "?": "."}
    return re.compile("".join(parts.get(character, re.escape(character)) for character in pattern), re.DOTALL)


@settings(max_examples=2000, deadline=None, derandomize=True, database=None)
@given(st.text("ab*?", max_size=12), st.text("abc", max_size=20))
def test_it_matches_what_a_regular_expression_does(pattern: str, value: str) -> None:
    expected = as_regular_expression(pattern).fullmatch(value) is not None
    assert wildcards.compile_text(pattern)(value) is expected


def steps(work: Callable[[], Any]) -> int:
    """Lines of wildcards.py that run, so that a slow machine does not matter."""
    count = 0

    def trace(frame: FrameType, event: str, argument: Any) -> Any:
        nonlocal count
        if frame.f_code.co_filename != wildcards.__file__:
            return None
        count += event == "line"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        work()
    finally:
        sys.settrace(before)
    return count


# A pattern of about n characters, and the character that a value of n is made of.
HOSTILE: dict[str, tuple[Callable[[int], str], str]] = {
    "*?*?": (lambda n: "*?" * (n // 2), "a"),
    "*?*? and a miss at the end": (lambda n: "*?" * (n // 4) + "b", "a"),
    "*a*a*a": (lambda n: "*a" * (n // 4) + "*b", "a"),
    "*aaaa": (lambda n: "*" + "a" * (n // 2) + "b*", "a"),
    "*a?a?a": (lambda n: "*" + "a?" * (n // 4) + "b*", "a"),
    "*a?b*a?b": (lambda n: "*a?b" * (n // 8), "a"),
    "????": (lambda n: "?" * n, "a"),
}


@pytest.mark.parametrize(("pattern", "letter"), HOSTILE.values(), ids=HOSTILE)
def test_work_grows_with_the_size_and_no_faster(pattern: Callable[[int], str], letter: str) -> None:
    def work(size: int) -> int:
        return steps(lambda: wildcards.compile_text(pattern(size))(letter * size))

    small, large = work(500), work(4000)
    assert large <= 8 * small + 200, f"{small} steps became {large}"
    assert large <= 40 * 4000


def test_ten_thousand_characters_against_two_thousand() -> None:
    count = steps(lambda: wildcards.compile_text("*?" * 5000)("a" * 2000))
    count += steps(lambda: wildcards.compile_text(("*?" * 1000 + "*a?b") * 4)("a" * 2000))
    assert count < 40 * 24_000
    print(f"{count} steps for 2 patterns of 8 to 10 kB")


def test_many_patterns_together_fit_what_one_of_them_fits() -> None:
    dice, fitted = random.Random(1992), 0  # noqa: S311 - not for secrets
    for _ in range(5_000):
        patterns = ["".join(dice.choices("ab*?", k=dice.randint(0, 7))) for _ in range(dice.randint(4, 9))]
        value = "".join(dice.choices("abc", k=dice.randint(0, 10)))
        alone = any(wildcards.compile_text(pattern)(value) for pattern in patterns)
        assert wildcards.compile_any(((pattern, True),) for pattern in patterns)(value) == alone, (patterns, value)
        fitted += alone
    assert 500 < fitted < 4_500
    print(f"5,000 sets of patterns, {fitted} fitted")


def test_asterisks_that_stand_for_themselves_stay_so_among_many() -> None:
    patterns = [((f"a?{number}", True), ("*", False)) for number in range(6)]
    matches = wildcards.compile_any(patterns)
    assert matches("ab3*") and not matches("ab3b") and not matches("ab9*")
