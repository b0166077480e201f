"""What CreateGrant can be asked for, beyond what the shapes of its parameters say.

https://docs.aws.amazon.com/kms/latest/APIReference/API_CreateGrant.html
"""

from __future__ import annotations

import re
from typing import Any

from kmsapp import grant_rules
from kmsapp.errors import InvalidGrantIdException, ValidationException
from kmsapp.grant_rules import EQUALS, SOURCE_ARN, SUBSET, Permissions
from kmsapp.key_facts import KeyFacts
from kmsapp.operations import cryptography

MOST_PAIRS = 8
LONGEST_VALUE = 384
_GRANT_ID = re.compile(r"[0-9a-f]{64}\Z")


def one_of(params: dict[str, Any], first: str, second: str, *, required: bool) -> str:
    """The value of two members of which there may be one; empty if there is none and none is required."""
    given = [params[name] for name in (first, second) if params.get(name)]
    if len(given) > 1:
        raise ValidationException(f"You can specify either {first} or {second}, but not both.")
    if required and not given:
        raise ValidationException(f"You must specify either {first} or {second}.")
    return given[0] if given else ""


def require_service_terms(params: dict[str, Any]) -> None:
    """What a grant to a service must have besides."""
    if not params.get("GranteeServicePrincipal"):
        return
    if not (params.get("Constraints") or {}).get(SOURCE_ARN):
        raise ValidationException("A grant with a GranteeServicePrincipal must have a SourceArn grant constraint.")
    if not (params.get("RetiringPrincipal") or params.get("RetiringServicePrincipal")):
        raise ValidationException(
            "A grant with a GranteeServicePrincipal must have a RetiringPrincipal or a RetiringServicePrincipal."
        )


def require_valid(asked: Permissions) -> None:
    """Refuse operations and constraints that no key could have."""
    if not asked.operations:
        raise ValidationException("A grant must have at least one operation.")
    if asked.operations == {"CreateGrant"}:
        raise ValidationException("Grants must not contain only the CreateGrant operation.")
    if EQUALS in asked.constraints and SUBSET in asked.constraints:
        raise ValidationException(f"A grant can have one of the constraints {EQUALS} and {SUBSET}, not both.")
    for kind in (EQUALS, SUBSET):
        _require_context(kind, asked.constraints.get(kind) or {})


def _require_context(kind: str, context: dict[str, str]) -> None:
    if len(context) > MOST_PAIRS:
        raise ValidationException(f"{kind} has {len(context)} pairs. It can have {MOST_PAIRS} pairs at most.")
    for value in context.values():
        if len(value) > LONGEST_VALUE:
            raise ValidationException(
                f"A value in {kind} has {len(value)} characters. It can have {LONGEST_VALUE} characters at most."
            )
    cryptography.context_of({"EncryptionContext": context})  # what no request can hold, no request can meet


def require_supported(asked: Permissions, key: KeyFacts) -> None:
    """Refuse operations and constraints that this key can't have."""
    possible = grant_rules.supported(
        key_spec=key.key_spec, key_usage=key.key_usage, in_custom_key_store=bool(key.custom_key_store_id)
    )
    if unsupported := sorted(asked.operations - possible):
        raise ValidationException(
            f"{key.arn} does not support {', '.join(unsupported)}. It supports {', '.join(sorted(possible))}."
        )
    if key.key_spec != "SYMMETRIC_DEFAULT" and (EQUALS in asked.constraints or SUBSET in asked.constraints):
        raise ValidationException(
            f"{key.arn} is not a symmetric encryption key: its operations have no encryption context, so a grant on it "
            "can't constrain one."
        )


def require_grant_id(grant_id: str) -> str:
    """The id, which can be that of a grant."""
    if not _GRANT_ID.match(grant_id):
        raise InvalidGrantIdException("Invalid grant ID. The ID of a grant has 64 hexadecimal digits.")
    return grant_id
