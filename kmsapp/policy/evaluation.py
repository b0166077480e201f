"""The decision: key policy, identity-based policies, permissions boundary, session policies and grants together.

A Deny in any of them ends it. Otherwise a key is used by who is named in its key policy, by who has an identity-based
policy where the key policy leaves it to the account, or by who has a grant; from another account the own account's
identity-based policies must allow it too. What has no key as its resource is a matter of identity-based policies alone.
https://docs.aws.amazon.com/kms/latest/developerguide/policy-evaluation.html
https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_evaluation-logic.html

The decision itself builds no sentences; kmsapp.policy.explanation does, from a Decision.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from typing import NamedTuple

from kmsapp.policy.conditions import Several
from kmsapp.policy.documents import Document, Statement
from kmsapp.policy.principals import CALLER, NONE, ROLE, Grade, Names
from kmsapp.policy.variables import Context, FoldedContext

KEY_POLICY = "default"  # the name of every key's only key policy


class Outcome(StrEnum):
    """As IAM's policy simulator calls it."""

    ALLOW = "allow"
    EXPLICIT_DENY = "explicitDeny"
    IMPLICIT_DENY = "implicitDeny"


class PolicyType(StrEnum):
    """As AccessDeniedException calls it; a grant is no policy and is never named there."""

    RESOURCE = "resource-based policy"
    IDENTITY = "identity-based policy"
    BOUNDARY = "permissions boundary"
    SESSION = "session policy"
    GRANT = "grant"


# See principals.NONE.
_RESOURCE, _IDENTITY, _BOUNDARY, _SESSION, _GRANT = PolicyType


class Named(NamedTuple):
    """A policy with the name that people know it by."""

    name: str
    document: Document


@dataclass(frozen=True)
class Request:
    """Who wants to do what with what."""

    principal_arn: str  # user, session, or arn:aws:iam::<account>:root
    principal_id: str  # AIDA… of a user, AROA… of a session's role; "" if unknown
    principal_account: str
    action: str  # kms:Decrypt
    resource: str  # ARN, or * for what has none
    resource_account: str
    # Condition keys of any case; those of several values as sequences. The role of a session is its aws:PrincipalArn.
    context: Mapping[str, str | Sequence[str]]

    @cached_property
    def folded(self) -> Context:
        """The context by keys in lower case, without those that have no value."""
        if isinstance(self.context, FoldedContext):
            return self.context
        folded: dict[str, str | Sequence[str]] = {key.lower(): value for key, value in self.context.items()}
        if len(folded) == len(self.context) and all(folded.values()):
            return folded
        folded = {}
        for key, value in self.context.items():
            name = key.lower()
            if name in folded:
                value = Several((*_values(folded[name]), *_values(value)))
            if value or isinstance(value, str):
                folded[name] = value
        return folded

    @cached_property
    def of_key_policy(self) -> Context:
        """The context that statements of the key policy are asked with."""
        context = self.folded
        return context.of_key_policy if isinstance(context, FoldedContext) else context

    @property
    def is_root(self) -> bool:
        return self.principal_arn == f"arn:aws:iam::{self.principal_account}:root"

    @property
    def role_arn(self) -> str:
        """The role of a session, "" of anyone else. Without aws:PrincipalArn its path is not known."""
        if ":assumed-role/" not in self.principal_arn:
            return ""
        found = self.folded.get("aws:principalarn")
        if isinstance(found, str):
            return found
        return f"arn:aws:iam::{self.principal_account}:role/{self.principal_arn.split('/')[1]}"

    def names(self, unique_ids: Mapping[str, str] | None) -> Names:
        """What a Principal element is compared with. unique_ids: as Policies.key_policy_principals."""
        # aws:userid has the session's name behind a role's unique id.
        unique_id = self.principal_id.partition(":")[0]
        return Names.of(self.principal_arn, self.role_arn, self.principal_account, unique_id, unique_ids)


class Policies(NamedTuple):
    """Everything that has a say in a request."""

    key_policy: Document | None  # None: no key is asked for
    identity: Sequence[Named] = ()  # of the user or role, with those of its groups
    boundary: Named | None = None
    session: Sequence[Named] = ()  # (): the session has none; of several one must allow
    grant: str = ""  # the id of a grant that covers the request
    # Unique ids of the users and roles that the key policy names, as they were when it was put. None: compare ARNs.
    key_policy_principals: Mapping[str, str] | None = None


class Hit(NamedTuple):
    """A statement that applies to the request."""

    policy_type: PolicyType
    policy: str  # its name
    statement: Statement


class Found(NamedTuple):
    """What was found on the way to a decision without a Deny."""

    grade: Grade  # how well the key policy names the caller
    key: Hit | None  # the Allow of the key policy that names the caller best
    identity: Hit | None  # the first Allow of each of the other types
    boundary: Hit | None
    session: Hit | None


NOTHING_FOUND = Found(NONE, None, None, None, None)


