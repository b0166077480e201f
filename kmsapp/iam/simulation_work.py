"""How much work a simulation is, so that one request keeps no web worker for long.

Its policies have a total size, and a page of results ends early when it has cost enough: IAM may return fewer results
than MaxItems even when there are more. Work is counted and not timed, so the same call has the same pages everywhere.
A unit is about a microsecond of the slowest case; the weights are measured on texts made to be slow.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from kmsapp.errors import InvalidInputException
from kmsapp.policy.documents import Document, Statement

# AWS's service model bounds a policy (131,072 characters) and not how many there are.
MOST_CHARACTERS = 262_144
MOST_WORK = 500_000

_STATEMENT = 20.0  # asked for Deny, for Allow, for the boundary, and shown
_ACTION = 0.4  # a pattern of Action, compared with one action
_PATTERN = 0.6  # any other, compared with one value
_CHARACTER, _SLOW_CHARACTER = 0.001, 0.15  # of a value; the second where question marks are looked for one by one
_FILLED, _FILLED_CHARACTER = 25.0, 0.3  # a pattern with variables, compiled for each request, and what is filled in


def require_size(policies: Iterable[str]) -> None:
    """Refuse more policies than one call can read. Raises InvalidInputException."""
    total = sum(map(len, policies))
    if total > MOST_CHARACTERS:
        raise InvalidInputException(
            f"The policies to simulate have {total} characters together. They can have {MOST_CHARACTERS} at most."
        )


class Work:
    """What the tries of one call cost.

    context: the condition keys by lower-case names.
    """

    def __init__(self, documents: Sequence[Document], context: Mapping[str, str | Sequence[str]]) -> None:
        self._documents = documents
        self._context = context
        self._index = _ACTION * sum(len(one.actions) for document in documents for one in document.statements)
        self._of_conditions: dict[int, float] = {}
        self._filled = _FILLED + _FILLED_CHARACTER * max(map(_length, context.values()), default=0)

    def of(self, action: str, resource: str) -> float:
        """The work of one try. Raises InvalidInputException if it alone is more than a call may cost."""
        fitting = (statements for document in self._documents for statements in document.for_action(action))
        work = self._index + sum(self._of_statement(one, resource) for statements in fitting for one in statements)
        if work > MOST_WORK:
            raise InvalidInputException(
                f"To simulate {action} on one resource is too much work with these policies and context entries. "
                "Give fewer policies, or shorter ones, or shorter values."
            )
        return work

    def _of_statement(self, statement: Statement, resource: str) -> float:
        conditions = self._of_conditions.get(id(statement))
        if conditions is None:
            conditions = sum(
                self._of_texts(one.values, self._context.get(one.key.lower(), ())) for one in statement.conditions
            )
            self._of_conditions[id(statement)] = conditions
        return _STATEMENT + conditions + self._of_texts(statement.resources, resource)

    def _of_texts(self, patterns: Sequence[str], value: str | Sequence[str]) -> float:
        """Comparing each pattern with each value."""
        count, characters = 1 if isinstance(value, str) else len(value), _length(value)
        slow = sum("?" in pattern for pattern in patterns)
        filled = sum("${" in pattern for pattern in patterns)
        work = len(patterns) * (_PATTERN * count + _CHARACTER * characters)
        return work + slow * _SLOW_CHARACTER * characters + filled * self._filled * max(count, 1)


def _length(value: str | Sequence[str]) -> int:
    """Characters of all values of a condition key."""
    return len(value) if isinstance(value, str) else sum(map(len, value))
