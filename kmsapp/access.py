"""The one place that decides what a caller may do and that finds a key on a caller's behalf.

Every operation asks `account` or `key` here, and dispatch refuses to answer for one that did not. Key policy, identity
policies, permissions boundary and session policies are evaluated by kmsapp/policy; what they do not allow, a grant may
(grants.py). A denial says which of them was missing (denials.py).

Order, as far as AWS's is known (unconfirmed): a key of the caller's own account that does not exist is
NotFoundException; another account's key is AccessDeniedException, whether it exists or not; then the policies; then the
key's state.

Resolution of key identifiers and its errors: https://docs.aws.amazon.com/kms/latest/developerguide/concepts.html#key-id
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import NamedTuple

from kmsapp import arns, cross_account, denials, grant_rules, grants, ids, key_facts
from kmsapp.call import Call
from kmsapp.caller import Caller
from kmsapp.condition_keys import ConditionKeys, Value
from kmsapp.errors import AccessDeniedException, InvalidArnException, NotFoundException
from kmsapp.grant_rules import Terms
from kmsapp.iam import identity_policies
from kmsapp.iam.identity_policies import Carried
from kmsapp.key_facts import KeyFacts
from kmsapp.policy.evaluation import Decision, Outcome, Policies, Request, evaluate

# AWS's sentence for a ciphertext of a key that does not exist or that the caller may not use: it does not tell which.
CIPHERTEXT_DENIED = (
    "The ciphertext refers to a customer master key that does not exist, does not exist in this region, "
    "or you are not allowed to access."
)


RETIRE_GRANT = "kms:RetireGrant"

# What has no key


def open_to_all(call: Call, action: str) -> None:
    """For the few actions that need no permission, such as sts:GetCallerIdentity."""
    call.checked.append(action)


def account(call: Call, action: str, resource: str = "*", context: Mapping[str, str] | None = None) -> None:
    """Authorize an action that has no key as its resource: CreateKey, lists, key stores, IAM and STS.

    resource: ARN of the user, role, … of the caller's account. context: further condition keys of the request.
    Raises: AccessDeniedException.

    (unconfirmed) That the denial of a custom key store operation shows `*` as its resource.
    """
    decision = decide_for_account(call, action, resource, context)
    if decision.outcome is not Outcome.ALLOW:
        raise denials.denial(call, decision, action, resource)
    call.checked.append(action)


def tag_new_key(call: Call) -> None:
    """Authorize the tags of a CreateKey. The key has no ARN yet: what the caller may do with every key counts."""
    action = "kms:TagResource"
    decision = decide_for_account(call, action, arns.key_arn(call.caller.region, call.caller.account, "*"))
    if decision.outcome is not Outcome.ALLOW:
        raise denials.denial(call, decision, action, "")
    call.checked.append(action)


def decide_for_account(
    call: Call, action: str, resource: str = "*", context: Mapping[str, str] | None = None
) -> Decision:
    """What the caller's own policies say of an action that has no key."""
    carried = identity_policies.of(call.caller)
    conditions = ConditionKeys(call, carried.tags, action=action, more=context)
    return evaluate(
        Request(
            principal_arn=call.caller.principal_arn,
            principal_id=call.caller.identity_id,
            principal_account=call.caller.account,
            action=action,
            resource=resource,
            resource_account=call.caller.account,
            context=conditions,
        ),
        Policies(key_policy=None, identity=carried.identity, boundary=carried.boundary, session=carried.session),
    )


# Keys


def key(call: Call, identifier: str, action: str, *, aliases: bool = False) -> KeyFacts:
    """Find the key of `identifier` and authorize the action on it.

    identifier: key id or key ARN; with `aliases` also alias name or alias ARN.
    Raises: NotFoundException, InvalidArnException, AccessDeniedException.
    """
    named = _named(call, identifier, aliases=aliases)
    found = _find(named)
    if named.account != call.caller.account and (found is None or action not in cross_account.ACTIONS):
        raise _foreign(call, action, identifier)
    if found is None:
        raise _not_found(named)
    _authorize(call, found, action, alias=named.alias, shown=identifier)
    return found


def find(call: Call, identifier: str) -> KeyFacts:
    """Find a key of the caller's own account, which authorizes nothing: what is asked of it is the account's to allow.

    Raises: NotFoundException, InvalidArnException.
    """
    named = _named(call, identifier, aliases=False)
    found = _find(named)
    if found is None or named.account != call.caller.account:
        raise _not_found(named)
    return found


def key_of_ciphertext(call: Call, account_id: str, key_id: str, action: str) -> KeyFacts:
    """Find the key that a ciphertext names and authorize the action on it.

    Raises: AccessDeniedException with one text for "no such key" and "not yours".
    """
    found = key_facts.by_id(account_id, call.caller.region, key_id)
    if found is None or not may(call, found, action):
        if found is not None and account_id == call.caller.account:
            call.resources.append(found.arn)  # the account may know from its own record what the answer does not tell
        raise AccessDeniedException(CIPHERTEXT_DENIED)
    _note(call, found, action)
    return found


