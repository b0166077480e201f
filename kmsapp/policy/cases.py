"""Decisions as lines of JSON: what `manage.py policy` reads, and the tests.

A line is an object with `id`, `principal`, `principalAccount`, `action`, `resource`, `resourceAccount`, `keyPolicy`
(or null), `identityPolicies`, `context`; it may have `sessionPolicy` (one, or a list), `permissionsBoundary`,
`principalId`, `grant`, `keyPolicyPrincipals` (ARN to unique id) and `expected`. Other members are notes.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from kmsapp.policy.documents import Document, Kind, parse
from kmsapp.policy.errors import PolicyError
from kmsapp.policy.evaluation import Named, Policies, Request


class CaseError(Exception):
    """A line that is no case, with the reason."""


@dataclass(frozen=True)
class Case:
    """One request with its policies."""

    id: str
    request: Request
    policies: Policies
    expected: str  # allow, explicitDeny, implicitDeny; "" if the line does not say


def read(line: str) -> Case:
    """Raises: CaseError."""
    try:
        members = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise CaseError(f"it is not valid JSON: {error}") from error
    if not isinstance(members, dict):
        raise CaseError("it must be a JSON object")
    request = Request(
        principal_arn=_text(members, "principal"),
        principal_id=_text(members, "principalId", ""),
        principal_account=_text(members, "principalAccount"),
        action=_text(members, "action"),
        resource=_text(members, "resource"),
        resource_account=_text(members, "resourceAccount"),
        context=_context(members.get("context", {})),
    )
    return Case(_text(members, "id", ""), request, _policies(members), _text(members, "expected", ""))


def _policies(members: dict[str, Any]) -> Policies:
    key_policy, boundary = members.get("keyPolicy"), members.get("permissionsBoundary")
    unique_ids = members.get("keyPolicyPrincipals")
    if unique_ids is not None and not (isinstance(unique_ids, dict) and _are_texts(unique_ids.values())):
        raise CaseError("keyPolicyPrincipals must be an object of ARNs and unique ids")
    return Policies(
        key_policy=None if key_policy is None else _document(key_policy, Kind.KEY, "keyPolicy"),
        identity=_named(members, "identityPolicies", Kind.IDENTITY),
        boundary=None if boundary is None else Named("boundary", _document(boundary, Kind.IDENTITY, "boundary")),
        session=_named(members, "sessionPolicy", Kind.SESSION),
        grant=_text(members, "grant", ""),
        key_policy_principals=unique_ids,
    )


def _named(members: dict[str, Any], name: str, kind: Kind) -> tuple[Named, ...]:
    value = members.get(name)
    documents = value if isinstance(value, list) else [] if value is None else [value]
    return tuple(
        Named(f"{kind.value} {number}", _document(document, kind, f"{name}, policy {number}"))
        for number, document in enumerate(documents, 1)
    )


def _document(value: Any, kind: Kind, where: str) -> Document:
    """A policy as an object, or as its text."""
    text = value if isinstance(value, str) else json.dumps(value, indent=2, ensure_ascii=False)
    try:
        return parse(text, kind)
    except PolicyError as error:
        raise CaseError(f"{where}: {error.aws_message} {error}") from error


def _context(value: Any) -> dict[str, str | list[str]]:
    if not isinstance(value, dict):
        raise CaseError("context must be an object")
    context: dict[str, str | list[str]] = {}
    for key, found in value.items():
        if not isinstance(found, str) and not (isinstance(found, list) and _are_texts(found)):
            raise CaseError(f"the context's {key} must be a text or a list of texts")
        context[key] = found
    return context


def _are_texts(values: Any) -> bool:
    return all(isinstance(value, str) for value in values)


def _text(members: dict[str, Any], name: str, default: str | None = None) -> str:
    value = members.get(name, default)
    if not isinstance(value, str):
        raise CaseError(f"it must have {name}, a text")
    return value
