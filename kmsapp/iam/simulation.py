"""Simulate{Principal,Custom}Policy: what policies would decide, by the same code that decides; and which condition keys
they ask for, GetContextKeysFor{Principal,Custom}Policy.

Each action is tried on each resource. A ResourcePolicy is read as a key policy, the only policy of a resource that is
here. Of organizations there is none.
https://docs.aws.amazon.com/IAM/latest/UserGuide/access_policies_testing-policies.html
"""

from __future__ import annotations

import functools
import itertools
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from kmsapp import access, arns
from kmsapp.call import Call
from kmsapp.errors import InvalidInputException
from kmsapp.iam import lists, policy_sources, recording
from kmsapp.iam.entities import GROUP, ROLE, USER, Kind
from kmsapp.iam.policy_sources import Source
from kmsapp.iam.simulation_work import MOST_WORK, Work, require_size
from kmsapp.models import Group, Role, User
from kmsapp.policy import json_text
from kmsapp.policy.documents import Document, Statement, parse
from kmsapp.policy.documents import Kind as PolicyKind
from kmsapp.policy.errors import Path, PolicyError
from kmsapp.policy.evaluation import KEY_POLICY, Decision, Named, Outcome, Policies, Request, evaluate
from kmsapp.registry import operation

_DECISIONS = {
    Outcome.ALLOW: "allowed",
    Outcome.EXPLICIT_DENY: "explicitDeny",
    Outcome.IMPLICIT_DENY: "implicitDeny",
}
_VARIABLE = re.compile(r"\$\{([^*?$,}'][^,}']*?)\s*[,}]")
_ACCOUNT = re.compile(r"(?:arn:aws:(?:iam|sts)::)?([0-9]{12})(?::.*)?\Z")
_KINDS: tuple[Kind[Any], ...] = (USER, GROUP, ROLE)


@dataclass(frozen=True)
class _Simulation:
    """What all tries of a call have in common."""

    request: Request  # with no action and no resource yet
    policies: Policies
    kinds: Sequence[str]  # PolicySourceType of each of policies.identity; "" for one that was given with the call

    @cached_property
    def documents(self) -> list[Document]:
        """Everything that has a say."""
        policies = self.policies
        named = [*policies.identity, *([policies.boundary] if policies.boundary else [])]
        return [document for _, document in named] + ([policies.key_policy] if policies.key_policy else [])

    @cached_property
    def asked_for(self) -> dict[int, list[str]]:
        """The condition keys and variables of each statement, by its identity."""
        return {id(one): _context_keys([one]) for document in self.documents for one in document.statements}


@operation("iam:SimulateCustomPolicy", read_only=True)
def simulate_custom_policy(call: Call, params: dict[str, Any]) -> dict[str, Any]:
    """https://docs.aws.amazon.com/IAM/latest/APIReference/API_SimulateCustomPolicy.html"""
    recording.note(call, params)
    access.account(call, "iam:SimulateCustomPolicy")
    caller_arn = params.get("CallerArn") or ""
    return _simulate(call, params, [], None, caller_arn, {})


@operation("iam:SimulatePrincipalPolicy", read_only=True)
def simulate_principal_policy(call: Call, params: dict[str, Any]) -> dict[str, Any]:
    """https://docs.aws.amazon.com/IAM/latest/APIReference/API_SimulatePrincipalPolicy.html"""
    recording.note(call, params)
    arn = params["PolicySourceArn"]
    entity = _entity(call, "iam:SimulatePrincipalPolicy", arn)
    boundary = policy_sources.boundary_source(entity)
    # Who calls is the user whose policies they are. Groups and roles call nothing; a role's sessions do.
    caller_arn = params.get("CallerArn") or (arn if isinstance(entity, User) else "")
    known = _known_of(entity) if caller_arn in ("", arn) else {}
    return _simulate(call, params, policy_sources.identity_sources(entity), boundary, caller_arn, known)


def _entity(call: Call, action: str, arn: str) -> User | Group | Role:
    """The user, group or role of the caller's account whose ARN it is, once the caller may do the action to it."""
    for kind in _KINDS:
        prefix = f"arn:aws:iam::{call.caller.account}:{kind.noun}/"
        if arn.startswith(prefix):
            found: User | Group | Role = kind.find(call, action, arn.rpartition("/")[2])
            if found.arn != arn:
                raise kind.missing(arn.rpartition("/")[2])
            return found
    access.account(call, action, resource=arn)
    raise _no_entity(arn)


def _known_of(entity: User | Group | Role) -> dict[str, str]:
    """Condition keys that follow from who it is."""
    if isinstance(entity, Group):
        return {}
    known = {f"aws:PrincipalTag/{key}": value for key, value in entity.tags.items()}
    known |= {"aws:PrincipalArn": entity.arn, "aws:PrincipalAccount": entity.account_id}
    if isinstance(entity, User):
        known |= {"aws:username": entity.user_name, "aws:userid": entity.user_id, "aws:PrincipalType": "User"}
    return known