class Decision(NamedTuple):
    """What was decided, and by what."""

    outcome: Outcome
    policy_type: PolicyType | None  # of what decided; None for an implicit denial
    policy: str  # its name, or the grant's id
    statement: Statement | None  # the one that allowed or denied
    missing: PolicyType | None  # for an implicit denial: of this type no policy allows
    request: Request
    policies: Policies
    found: Found = NOTHING_FOUND

    @property
    def is_allowed(self) -> bool:
        return self.outcome is Outcome.ALLOW


def evaluate(request: Request, policies: Policies) -> Decision:
    """Decide. Which operations may be called from another account at all is not asked here."""
    caller = request.names(policies.key_policy_principals)
    denial = _denial(request, policies, caller)
    if denial is not None:
        policy_type, policy, statement = denial
        return Decision(Outcome.EXPLICIT_DENY, policy_type, policy, statement, None, request, policies)
    grade, key = _key_policy(request, policies, caller)
    is_own = request.principal_account == request.resource_account
    if grade is CALLER and is_own:
        found = Found(grade, key, None, None, None)
        return _allowed(key, request, policies, found)
    found = Found(
        grade,
        key,
        _allowing(_IDENTITY, policies.identity, request),
        _allowing(_BOUNDARY, [policies.boundary], request) if policies.boundary else None,
        _allowing(_SESSION, policies.session, request),
    )
    missing = _missing(request, policies, found)
    if missing is None:
        by_identity = found.identity or key
        return _allowed(key if grade is ROLE and is_own else by_identity, request, policies, found)
    if policies.grant and (is_own or missing is _RESOURCE):
        # In the key's own account a grant stands beside the policies; AWS documents no limit of it but a Deny.
        return Decision(Outcome.ALLOW, _GRANT, policies.grant, None, None, request, policies, found)
    return Decision(Outcome.IMPLICIT_DENY, None, "", None, missing, request, policies, found)


def _allowed(hit: Hit | None, request: Request, policies: Policies, found: Found) -> Decision:
    # The root user needs no policy where no key policy is asked.
    policy_type, policy, statement = hit or (_IDENTITY, "", None)
    return Decision(Outcome.ALLOW, policy_type, policy, statement, None, request, policies, found)


def _missing(request: Request, policies: Policies, found: Found) -> PolicyType | None:
    """The type of which no policy allows, and one must; None: nothing is missing.

    With a grant from another account what is missing last is the key policy, which the grant stands in for.
    """
    is_own = request.principal_account == request.resource_account
    needs_key_policy = policies.key_policy is not None or not is_own
    if needs_key_policy and found.grade is NONE and not policies.grant:
        return _RESOURCE
    needs_identity = not (found.grade is ROLE and is_own)
    if needs_identity and found.identity is None and not request.is_root:
        return _IDENTITY
    if policies.boundary and found.boundary is None:
        return _BOUNDARY
    if policies.session and found.session is None:
        return _SESSION
    return _RESOURCE if needs_key_policy and found.grade is NONE else None


def _denial(request: Request, policies: Policies, caller: Names) -> Hit | None:
    """The first Deny that applies."""
    action, resource, context = request.action, request.resource, request.folded
    if policies.key_policy is not None:
        for statement in policies.key_policy.for_action(action)[0]:
            if is_denied_to(statement, caller, policies) and statement.holds(resource, request.of_key_policy):
                return Hit(_RESOURCE, KEY_POLICY, statement)
    for policy_type, named in _others(policies):
        for name, document in named:
            for statement in document.for_action(action)[0]:
                if statement.holds(resource, context):
                    return Hit(policy_type, name, statement)
    return None


def is_denied_to(statement: Statement, caller: Names, policies: Policies) -> bool:
    """Whether a Deny of the key policy is for the caller."""
    assert statement.principals is not None  # noqa: S101 # of a key policy
    if statement.principals.negated and policies.boundary is not None:
        # A Deny with NotPrincipal is for everyone with a permissions boundary, whomever it names.
        # https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_notprincipal.html
        return True
    return statement.principals.grade(caller) is not NONE


def _others(policies: Policies) -> Iterable[tuple[PolicyType, Sequence[Named]]]:
    yield _IDENTITY, policies.identity
    if policies.boundary is not None:
        yield _BOUNDARY, (policies.boundary,)
    yield _SESSION, policies.session


def _key_policy(request: Request, policies: Policies, caller: Names) -> tuple[Grade, Hit | None]:
    """The key policy's Allow that names the caller best."""
    best, hit = NONE, None
    if policies.key_policy is None:
        return best, hit
    resource, context = request.resource, request.of_key_policy
    for statement in policies.key_policy.for_action(request.action)[1]:
        assert statement.principals is not None  # noqa: S101 # of a key policy
        grade = statement.principals.grade(caller)
        if grade > best and statement.holds(resource, context):
            best, hit = grade, Hit(_RESOURCE, KEY_POLICY, statement)
            if best is CALLER:
                break
    return best, hit


def _allowing(policy_type: PolicyType, named: Iterable[Named], request: Request) -> Hit | None:
    resource, context = request.resource, request.folded
    for name, document in named:
        for statement in document.for_action(request.action)[1]:
            if statement.holds(resource, context):
                return Hit(policy_type, name, statement)
    return None


def _values(value: str | Sequence[str]) -> Sequence[str]:
    return (value,) if isinstance(value, str) else value
