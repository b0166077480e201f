"""Policies as text: what is wrong with the JSON and where, and how it is shown."""

from __future__ import annotations

from dataclasses import dataclass

from django.utils.safestring import SafeString, mark_safe
from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers import JsonLexer

from kmsapp import shapes
from kmsapp.errors import ValidationException
from kmsapp.policy.documents import Kind, parse
from kmsapp.policy.errors import PolicyError

LONGEST_LINE = 120  # characters of a line that are shown beside what is wrong in it
# AWS's sentence for it repeats the whole policy.
CHARACTERS = "A key policy can't have characters beyond U+00FF, such as typographic quotation marks. Replace them."
EMPTY = {Kind.KEY: "Enter a key policy.", Kind.TRUST: "Enter a trust policy."}


@dataclass(frozen=True)
class PolicyStatus:
    """What the status line below the editor says."""

    text: str
    is_valid: bool
    line: int = 0  # from 1; 0: nowhere in particular
    excerpt: str = ""  # that line

    @property
    def line_shown(self) -> str:
        """The line as the editor has it: 7 | "Effect": "Alow"."""
        return f"{self.line} | {self.excerpt}" if self.line else ""


def check(text: str, kind: Kind = Kind.KEY) -> PolicyStatus:
    """Say whether AWS would take `text` as a policy of this kind, and else what is wrong at which line and column."""
    if not text.strip():
        return PolicyStatus(EMPTY.get(kind, "Enter a policy."), False)
    try:
        document = parse(text, kind)
        if kind is Kind.KEY:
            shapes.validate("kms", "CreateKey", {"Policy": text})
    except PolicyError as error:
        return PolicyStatus(str(error), False, error.line, _line(text, error.line))
    except ValidationException:
        return PolicyStatus(CHARACTERS, False, *_beyond_latin_1(text))
    if without_effect := document.ineffective():
        number = without_effect[0].index + 1
        return PolicyStatus(f"JSON is valid. Statement {number} has no effect: it lacks Action or Resource.", True)
    return PolicyStatus("JSON is valid.", True)


def _line(text: str, number: int) -> str:
    lines = text.split("\n")
    return lines[number - 1].strip()[:LONGEST_LINE] if 0 < number <= len(lines) else ""


def _beyond_latin_1(text: str) -> tuple[int, str]:
    """The first line that has such a character."""
    for number, line in enumerate(text.split("\n"), 1):
        if any(ord(letter) > 0xFF for letter in line):
            return number, line.strip()[:LONGEST_LINE]
    return 0, ""


def highlighted(text: str) -> SafeString:
    """Return the policy as HTML with classes only; Pygments escapes what it shows."""
    return mark_safe(highlight(text, JsonLexer(), HtmlFormatter(cssclass="code", wrapcode=True)))  # noqa: S308
