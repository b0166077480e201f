"""Policy documents of IAM: what is refused before one is stored, and how one is answered.

Sizes are in characters without white space.
https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, NoReturn
from urllib.parse import quote

from kmsapp.errors import LimitExceededException, MalformedPolicyDocumentException
from kmsapp.iam import principals
from kmsapp.iam.principals import UnknownPrincipalError

MOST_MANAGED = 6144
MOST_TRUST = 2048

_WHITE_SPACE = re.compile(r"\s")


def size(document: str) -> int:
    return len(_WHITE_SPACE.sub("", document))


def encoded(document: str) -> str:
    """As the API answers a document: URL-encoded, RFC 3986."""
    return quote(document, safe="")


def require_identity_policy(document: str) -> None:
    """Refuse what is no policy of a user, group or role. Raises MalformedPolicyDocumentException."""
    for statement in _statements(document):
        if "Principal" in statement or "NotPrincipal" in statement:
            raise MalformedPolicyDocumentException("Policy document should not specify a principal.")
        for element in ("Action", "Resource"):
            if element not in statement and f"Not{element}" not in statement:
                raise MalformedPolicyDocumentException(f"Policy statement must contain {element.lower()}s.")


def require_managed_policy(document: str) -> None:
    """The same for a managed one. Raises MalformedPolicyDocumentException, LimitExceededException."""
    require_identity_policy(document)
    if size(document) > MOST_MANAGED:
        raise LimitExceededException(f"Cannot exceed quota for PolicySize: {MOST_MANAGED}")


def require_trust_policy(document: str) -> dict[str, str]:
    """Refuse what can't be a role's trust policy; return the unique ids of its principals by ARN.

    Raises: MalformedPolicyDocumentException, LimitExceededException.
    """
    for statement in _statements(document):
        if "Resource" in statement or "NotResource" in statement:
            raise MalformedPolicyDocumentException("Has prohibited field Resource")
        if not statement.get("Principal") and not statement.get("NotPrincipal"):
            raise MalformedPolicyDocumentException("Missing required field Principal")
        if "Action" not in statement and "NotAction" not in statement:
            raise MalformedPolicyDocumentException("Missing required field Action")
    if size(document) > MOST_TRUST:
        raise LimitExceededException(f"Cannot exceed quota for ACLSizePerRole: {MOST_TRUST}")
    try:
        return principals.resolve(principals.named(document))
    except UnknownPrincipalError as error:
        raise MalformedPolicyDocumentException(f'Invalid principal in policy: "AWS":"{error.principal}"') from error


def _statements(document: str) -> Iterator[dict[str, Any]]:
    parsed = _parsed(document)
    statements = parsed.get("Statement") if isinstance(parsed, dict) else None
    if isinstance(statements, dict):
        statements = [statements]
    if not isinstance(statements, list) or not statements:
        raise MalformedPolicyDocumentException("Syntax errors in policy.")
    for statement in statements:
        if not isinstance(statement, dict) or statement.get("Effect") not in ("Allow", "Deny"):
            raise MalformedPolicyDocumentException("Syntax errors in policy.")
        yield statement


def _parsed(document: str) -> Any:
    try:
        return json.loads(document, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise MalformedPolicyDocumentException("This policy contains invalid Json") from error


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON value")