def _simulate(
    call: Call,
    params: Mapping[str, Any],
    sources: Sequence[Source],
    boundary: Source | None,
    caller_arn: str,
    known: Mapping[str, str],
) -> dict[str, Any]:
    _require_built(params)
    simulation = _prepared(call, params, sources, boundary, caller_arn, known)
    actions, resources = params["ActionNames"], params.get("ResourceArns") or ["*"]
    work = Work(simulation.documents, simulation.request.folded)

    def one_try(number: int) -> tuple[str, str]:
        action, resource = divmod(number, len(resources))
        return actions[action], resources[resource]

    # A marker goes on in the same list of tries, so what is tried must be the same.
    of = json.dumps([actions, resources])
    total = len(actions) * len(resources)
    page, ending = lists.page_of_numbers(
        call, params, total, lambda number: work.of(*one_try(number)), MOST_WORK, of=of
    )
    return {"EvaluationResults": [_result(simulation, *one_try(number)) for number in page], **ending}


def _require_built(params: Mapping[str, Any]) -> None:
    for member in ("OrderedOrganizationPolicyInputList", "PolicyExclusionList", "ResourceHandlingOption"):
        if params.get(member):
            raise InvalidInputException(f"{member} is not built in this version of Casemate.")
    for action in params["ActionNames"]:
        if not re.fullmatch(r"[0-9A-Za-z-]+:[0-9A-Za-z]+", action):
            raise InvalidInputException(f"Invalid action name: {action}. Name one action, as in kms:Decrypt.")


def _prepared(
    call: Call,
    params: Mapping[str, Any],
    sources: Sequence[Source],
    boundary: Source | None,
    caller_arn: str,
    known: Mapping[str, str],
) -> _Simulation:
    given, boundaries = _given(params, "PolicyInputList"), _given(params, "PermissionsBoundaryPolicyInputList")
    texts = [source.document for source in (*sources, *given, *boundaries)]
    require_size([*texts, params.get("ResourcePolicy") or ""])
    if len(boundaries) > 1:
        raise InvalidInputException("There can be one permissions boundary.")
    # A boundary that is given stands in for the principal's own.
    limit = boundaries[0] if boundaries else boundary
    resource_policy, account = params.get("ResourcePolicy"), _account_of(caller_arn) or call.caller.account
    _require_user(caller_arn)
    if resource_policy and not caller_arn:
        raise InvalidInputException("CallerArn is required with a ResourcePolicy.")
    policies = Policies(
        key_policy=_parsed(resource_policy, PolicyKind.KEY, "ResourcePolicy") if resource_policy else None,
        identity=[_named(source) for source in (*sources, *given)],
        boundary=_named(limit) if limit else None,
    )
    request = Request(
        # Without a caller the policies alone are asked. It has to be somebody who is not the root user.
        principal_arn=caller_arn or f"arn:aws:iam::{account}:user/simulated",
        principal_id=known.get("aws:userid", ""),
        principal_account=account,
        action="",
        resource="",
        resource_account=_account_of(params.get("ResourceOwner") or "") or account,
        context={**known, **_context(params.get("ContextEntries") or ())},
    )
    return _Simulation(request, policies, [source.kind for source in (*sources, *given)])


def _require_user(caller_arn: str) -> None:
    """Refuse a CallerArn that is no user's, as AWS documents it; the sentence is the one for a PolicySourceArn."""
    arn = arns.parse_principal(caller_arn)
    if caller_arn and (arn is None or arn.kind != "user"):
        raise _no_entity(caller_arn)


def _no_entity(arn: str) -> InvalidInputException:
    return InvalidInputException(f"Invalid Entity Arn: {arn} does not clearly define entity type and name.")


def _given(params: Mapping[str, Any], member: str) -> list[Source]:
    """Policies that are given with the call, by the names that the simulator gives them."""
    return [Source(f"{member}.{number}", "", document) for number, document in enumerate(params.get(member) or (), 1)]


def _account_of(owner: str) -> str:
    match = _ACCOUNT.match(owner)
    return match[1] if match else ""


def _named(source: Source) -> Named:
    """The policy by the name that the simulator gives it, in which an inline one has its owner's."""
    name = f"{source.kind}_{source.owner}_{source.name}" if source.owner else source.name
    return Named(name, _parsed(source.document, PolicyKind.IDENTITY, name))


def _parsed(document: str, kind: PolicyKind, name: str) -> Document:
    try:
        return parse(document, kind)
    except PolicyError as error:
        raise InvalidInputException(f"{name}: {error.aws_message} {error}") from error


def _context(entries: Sequence[Mapping[str, Any]]) -> dict[str, str | Sequence[str]]:
    """The condition keys of ContextEntries; a type that ends in List makes a key of several values."""
    found: dict[str, str | Sequence[str]] = {}
    for entry in entries:
        name, values = entry.get("ContextKeyName"), entry.get("ContextKeyValues") or []
        if name is None:
            raise InvalidInputException("A context entry must have a ContextKeyName.")
        is_list = (entry.get("ContextKeyType") or "string").endswith("List") or len(values) > 1
        if values:
            found[name] = tuple(values) if is_list else values[0]
    return found


