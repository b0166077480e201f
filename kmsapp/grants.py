"""Grants as calls meet them: which grant covers a call, and grant tokens.

A grant counts from the moment it is made, on every worker, so a token adds nothing to what its grant allows; it must be
one of ours, of a grant that is there. Tokens are opaque and differ from call to call: the grant's name, sealed.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable
from itertools import islice
from typing import NamedTuple

from django.db.models import QuerySet

from hsmapp import epochs, sealing
from kmsapp import grant_rules, service_models
from kmsapp.call import Call
from kmsapp.caller import Caller
from kmsapp.errors import InvalidGrantTokenException
from kmsapp.grant_rules import Permissions, Terms
from kmsapp.key_facts import KeyFacts
from kmsapp.models import Grant

# What is kept in memory: so many pairs of key and caller, each with so many grants. Who holds more grants on a key has
# them read at each call.
PAIRS_KEPT, GRANTS_KEPT = 5_000, 32
REASONS_SHOWN = 3

_held: epochs.Cached[tuple[Terms, ...] | None] = epochs.Cached(PAIRS_KEPT)
_live: epochs.Cached[bool] = epochs.Cached()


def covering(call: Call, key: KeyFacts, action: str, *, iam_allows: bool = False) -> str:
    """The id of a grant by which the caller may do the action on the key; empty if there is none.

    action: kms:Decrypt, kms:ReEncryptFrom, …; the encryption context, and the grant that CreateGrant asks for, are
    those of call.params. iam_allows: whether the caller's IAM policies allow the action on the key, without which a
    grant to the caller's whole account is its root user's alone.
    """
    operation = action.removeprefix("kms:")
    if operation not in grant_rules.OPERATIONS:
        return ""
    context = call.params.get(grant_rules.CONTEXT_MEMBER.get(operation, "")) or {}
    for grant in _grants_of(call.caller, key):
        if grant_rules.allows(grant, call.caller, operation, context, iam_allows=iam_allows) and (
            operation != "CreateGrant" or grant_rules.may_create(grant, asked_for(call))
        ):
            return grant.grant_id
    return ""


def why_not(call: Call, key: KeyFacts, action: str, *, iam_allows: bool = False) -> list[str]:
    """What grants to the caller lack to cover the action, in a sentence each, those that allow it first; a few of them.

    The sentences say what grants say, so they are for whoever may list the key's grants.
    """
    operation = action.removeprefix("kms:")
    if operation not in grant_rules.OPERATIONS:
        return []
    context = call.params.get(grant_rules.CONTEXT_MEMBER.get(operation, "")) or {}
    held = sorted(
        islice(_grants_of(call.caller, key), GRANTS_KEPT), key=lambda grant: operation not in grant.operations
    )
    found = (grant_rules.why_not(grant, call.caller, operation, context, iam_allows=iam_allows) for grant in held)
    return list(islice(filter(None, found), REASONS_SHOWN))


def asked_for(call: Call) -> Permissions:
    """What a CreateGrant asks to grant."""
    return Permissions(frozenset(call.params["Operations"]), _given(call.params.get("Constraints")))


def terms(grant: Grant) -> Terms:
    """What a row says."""
    return Terms(
        operations=frozenset(grant.operations),
        constraints=grant.constraints,
        grant_id=grant.grant_id,
        grantee_principal=grant.grantee_principal,
        grantee_id=grant.grantee_id,
        retiring_principal=grant.retiring_principal,
        retiring_id=grant.retiring_id,
        issuing_account=grant.issuing_account,
    )


def _given(constraints: dict[str, object] | None) -> dict[str, object]:
    """Constraints without the members that are null."""
    return {name: value for name, value in (constraints or {}).items() if value is not None}


def _grants_of(caller: Caller, key: KeyFacts) -> Iterable[Terms]:
    ids = grant_rules.ids_of(caller)
    rows = Grant.objects.filter(key_id=key.pk, grantee_id__in=ids).order_by()
    few = _held.get(key.account, (key.pk, frozenset(ids)), lambda: _few(rows))
    return few if few is not None else map(terms, rows.iterator(chunk_size=500))


def _few(rows: QuerySet[Grant]) -> tuple[Terms, ...] | None:
    found = tuple(map(terms, rows[: GRANTS_KEPT + 1]))
    return found if len(found) <= GRANTS_KEPT else None


class Named(NamedTuple):
    """What a token names."""

    account: str  # of the key
    region: str
    grant_id: str


def new_token(account: str, region: str, grant_id: str) -> str:
    """A grant token; another one at each call. account, region: of the key."""
    sealed = sealing.keyring().seal(
        " ".join((account, region, grant_id)).encode(), purpose=sealing.GRANT_TOKEN, table="", row=""
    )
    return base64.b64encode(sealed).decode()


def named_by(call: Call, token: str) -> Named:
    """What a token names in this Region. Raises InvalidGrantTokenException; the grant may be gone nevertheless."""
    try:
        sealed = base64.b64decode(token, validate=True)
        text = sealing.keyring().open(sealed, purpose=sealing.GRANT_TOKEN, table="", row="")
    except (binascii.Error, ValueError, sealing.SealingError) as error:
        raise invalid_token() from error
    named = Named(*text.decode().split(" "))
    if named.region != call.caller.region:
        raise invalid_token()
    return named


def invalid_token() -> InvalidGrantTokenException:
    return InvalidGrantTokenException("Invalid grant token.")


def require_valid_tokens(call: Call) -> None:
    """Refuse a request with a token that is not of a grant that is there, if its operation takes grant tokens.

    (unconfirmed) DescribeKey takes them and its model lists no error for a bad one. It is refused as by the others.
    """
    tokens = call.params.get("GrantTokens")
    if tokens and "GrantTokens" in service_models.service(call.service).operation(call.operation).input.parts:
        for named in {named_by(call, token) for token in tokens}:
            if not _is_live(named):
                raise invalid_token()


def _is_live(named: Named) -> bool:
    return _live.get(named.account, named.grant_id, lambda: Grant.objects.filter(grant_id=named.grant_id).exists())
