"""What can be said of a policy document without deciding by it: its size, its JSON, its outer form."""

from __future__ import annotations

import json
from typing import Any, NoReturn

from kmsapp.errors import LimitExceededException, MalformedPolicyDocumentException

MOST_BYTES = 32_768
_EFFECTS = {"Allow", "Deny"}


def require_valid(policy: str) -> None:
    """Refuse a text that is no policy document.

    Raises: LimitExceededException over 32 KB; MalformedPolicyDocumentException, for JSON with line and column.
    """
    if len(policy.encode()) > MOST_BYTES:
        raise LimitExceededException(f"The key policy is larger than {MOST_BYTES} bytes.")
    document = _parse(policy)
    if not isinstance(document, dict):
        raise MalformedPolicyDocumentException("The key policy must be a JSON object.")
    statements = document.get("Statement")
    if isinstance(statements, dict):
        statements = [statements]
    if not isinstance(statements, list) or not statements:
        raise MalformedPolicyDocumentException(
            "The key policy must have a Statement: a list of one or more statements."
        )
    for number, statement in enumerate(statements, 1):
        _require_statement(number, statement)


def _parse(policy: str) -> Any:
    try:
        return json.loads(policy, parse_constant=_refuse_constant)
    except json.JSONDecodeError as error:
        raise MalformedPolicyDocumentException(
            f"The key policy is not valid JSON: line {error.lineno}, column {error.colno}: {error.msg}."
        ) from error
    except RecursionError as error:
        raise MalformedPolicyDocumentException("The key policy is nested too deeply.") from error
    except ValueError as error:  # a number with more digits than Python reads
        raise MalformedPolicyDocumentException("The key policy has a number that is too long.") from error


def _refuse_constant(name: str) -> NoReturn:
    raise MalformedPolicyDocumentException(f"The key policy is not valid JSON: {name} is no JSON value.")


def _require_statement(number: int, statement: object) -> None:
    if not isinstance(statement, dict):
        raise MalformedPolicyDocumentException(f"Statement {number} of the key policy must be a JSON object.")
    effect = statement.get("Effect")
    if not isinstance(effect, str) or effect not in _EFFECTS:
        raise MalformedPolicyDocumentException(f"Statement {number} of the key policy must have Effect Allow or Deny.")
    if not (_names_somebody(statement.get("Principal")) or _names_somebody(statement.get("NotPrincipal"))):
        raise MalformedPolicyDocumentException("Policy contains a statement with no principal.")  # AWS's own words


def _names_somebody(principal: object) -> bool:
    """Whether a Principal says anything: "*", or an object with a name or a list of names for some kind."""
    return any(principal.values()) if isinstance(principal, dict) else isinstance(principal, str) and principal != ""