def _result(simulation: _Simulation, action: str, resource: str) -> dict[str, Any]:
    """https://docs.aws.amazon.com/IAM/latest/APIReference/API_EvaluationResult.html"""
    request = replace(simulation.request, action=action, resource=resource)
    decision = evaluate(request, simulation.policies)
    shown: dict[str, Any] = {
        "EvalActionName": action,
        "EvalResourceName": resource,
        "EvalDecision": _DECISIONS[decision.outcome],
        "MatchedStatements": list(_matched(simulation, decision)),
        "MissingContextValues": _missing(simulation, request),
    }
    boundary = simulation.policies.boundary
    if boundary is not None:
        by_boundary = evaluate(request, Policies(None, [boundary]))
        shown["PermissionsBoundaryDecisionDetail"] = {"AllowedByPermissionsBoundary": by_boundary.is_allowed}
    return shown


def _matched(simulation: _Simulation, decision: Decision) -> Iterator[dict[str, Any]]:
    """The statements that made the decision: every Deny or every Allow that applies, the deciding one always."""
    if decision.outcome is Outcome.IMPLICIT_DENY:
        return
    request, wanted = decision.request, 0 if decision.outcome is Outcome.EXPLICIT_DENY else 1
    decisive = decision.statement
    for (name, document), kind in zip(simulation.policies.identity, simulation.kinds, strict=True):
        for statement in document.for_action(request.action)[wanted]:
            if statement.holds(request.resource, request.folded):
                decisive = None if statement is decisive else decisive
                yield _statement(name, kind, statement)
    if decisive is not None and decision.policy == KEY_POLICY:
        yield _statement("ResourcePolicy", "resource", decisive)
    elif decisive is not None:
        yield _statement(decision.policy, "", decisive)


def _statement(name: str, kind: str, statement: Statement) -> dict[str, Any]:
    """https://docs.aws.amazon.com/IAM/latest/APIReference/API_Statement.html"""
    start, end = _positions(statement.text)[statement.path]
    return {
        "SourcePolicyId": name,
        "SourcePolicyType": kind or None,
        "StartPosition": start,
        "EndPosition": end,
    }


_Position = dict[str, int]


@functools.lru_cache(maxsize=32)
def _positions(text: str) -> dict[Path, tuple[_Position, _Position]]:
    """Where each statement of a policy begins and ends: all of them at once, because a walk over the text finds all."""
    found: dict[Path, tuple[_Position, _Position]] = {}
    for path, offset in json_text.places(text):
        if path == ("Statement",) or (path[:1] == ("Statement",) and len(path) == 2 and isinstance(path[1], int)):
            # The place of a statement without a list around it is that of the member's name.
            start = text.index("{", offset)
            _, end = json.JSONDecoder().raw_decode(text, start)
            found[path] = _position(text, start), _position(text, end)
    return found


def _position(text: str, offset: int) -> _Position:
    line, column = json_text.line_and_column(text, offset)
    return {"Line": line, "Column": column}


def _missing(simulation: _Simulation, request: Request) -> list[str]:
    """Condition keys of the statements about the action that the call gives no value for."""
    fitting = (one for document in simulation.documents for part in document.for_action(request.action) for one in part)
    asked = {name.lower(): name for one in fitting for name in simulation.asked_for[id(one)]}
    return sorted(name for lower, name in asked.items() if lower not in request.folded)


def _context_keys(statements: Iterable[Statement]) -> list[str]:
    """Condition keys and variables in the statements, each once, as a policy spells it."""
    found: dict[str, str] = {}
    for statement in statements:
        texts = (*statement.resources, *(value for one in statement.conditions for value in one.values))
        names = [one.key for one in statement.conditions] + [name for text in texts for name in _VARIABLE.findall(text)]
        found.update((name.lower(), name) for name in names)
    return sorted(found.values())


@operation("iam:GetContextKeysForCustomPolicy", read_only=True)
def get_context_keys_for_custom_policy(call: Call, params: dict[str, Any]) -> dict[str, Any]:
    """https://docs.aws.amazon.com/IAM/latest/APIReference/API_GetContextKeysForCustomPolicy.html"""
    recording.note(call, params)
    access.account(call, "iam:GetContextKeysForCustomPolicy")
    return _keys_of(_given(params, "PolicyInputList"))


@operation("iam:GetContextKeysForPrincipalPolicy", read_only=True)
def get_context_keys_for_principal_policy(call: Call, params: dict[str, Any]) -> dict[str, Any]:
    """https://docs.aws.amazon.com/IAM/latest/APIReference/API_GetContextKeysForPrincipalPolicy.html"""
    recording.note(call, params)
    entity = _entity(call, "iam:GetContextKeysForPrincipalPolicy", params["PolicySourceArn"])
    return _keys_of([*policy_sources.identity_sources(entity), *_given(params, "PolicyInputList")])


def _keys_of(sources: Iterable[Source]) -> dict[str, Any]:
    sources = list(sources)
    require_size(source.document for source in sources)
    statements = (_named(source).document.statements for source in sources)
    return {"ContextKeyNames": _context_keys(itertools.chain.from_iterable(statements))}