def same_key(call: Call, first: str, second: str) -> bool:
    """Whether two identifiers (also aliases) name one key, which a call that names two may depend on.

    This authorizes nothing. Raises: NotFoundException, InvalidArnException for what can't name a key.
    """
    one, other = (_find(_named(call, identifier, aliases=True)) for identifier in (first, second))
    return one is not None and other is not None and one.pk == other.pk


def more(call: Call, found: KeyFacts, action: str) -> None:
    """Authorize a further action on a key that has been found. Raises: AccessDeniedException."""
    _authorize(call, found, action, shown=found.arn)


def may(call: Call, found: KeyFacts, action: str) -> bool:
    """Whether the caller may do this with the key; nothing is noted, so this alone answers no call."""
    return decide(call, found, action).outcome is Outcome.ALLOW


def refusal(call: Call, found: KeyFacts, action: str) -> str:
    """Why the caller may not do this with the key, in AWS's words; empty when they may. Nothing is noted."""
    decision = decide(call, found, action)
    return "" if decision.outcome is Outcome.ALLOW else denials.denial(call, decision, action, found.arn).message


def refusal_for_account(call: Call, action: str) -> str:
    """As `refusal`, for an action that has no key."""
    decision = decide_for_account(call, action)
    return "" if decision.outcome is Outcome.ALLOW else denials.denial(call, decision, action, "*").message


def would_allow(call: Call, action: str, key_as_it_would_be: KeyFacts) -> bool:
    """Whether policies, without grants, would let the caller do this with a key as it is about to be."""
    return _by_policies(call, key_as_it_would_be, action)[0].outcome is Outcome.ALLOW


def explain(
    call: Call, found: KeyFacts, action: str, *, more: Mapping[str, Value], carried: Carried | None = None
) -> Decision:
    """The decision on a call that nobody made.

    more: condition keys that its request would have. carried: in place of policies that are not to be read.
    """
    return decide(call, found, action, more=more, carried=carried)


def decide(
    call: Call,
    found: KeyFacts,
    action: str,
    *,
    alias: str = "",
    more: Mapping[str, Value] | None = None,
    carried: Carried | None = None,
) -> Decision:
    """What policies and grants say of the caller's action on the key.

    alias: the alias name by which the request names the key, for kms:RequestAlias. carried: instead of what the
    caller carries. Sets call.granted_by to the grant that allowed it, or to "".
    """
    decision, request, policies = _by_policies(call, found, action, alias=alias, more=more, carried=carried)
    call.granted_by = ""
    if decision.outcome is not Outcome.IMPLICIT_DENY:
        return decision
    grant = grants.covering(call, found, action, iam_allows=is_allowed_by_own_account(decision))
    if not grant:
        return decision
    decision = evaluate(request, policies._replace(grant=grant))
    if decision.outcome is Outcome.ALLOW:
        call.granted_by = grant
    return decision


def is_allowed_by_own_account(decision: Decision) -> bool:
    """Whether identity policies allow it, and neither a boundary nor a session limits it."""
    found, policies = decision.found, decision.policies
    if policies.boundary is not None and found.boundary is None:
        return False
    return found.identity is not None and (not policies.session or found.session is not None)


def _by_policies(
    call: Call,
    found: KeyFacts,
    action: str,
    *,
    alias: str = "",
    more: Mapping[str, Value] | None = None,
    carried: Carried | None = None,
) -> tuple[Decision, Request, Policies]:
    caller = call.caller
    if carried is None:
        carried = identity_policies.of(caller)
    request = Request(
        principal_arn=caller.principal_arn,
        principal_id=caller.identity_id,
        principal_account=caller.account,
        action=action,
        resource=found.arn,
        resource_account=found.account,
        context=ConditionKeys(call, carried.tags, action=action, key=found, request_alias=alias, more=more),
    )
    policies = Policies(
        key_policy=found.key_policy,
        identity=carried.identity,
        boundary=carried.boundary,
        session=carried.session,
        key_policy_principals=found.policy_principals,
    )
    return evaluate(request, policies), request, policies


def _authorize(call: Call, found: KeyFacts, action: str, *, alias: str = "", shown: str) -> None:
    decision = decide(call, found, action, alias=alias)
    if decision.outcome is not Outcome.ALLOW:
        if found.account != call.caller.account:
            # Who may not use another account's alias must not learn which key it names.
            raise _foreign(call, action, shown, decision)
        raise denials.denial(call, decision, action, found.arn)
    _note(call, found, action)


