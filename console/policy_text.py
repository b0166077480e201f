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
from kmsapp.policy.errors import SYNTAX, PolicyError

LONGEST_LINE = 120  # characters of a line that are shown beside what is wrong in it
# AWS's sentence for it repeats the whole policy. Of its constraints only this one is left by then.
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
        return f"{self.line} | {self.excerpt}"


def check(text: str, kind: Kind = Kind.KEY) -> PolicyStatus:
    """Say whether AWS would take `text` as a policy of this kind, and else why not and where.

    A key policy's statement without Action or Resource is AWS's exception: the API takes it, though it has no effect,
    the console does not. https://docs.aws.amazon.com/kms/latest/developerguide/key-policy-overview.html
    """
    if not text.strip():
        return PolicyStatus(EMPTY.get(kind, "Enter a policy."), False)
    try:
        document = parse(text, kind)
        if kind is Kind.KEY:
            shapes.validate("kms", "CreateKey", {"Policy": text})
    except ValidationException:
        return PolicyStatus(CHARACTERS, False, *_beyond_latin_1(text))
    except PolicyError as error:
        return _wrong(text, error)
    for statement in document.ineffective():
        lacking = "Resource" if statement.actions else "Action"
        sentence = f"Statement {statement.index + 1} has no {lacking}, and so no effect."
        place = f"Line {statement.line}, column {statement.column}"
        return PolicyStatus(f"{place}: {sentence}", False, statement.line, _line(text, statement.line))
    return PolicyStatus("JSON is valid.", True)


def _wrong(text: str, error: PolicyError) -> PolicyStatus:
    """AWS's own words, unless they say only that there is an error; and the place, unless the text is too long."""
    if error.code == "LimitExceededException":
        return PolicyStatus(error.detail, False)
    sentence = str(error) if error.aws_message == SYNTAX else f"{error.aws_message} {error}"
    return PolicyStatus(sentence, False, error.line, _line(text, error.line))


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
