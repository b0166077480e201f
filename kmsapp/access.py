"""The one place that decides what a caller may do and that finds a key on a caller's behalf.

Policies are stored and shown; deciding by them is not built yet. Until then an active identity acts in its own account
and nowhere else. Every operation asks `account` or `key` here, and dispatch refuses to answer for one that did not.

Resolution of key identifiers and its errors: https://docs.aws.amazon.com/kms/latest/developerguide/concepts.html#key-id
"""

from __future__ import annotations

from collections.abc import Mapping

from kmsapp import arns, grant_rules, ids, key_facts
from kmsapp.call import Call
from kmsapp.errors import AccessDeniedException, InvalidArnException, NotFoundException
from kmsapp.grant_rules import Terms
from kmsapp.key_facts import KeyFacts

# AWS's sentence for a ciphertext of a key that does not exist or that the caller may not use: it does not tell which.
CIPHERTEXT_DENIED = (
    "The ciphertext refers to a customer master key that does not exist, does not exist in this region, "
    "or you are not allowed to access."
)


def account(call: Call, action: str, resource: str = "*", context: Mapping[str, str] | None = None) -> None:
    """Authorize an action that has no key as its resource: CreateKey, lists, key stores, IAM and STS.

    resource: ARN of the user, role, … of the caller's account. context: further condition keys of the request.
    """
    call.checked.append(action)


def key(call: Call, identifier: str, action: str, *, aliases: bool = False) -> KeyFacts:
    """Find the key of `identifier` and authorize the action on it.

    identifier: key id or key ARN; with `aliases` also alias name or alias ARN.
    Raises: NotFoundException, InvalidArnException, AccessDeniedException.
    """
    found = _resolve(call, identifier, action, aliases=aliases)
    call.checked.append(action)
    if found.arn not in call.resources:
        call.resources.append(found.arn)
    return found


def key_of_ciphertext(call: Call, account_id: str, key_id: str, action: str) -> KeyFacts:
    """Find the key that a ciphertext names and authorize the action on it.

    Raises: AccessDeniedException with one text for "no such key" and "not yours".
    """
    call.checked.append(action)
    found = key_facts.by_id(account_id, call.caller.region, key_id) if account_id == call.caller.account else None
    if found is None:
        raise AccessDeniedException(CIPHERTEXT_DENIED)
    call.resources.append(found.arn)
    return found


def key_of_grant(call: Call, identifier: str) -> KeyFacts:
    """The key on which a grant is to be retired, of whatever account: who may do that, the grant says (`retirement`).

    identifier: key id or key ARN. Raises: NotFoundException, InvalidArnException; AccessDeniedException for a key of
    another account that does not exist, as for one whose grants are none of the caller's.
    """
    arn = arns.parse(identifier)
    if arn is None or arn.account == call.caller.account or arn.region != call.caller.region:
        return _resolve(call, identifier, "kms:RetireGrant", aliases=False)
    found = key_facts.by_id(arn.account, arn.region, arn.resource.removeprefix("key/"))
    if found is None:
        raise _denied(call, "kms:RetireGrant", identifier)
    return found


def retirement(call: Call, key: KeyFacts, grant_id: str, grant: Terms | None) -> None:
    """Authorize kms:RetireGrant of a grant on the key.

    Whom the grant names needs no policy; others of an account that may retire it need one (delegation by IAM).
    grant: None if the key has none of this id. Raises: NotFoundException, AccessDeniedException.
    """
    action = "kms:RetireGrant"
    call.checked.append(action)
    call.resources.append(key.arn)
    if grant is None and key.account == call.caller.account:
        raise NotFoundException(f"Grant ID {grant_id} not found")
    if grant is None:
        raise _denied(call, action, key.arn)
    if grant_rules.may_retire(grant, call.caller):
        return
    if call.caller.account not in grant_rules.accounts_that_retire(grant, key.account):
        raise _denied(call, action, key.arn)
    account(call, action, key.arn)


def _resolve(call: Call, identifier: str, action: str, *, aliases: bool) -> KeyFacts:
    caller = call.caller
    if identifier.startswith("arn:"):
        return _resolve_arn(call, identifier, action, aliases=aliases)
    if aliases and identifier.startswith("alias/"):
        return _by_alias(caller.account, caller.region, identifier)
    return _by_id(caller.account, caller.region, identifier)


def _resolve_arn(call: Call, identifier: str, action: str, *, aliases: bool) -> KeyFacts:
    arn = arns.parse(identifier)
    if arn is None:
        raise InvalidArnException(f"Invalid arn {identifier}")
    if arn.region != call.caller.region:
        raise NotFoundException(f"Invalid arn {arn.region}")
    if arn.account != call.caller.account:
        raise _denied(call, action, identifier)
    kind, _, name = arn.resource.partition("/")
    if kind == "alias":
        if not aliases:
            raise NotFoundException(f"Invalid keyId '{arn.resource}'")
        return _by_alias(arn.account, arn.region, arn.resource)
    return _by_id(arn.account, arn.region, name)


def _by_id(account_id: str, region: str, key_id: str) -> KeyFacts:
    if not ids.is_key_id(key_id):
        raise NotFoundException(f"Invalid keyId '{key_id}'")
    found = key_facts.by_id(account_id, region, key_id)
    if found is None:
        raise NotFoundException(f"Key '{arns.key_arn(region, account_id, key_id)}' does not exist")
    return found


def _by_alias(account_id: str, region: str, alias_name: str) -> KeyFacts:
    found = key_facts.by_alias(account_id, region, alias_name)
    if found is None:
        raise NotFoundException(f"Alias {arns.alias_arn(region, account_id, alias_name)} is not found.")
    return found


def _denied(call: Call, action: str, resource: str) -> AccessDeniedException:
    """Another account's key, whether it exists or not."""
    return AccessDeniedException(
        f"User: {call.caller.principal_arn} is not authorized to perform: {action} on resource: {resource} because "
        f"no resource-based policy allows the {action} action"
    )
