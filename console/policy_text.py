"""Key policies as text: what is wrong with the JSON and where, and how it is shown."""

from __future__ import annotations

import json
from dataclasses import dataclass

from django.utils.safestring import SafeString, mark_safe
from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers import JsonLexer

# https://docs.aws.amazon.com/kms/latest/APIReference/API_CreateKey.html, Policy.
MAX_POLICY_BYTES = 32 * 1024


@dataclass(frozen=True)
class PolicyStatus:
    """What the status line below the editor says."""

    text: str
    is_valid: bool


def check(text: str) -> PolicyStatus:
    """Say whether `text` is a JSON object, and else where it stops being one."""
    if not text.strip():
        return PolicyStatus("Enter a key policy, or choose Reset policy.", False)
    if len(text.encode()) > MAX_POLICY_BYTES:
        return PolicyStatus(f"A key policy can have up to {MAX_POLICY_BYTES:,} bytes. Shorten it.", False)
    try:
        document = json.loads(text, parse_constant=_refuse_constant)
    except json.JSONDecodeError as error:
        return PolicyStatus(f"Line {error.lineno}, column {error.colno}: {_sentence(error.msg)}", False)
    except RecursionError:
        return PolicyStatus("The JSON is nested too deeply for a key policy.", False)
    except ValueError as error:
        return PolicyStatus(str(error), False)
    if not isinstance(document, dict):
        return PolicyStatus("Line 1, column 1: A key policy is a JSON object. Begin it with {.", False)
    return PolicyStatus("JSON is valid.", True)


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON. Use a number or a text.")


def _sentence(message: str) -> str:
    return message[:1].upper() + message[1:].rstrip(".") + "."


def highlighted(text: str) -> SafeString:
    """Return the policy as HTML with classes only; Pygments escapes what it shows."""
    return mark_safe(highlight(text, JsonLexer(), HtmlFormatter(cssclass="code", wrapcode=True)))  # noqa: S308
