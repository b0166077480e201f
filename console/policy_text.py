"""Key policies as text: what is wrong with the JSON and where, and how it is shown."""

from __future__ import annotations

from dataclasses import dataclass

from django.utils.safestring import SafeString, mark_safe
from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers import JsonLexer

from kmsapp import shapes
from kmsapp.errors import ValidationException
from kmsapp.policy import documents
from kmsapp.policy.errors import SYNTAX, PolicyError


@dataclass(frozen=True)
class PolicyStatus:
    """What the status line below the editor says."""

    text: str
    is_valid: bool


def check(text: str) -> PolicyStatus:
    """Say whether KMS would take `text` as a key policy, and else why not and where.

    A statement without Action or Resource is AWS's exception: the API takes it, though it has no effect, the console
    does not. https://docs.aws.amazon.com/kms/latest/developerguide/key-policy-overview.html
    """
    if not text.strip():
        return PolicyStatus("Enter a key policy, or choose Reset policy.", False)
    try:
        document = documents.parse(text, documents.Kind.KEY)
        shapes.validate("kms", "CreateKey", {"Policy": text})
    except ValidationException:
        # AWS's sentence repeats the whole policy. Of its constraints only this one is left by now.
        sentence = (
            "A key policy can't have characters beyond U+00FF, such as typographic quotation marks. Replace them."
        )
        return PolicyStatus(sentence, False)
    except PolicyError as error:
        return PolicyStatus(_sentence(error), False)
    for statement in document.ineffective():
        lacking = "Resource" if statement.actions else "Action"
        sentence = f"Statement {statement.index + 1} has no {lacking}, and so no effect."
        return PolicyStatus(f"Line {statement.line}, column {statement.column}: {sentence}", False)
    return PolicyStatus("JSON is valid.", True)


def _sentence(error: PolicyError) -> str:
    """KMS's own words, unless they say only that there is an error; and the place, unless the text is too long."""
    if error.code == "LimitExceededException":
        return error.detail
    return str(error) if error.aws_message == SYNTAX else f"{error.aws_message} {error}"


def highlighted(text: str) -> SafeString:
    """Return the policy as HTML with classes only; Pygments escapes what it shows."""
    return mark_safe(highlight(text, JsonLexer(), HtmlFormatter(cssclass="code", wrapcode=True)))  # noqa: S308
