"""A decision in words: AWS's sentence for the caller, and the way through the policies for people.

The way has the same six steps for every request, in the order in which they are asked: key policy, delegation to the
account, identity-based policies, permissions boundary, session policy, grant. The console draws them as a picture.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from kmsapp.policy.documents import Statement
from kmsapp.policy.evaluation import KEY_POLICY, Decision, Hit, Outcome, PolicyType, is_denied_to
from kmsapp.policy.principals import Grade


class State(StrEnum):
    """How a step ended."""

    PASSED = "passed"
    FAILED = "failed"
    NOT_NEEDED = "not needed"


@dataclass(frozen=True)
class Step:
    """One step of the way. statement: the one that let the request pass or refused it."""

    name: str
    state: State
    sentence: str
    policy: str = ""
    statement: Statement | None = None


def because(decision: Decision) -> str:
    """The end of AccessDeniedException's text; "" if the request is allowed.

    https://docs.aws.amazon.com/IAM/latest/UserGuide/troubleshoot_access-denied.html
    """
    if decision.outcome is Outcome.EXPLICIT_DENY:
        article = "an" if decision.policy_type is PolicyType.IDENTITY else "a"
        return f"with an explicit deny in {article} {decision.policy_type}"
    if decision.missing is not None:
        return f"because no {decision.missing} allows the {decision.request.action} action"
    return ""


def access_denied(decision: Decision) -> str:
    """AccessDeniedException's text."""
    request = decision.request
    return (
        f"User: {request.principal_arn} is not authorized to perform: {request.action} "
        f"on resource: {request.resource} {because(decision)}"
    )


def reference(policy: str, statement: Statement) -> str:
    """A statement as people find it: policy, number, Sid, line."""
    sid = f" ({statement.sid})" if statement.sid else ""
    return f"{policy}, statement {statement.index + 1}{sid}, line {statement.line}"


def path(decision: Decision) -> tuple[Step, ...]:
    """The six steps in order."""
    if decision.outcome is Outcome.EXPLICIT_DENY:
        return _denied(decision)
    return (
        _key_policy(decision),
        _delegation(decision),
        _identity(decision),
        _limit(decision, "permissions boundary", bool(decision.policies.boundary), decision.found.boundary),
        _limit(decision, "session policy", bool(decision.policies.session), decision.found.session),
        _grant(decision),
    )


_STEP_OF = {
    PolicyType.RESOURCE: "key policy",
    PolicyType.IDENTITY: "identity-based policies",
    PolicyType.BOUNDARY: "permissions boundary",
    PolicyType.SESSION: "session policy",
}
_NAMES = (
    "key policy",
    "delegation to the account",
    "identity-based policies",
    "permissions boundary",
    "session policy",
    "grant",
)


def _denied(decision: Decision) -> tuple[Step, ...]:
    assert decision.policy_type is not None and decision.statement is not None  # noqa: S101 # it is an explicit denial
    name, statement = _STEP_OF[decision.policy_type], decision.statement
    failed = Step(
        name,
        State.FAILED,
        f"An explicit Deny ends it: {reference(_title(decision.policy), statement)}.",
        decision.policy,
        statement,
    )
    return tuple(
        failed if other == name else Step(other, State.NOT_NEEDED, "A Deny elsewhere has ended it.") for other in _NAMES
    )


def _title(policy: str) -> str:
    return "key policy" if policy == KEY_POLICY else policy


def _is_own(decision: Decision) -> bool:
    return decision.request.principal_account == decision.request.resource_account


def _by_hit(name: str, sentence: str, hit: Hit) -> Step:
    where = reference(_title(hit.policy), hit.statement)
    return Step(name, State.PASSED, f"{sentence}: {where}.", hit.policy, hit.statement)


def _key_policy(decision: Decision) -> Step:
    name, grade, key = "key policy", decision.found.grade, decision.found.key
    if decision.policies.key_policy is None and _is_own(decision):
        return Step(name, State.NOT_NEEDED, "No key is asked for.")
    if key is not None and grade is Grade.CALLER:
        return _by_hit(name, "It allows the caller", key)
    if key is not None and grade is Grade.ROLE:
        return _by_hit(name, "It allows the caller's role", key)
    if grade is Grade.ACCOUNT:
        return Step(name, State.NOT_NEEDED, "It does not name the caller, but leaves it to the caller's account.")
    if decision.is_allowed:
        return Step(name, State.NOT_NEEDED, "It does not name the caller; the grant stands in for it.")
    return Step(name, State.FAILED, "No statement allows it to the caller or to the caller's account.")


