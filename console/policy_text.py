"""Key policies as text: what is wrong with the JSON and where, and how it is shown."""

from __future__ import annotations

from dataclasses import dataclass

from django.utils.safestring import SafeString, mark_safe
from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers import JsonLexer

from kmsapp import shapes
from kmsapp.errors import KmsError, ValidationException
from kmsapp.policy import documents


@dataclass(frozen=True)
class PolicyStatus:
    """What the status line below the editor says."""

    text: str
    is_valid: bool


def check(text: str) -> PolicyStatus:
    """Say whether KMS would take `text` as a key policy, and else why not; for JSON with line and column."""
    if not text.strip():
        return PolicyStatus("Enter a key policy, or choose Reset policy.", False)
    try:
        documents.require_valid(text)
        shapes.validate("kms", "CreateKey", {"Policy": text})
    except ValidationException:
        # AWS's sentence repeats the whole policy. Of its constraints only this one is left by now.
        sentence = (
            "A key policy can't have characters beyond U+00FF, such as typographic quotation marks. Replace them."
        )
        return PolicyStatus(sentence, False)
    except KmsError as error:
        return PolicyStatus(error.message, False)
    return PolicyStatus("JSON is valid.", True)


def highlighted(text: str) -> SafeString:
    """Return the policy as HTML with classes only; Pygments escapes what it shows."""
    return mark_safe(highlight(text, JsonLexer(), HtmlFormatter(cssclass="code", wrapcode=True)))  # noqa: S308