def _foreign(call: Call, action: str, identifier: str, decision: Decision | None = None) -> AccessDeniedException:
    """The denial for another account's key, the same whether it exists or not.

    Only to those whom the key's policy lets in, themselves or their account, does it say what their own account lacks.
    decision: on the key, if it exists.
    """
    own = decide_for_account(call, action, identifier)
    if own.outcome is Outcome.EXPLICIT_DENY:
        return denials.denial(call, own, action, identifier)
    if decision is not None and decision.outcome is Outcome.IMPLICIT_DENY and decision.found.key is not None:
        return denials.denial(call, decision, action, identifier)
    return denials.foreign(call, action, identifier)


def _note(call: Call, found: KeyFacts, action: str) -> None:
    call.checked.append(action)
    if found.arn not in call.resources:
        call.resources.append(found.arn)


# Retiring grants


def key_of_grant(call: Call, identifier: str) -> KeyFacts:
    """Find the key on which a grant is to be retired, of whatever account: the grant says who may (`retirement`).

    identifier: key id or key ARN. Raises: NotFoundException, InvalidArnException; AccessDeniedException for a key of
    another account that does not exist, as for one whose grants are none of the caller's.
    """
    named = _named(call, identifier, aliases=False)
    found = _find(named)
    if found is not None:
        return found
    if named.account == call.caller.account:
        raise _not_found(named)
    raise denials.foreign(call, RETIRE_GRANT, identifier)


def retirement(call: Call, found: KeyFacts, grant_id: str, grant: Terms | None) -> None:
    """Authorize kms:RetireGrant of a grant on the key.

    Whom the grant names needs no policy that allows it; others of an account that may retire it need one. Key policies
    have no say. https://docs.aws.amazon.com/kms/latest/developerguide/grant-delete.html
    grant: None if the key has none of this id. Raises: NotFoundException, AccessDeniedException.
    """
    if grant is None and found.account == call.caller.account:
        raise NotFoundException(f"Grant ID {grant_id} not found")
    if grant is None or not _has_to_do_with(grant, found, call.caller):
        raise denials.foreign(call, RETIRE_GRANT, found.arn)
    _, request, policies = _by_policies(call, found, RETIRE_GRANT)
    decision = evaluate(
        replace(request, resource_account=call.caller.account),
        policies._replace(key_policy=None, key_policy_principals=None),
    )
    is_named = grant_rules.may_retire(grant, call.caller)
    if decision.outcome is Outcome.EXPLICIT_DENY or not (is_named or decision.is_allowed):
        raise denials.denial(call, decision, RETIRE_GRANT, found.arn)
    _note(call, found, RETIRE_GRANT)


def _has_to_do_with(grant: Terms, found: KeyFacts, caller: Caller) -> bool:
    accounts = grant_rules.accounts_that_retire(grant, found.account)
    return caller.account in accounts or grant_rules.may_retire(grant, caller)


# Key identifiers


class _Named(NamedTuple):
    """What an identifier names, whether or not it is there."""

    account: str
    region: str
    key_id: str = ""
    alias: str = ""  # with its prefix


def _named(call: Call, identifier: str, *, aliases: bool) -> _Named:
    caller = call.caller
    if not identifier.startswith("arn:"):
        return _of_name(caller.account, caller.region, identifier, aliases=aliases)
    arn = arns.parse(identifier)
    if arn is None:
        # (unconfirmed) The text of this error.
        raise InvalidArnException(f"Invalid arn {identifier}")
    if arn.region != caller.region:
        raise NotFoundException(f"Invalid arn {arn.region}")
    if arn.resource.startswith("alias/"):
        return _of_name(arn.account, arn.region, arn.resource, aliases=aliases)
    return _Named(arn.account, arn.region, key_id=arn.resource.removeprefix("key/"))


def _of_name(account_id: str, region: str, name: str, *, aliases: bool) -> _Named:
    if name.startswith("alias/"):
        if not aliases:
            # (unconfirmed) That an alias is answered as any other text that is no key id.
            raise NotFoundException(f"Invalid keyId '{name}'")
        return _Named(account_id, region, alias=name)
    return _Named(account_id, region, key_id=name)


def _find(named: _Named) -> KeyFacts | None:
    if named.alias:
        return key_facts.by_alias(named.account, named.region, named.alias)
    return key_facts.by_id(named.account, named.region, named.key_id) if ids.is_key_id(named.key_id) else None


def _not_found(named: _Named) -> NotFoundException:
    if named.alias:
        return NotFoundException(f"Alias {arns.alias_arn(named.region, named.account, named.alias)} is not found.")
    if not ids.is_key_id(named.key_id):
        return NotFoundException(f"Invalid keyId '{named.key_id}'")
    return NotFoundException(f"Key '{arns.key_arn(named.region, named.account, named.key_id)}' does not exist")
