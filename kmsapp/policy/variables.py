"""Policy variables: ${aws:username}, ${aws:PrincipalTag/team, 'company-wide'}, and ${*}, ${?}, ${$} for themselves.

Only policies of version 2012-10-17 have them. A variable without a value and without a default makes the text that it
stands in match nothing. A value never acts as a pattern: an asterisk in a tag is an asterisk.
https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_variables.html
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from kmsapp.policy.wildcards import Piece

Context = Mapping[str, str | Sequence[str]]  # condition keys in lower case, of which the absent ones are left out


class FoldedContext:
    """What a Context is that nobody has to fold, because it may be built at the first question.

    No abstract base class: whether something is one of those takes a function of Python's to find out.
    """

    @property
    def of_key_policy(self) -> Context:
        """What the key policy is asked with: without the condition keys that work in IAM policies only."""
        raise NotImplementedError


_VARIABLE = re.compile(r"\$\{(?:([*?$])|([^{}$,']+)(?:,\s*'([^']*)')?)\}")


@dataclass(frozen=True)
class _Variable:
    key: str  # in lower case
    default: str | None

    def value(self, context: Context) -> str | None:
        # A key of several values is no variable, and an empty value is none.
        found = context.get(self.key)
        return found if isinstance(found, str) and found else self.default


@dataclass(frozen=True)
class Template:
    """A text with variables in it."""

    parts: tuple[Piece | _Variable, ...]

    @property
    def has_variables(self) -> bool:
        return any(isinstance(part, _Variable) for part in self.parts)

    def pieces(self, context: Context) -> tuple[Piece, ...] | None:
        """The text as a pattern, with each value literal; None if a variable has no value."""
        pieces: list[Piece] = []
        for part in self.parts:
            if not isinstance(part, _Variable):
                pieces.append(part)
                continue
            value = part.value(context)
            if value is None:
                return None
            pieces.append((value, False))
        return tuple(pieces)

    def text(self, context: Context) -> str | None:
        """The text where * and ? mean themselves; None if a variable has no value."""
        if len(self.parts) == 1 and isinstance(self.parts[0], _Variable):
            return self.parts[0].value(context)
        pieces = self.pieces(context)
        return None if pieces is None else "".join(text for text, _ in pieces)


def template(text: str, *, enabled: bool, start: int = 0) -> Template:
    """enabled: whether the policy's version has variables; in others they are text like any other, as before start."""
    if not enabled or "${" not in text:
        return Template(((text, True),))
    parts: list[Piece | _Variable] = []
    end = 0
    for match in _VARIABLE.finditer(text, start):
        parts.append((text[end : match.start()], True))
        special, key, default = match.groups()
        parts.append((special, False) if special else _Variable(key.strip().lower(), default))
        end = match.end()
    parts.append((text[end:], True))
    return Template(tuple(part for part in parts if not isinstance(part, tuple) or part[0]))