def _delegation(decision: Decision) -> Step:
    name, grade, key = "delegation to the account", decision.found.grade, decision.found.key
    if key is not None and grade is Grade.ACCOUNT:
        return _by_hit(name, "The key policy leaves it to the account's own policies", key)
    if grade > Grade.ACCOUNT:
        return Step(name, State.NOT_NEEDED, "The key policy names the caller itself.")
    if decision.policies.key_policy is None and _is_own(decision):
        return Step(name, State.NOT_NEEDED, "No key is asked for.")
    if decision.is_allowed:
        return Step(name, State.NOT_NEEDED, "The grant stands in for it.")
    return Step(name, State.FAILED, "The key policy does not leave it to the caller's account.")


def _identity(decision: Decision) -> Step:
    name, identity, request = "identity-based policies", decision.found.identity, decision.request
    if decision.found.grade > Grade.ACCOUNT and _is_own(decision):
        return Step(name, State.NOT_NEEDED, "The key policy allows it without them.")
    if decision.policy_type is PolicyType.GRANT and _is_own(decision):
        return Step(name, State.NOT_NEEDED, "The grant allows it without them.")
    if identity is not None:
        return _by_hit(name, "They allow it", identity)
    if request.is_root:
        return Step(name, State.PASSED, "The account root user needs none.")
    count = len(decision.policies.identity)
    looked_at = f"None of the caller's {count} policies allows it." if count else "The caller has none."
    if not _is_own(decision):
        looked_at += " From another account the key policy alone is not enough."
    return Step(name, State.FAILED, looked_at)


def _limit(decision: Decision, name: str, exists: bool, hit: Hit | None) -> Step:
    """A boundary or a session policy: it allows nothing by itself, but must allow what is done."""
    if not exists:
        return Step(name, State.NOT_NEEDED, "The caller has none.")
    if decision.found.grade is Grade.CALLER and _is_own(decision):
        return Step(name, State.NOT_NEEDED, "The key policy names the caller itself, which it does not limit.")
    if decision.policy_type is PolicyType.GRANT and _is_own(decision):
        return Step(name, State.NOT_NEEDED, "It does not limit a grant but by a Deny.")
    if hit is None:
        return Step(name, State.FAILED, "It does not allow it.")
    return _by_hit(name, "It allows it", hit)


def _grant(decision: Decision) -> Step:
    grant = decision.policies.grant
    if decision.policy_type is PolicyType.GRANT:
        return Step("grant", State.PASSED, f"Grant {grant} allows it.", grant)
    if decision.is_allowed:
        return Step("grant", State.NOT_NEEDED, "The policies allow it already.")
    if grant:
        sentence = f"Grant {grant} allows it, but from another account the caller's own policies must, too."
        return Step("grant", State.FAILED, sentence, grant)
    if decision.policies.key_policy is None:
        return Step("grant", State.NOT_NEEDED, "No key is asked for.")
    return Step("grant", State.FAILED, "No grant covers the caller.")


def why_not(decision: Decision, statement: Statement, policy_type: PolicyType) -> str:
    """Why a statement did not decide, in a few words; "" if it applies to the request."""
    request = decision.request
    if not statement.is_effective:
        return "it has no Action or no Resource, and so no effect"
    if not statement.applies_to(request.action.lower()):
        return "another action"
    if policy_type is PolicyType.RESOURCE and not _is_named(decision, statement):
        return "another principal"
    context = request.of_key_policy if policy_type is PolicyType.RESOURCE else request.folded
    if statement.covers is not None and not statement.covers(request.resource, context):
        return "another resource"
    failing = [one for one in statement.conditions if not one.holds(context)]
    return ", ".join(f"condition {one.operator} on {one.key} is not met" for one in failing)


def _is_named(decision: Decision, statement: Statement) -> bool:
    caller = decision.request.names(decision.policies.key_policy_principals)
    if statement.effect == "Deny":
        return is_denied_to(statement, caller, decision.policies)
    return statement.principals is None or statement.principals.grade(caller) is not Grade.NONE
