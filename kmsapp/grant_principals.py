"""The principals that grants name: kept by unique id, shown by the ARN of now.

To users, roles and accounts, as policies name them (iam/principals.py), grants add one session of a role and one
federated user. A session is of its role, whether or not it is open; a federated user is of the account.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from kmsapp.errors import InvalidArnException
from kmsapp.grant_rules import account_arn
from kmsapp.iam import principals
from kmsapp.models import Role

# https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_identifiers.html#identifiers-arns
_SESSION = re.compile(
    r"arn:aws:sts::(?P<account>\d{12}):(assumed-role/(?P<role>[\w+=,.@-]+)|federated-user)/[\w+=,.@-]{2,64}\Z", re.ASCII
)


_UNIQUE_ID = re.compile(r"A[A-Z]{3}[A-Z0-9]{1,28}\Z")


def is_unique_id(principal: str) -> bool:
    """Whether this has the form of a unique id, AIDA… or AROA…, as a principal that is gone is shown."""
    return _UNIQUE_ID.match(principal) is not None


def require_arn(principal: str) -> None:
    """Refuse what is no ARN. Raises InvalidArnException."""
    if not principal.startswith("arn:"):
        raise _nobody(principal)


def is_service(principal: str) -> bool:
    """Whether this is a service principal such as dynamodb.amazonaws.com, and no ARN."""
    return bool(principal) and not principal.startswith("arn:")


def is_session(principal: str) -> bool:
    """Whether this is one session of a role, or a federated user."""
    return principal.startswith("arn:aws:sts::")


def unique_ids(arns: Iterable[str]) -> dict[str, str]:
    """ARN -> unique id: a user's, a role's (also for its sessions), or an account's 12 digits.

    Raises: InvalidArnException for the first that names nobody.
    """
    arns = [arn for arn in dict.fromkeys(arns) if arn]
    owners = {arn: _owner(arn) if is_session(arn) else arn for arn in arns}
    for arn, owner in owners.items():
        if not owner.startswith("arn:"):
            raise _nobody(arn)
    try:
        found = principals.resolve(owners.values())
    except principals.UnknownPrincipalError as error:
        raise _nobody(next(arn for arn, owner in owners.items() if owner == error.principal)) from error
    return {arn: found[owner] for arn, owner in owners.items()}


def current(arns_and_ids: Iterable[tuple[str, str]]) -> dict[tuple[str, str], str]:
    """(ARN, unique id) of when a grant was made -> what it shows now: the ARN, or the id if its principal is gone."""
    pairs = {pair for pair in arns_and_ids if pair[1]}
    arns = principals.current_arns(unique_id for _, unique_id in pairs)
    return {(arn, unique_id): _shown(arn, unique_id, arns.get(unique_id)) for arn, unique_id in pairs}


def _shown(arn: str, unique_id: str, now: str | None) -> str:
    if now is None:
        return unique_id
    return arn if is_session(arn) else now


def _owner(session: str) -> str:
    """The ARN of the role or account whose session this is; empty if there is none."""
    match = _SESSION.match(session)
    if match is None:
        return ""
    account = match["account"]
    if match["role"] is None:
        return account_arn(account)
    # The ARN of a session leaves its role's path out.
    role = Role.objects.filter(account=account, name=match["role"]).first()
    return role.arn if role is not None else ""


def _nobody(arn: str) -> InvalidArnException:
    return InvalidArnException(f"ARN does not refer to a valid principal: {arn}")
