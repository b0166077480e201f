"""Policy documents of IAM: what is refused before one is stored, and how one is answered.

Sizes are in characters without white space.
https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html
"""

from __future__ import annotations

import json
import re
from urllib.parse import quote

from kmsapp.errors import LimitExceededException, MalformedPolicyDocumentException
from kmsapp.iam import principals
from kmsapp.iam.principals import UnknownPrincipalError
from kmsapp.policy.documents import Kind, parse
from kmsapp.policy.errors import PolicyError

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
    _require(document, Kind.IDENTITY)


def require_managed_policy(document: str) -> None:
    """The same for a managed one. Raises MalformedPolicyDocumentException, LimitExceededException."""
    require_identity_policy(document)
    if size(document) > MOST_MANAGED:
        raise LimitExceededException(f"Cannot exceed quota for PolicySize: {MOST_MANAGED}")


def require_trust_policy(document: str) -> dict[str, str]:
    """Refuse what can't be a role's trust policy; return the unique ids of its principals by ARN.

    Raises: MalformedPolicyDocumentException, LimitExceededException.
    """
    _require_json(document)
    _require(document, Kind.TRUST)
    if size(document) > MOST_TRUST:
        raise LimitExceededException(f"Cannot exceed quota for ACLSizePerRole: {MOST_TRUST}")
    try:
        return principals.resolve(principals.named(document))
    except UnknownPrincipalError as error:
        raise MalformedPolicyDocumentException(f'Invalid principal in policy: "AWS":"{error.principal}"') from error


def _require(document: str, kind: Kind) -> None:
    try:
        parse(document, kind)
    except PolicyError as error:
        raise MalformedPolicyDocumentException(error.aws_message) from error


def _require_json(document: str) -> None:
    """Of trust policies alone IAM says in words of its own that they are no JSON."""
    try:
        json.loads(document)
    except (ValueError, RecursionError) as error:
        raise MalformedPolicyDocumentException("This policy contains invalid Json") from error
