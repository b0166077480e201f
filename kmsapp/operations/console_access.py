"""The policy simulator of a key's page: the decision of access.py for somebody else, and the way to it.

AWS has none that knows key policies and grants. Who asks must be allowed to read the key's policy and to simulate the
principal's (iam:SimulatePrincipalPolicy).
"""

from __future__ import annotations

import dataclasses
import json
from typing import Any

from kmsapp import access, arns, cross_account, grant_rules, grants
from kmsapp.arns import PrincipalArn
from kmsapp.call import Call
from kmsapp.caller import Caller
from kmsapp.compiled_policies import compiled
from kmsapp.errors import NoSuchEntityException, ValidationException
from kmsapp.iam.identity_policies import Carried
from kmsapp.key_facts import KeyFacts
from kmsapp.models import Role, User
from kmsapp.policy import explanation
from kmsapp.policy.documents import Kind
from kmsapp.policy.evaluation import Decision, Named, Outcome
from kmsapp.policy.explanation import State, Step
from kmsapp.registry import operation

SESSION_NAME = "simulated"  # of a role, whose sessions are what calls
_KINDS = {
    "key policy": "keyPolicy",
    "delegation to the account": "delegation",
    "identity-based policies": "identityPolicies",
    "permissions boundary": "permissionsBoundary",
    "session policy": "sessionPolicies",
    "grant": "grants",
}
_STATES = {State.PASSED: "passed", State.FAILED: "failed", State.NOT_NEEDED: "notNeeded"}
# Another account's policies are not the asker's to read.
_TAKEN_FOR_GRANTED = json.dumps(
    {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}
)
_OF_A_SESSION = (
    "Policies and tags that a session is given when it begins are not known here. They may change the answer."
)
_THEIRS = (
    "Policies of another account are not yours to read. They must allow this too, which is taken for granted here."
)


@operation("console:SimulateKeyAccess", read_only=True, recorded_as="iam:SimulatePrincipalPolicy")
def simulate_key_access(call: Call, params: dict[str, Any]) -> dict[str, Any]:
    """May the principal do this with the key, and why?

    KeyId, PrincipalArn, Action; EncryptionContext, SourceIp, SecureTransport, CurrentTime (ISO 8601) and MoreContext
    (condition key -> value or list of values) say how the request would be.
    """
    arn, action = str(params["PrincipalArn"]), str(params["Action"])
    call.audit_parameters.update(policySourceArn=arn, actionNames=[action], keyId=params["KeyId"])
    found = access.key(call, params["KeyId"], "kms:GetKeyPolicy")
    access.account(call, "iam:SimulatePrincipalPolicy", resource=arn)
    caller = _caller(call.caller, arn, params)
    asked = dataclasses.replace(
        call,
        caller=caller,
        operation=action.partition(":")[2],
        params=_request(action.partition(":")[2], params.get("EncryptionContext") or {}),
        checked=[],
        resources=[],
    )
    is_foreign = caller.account != found.account
    if is_foreign and action not in cross_account.ACTIONS:
        raise ValidationException(f"{action} is not possible from another account, whatever policies say.")
    decision = access.explain(
        asked, found, action, more=_more(params), carried=_carried_by_a_stranger() if is_foreign else None
    )
    steps = [_step(step, decision) for step in explanation.path(decision)]
    steps[-1] = _with_reasons(steps[-1], call, asked, found, decision)
    if is_foreign:
        steps = [_unread(step, _THEIRS) if step["Kind"] == "identityPolicies" else step for step in steps]
    elif caller.principal_type == "AssumedRole" and not decision.policies.session:
        steps = [_unread(step, _OF_A_SESSION) if step["Kind"] == "sessionPolicies" else step for step in steps]
    return {
        "Outcome": str(decision.outcome),
        "Message": "" if decision.is_allowed else explanation.access_denied(decision),
        "Steps": steps,
        "KeyArn": found.arn,
        "PrincipalArn": arn,
        "Action": action,
    }


def _request(operation: str, context: dict[str, str]) -> dict[str, Any]:
    """The members of the request that policies and grants look at."""
    if operation == "CreateGrant":
        return {"Operations": []}  # of no more than any grant allows
    return {grant_rules.CONTEXT_MEMBER.get(operation, "EncryptionContext"): context} if context else {}


def _with_reasons(step: dict[str, Any], call: Call, asked: Call, found: KeyFacts, decision: Decision) -> dict[str, Any]:
    """The step of grants; if none covers the caller, what those that the caller holds lack, for who may list grants."""
    if step["State"] != "failed" or decision.policies.grant or not access.may(call, found, "kms:ListGrants"):
        return step
    iam_allows = access.is_allowed_by_own_account(decision)
    reasons = grants.why_not(asked, found, decision.request.action, iam_allows=iam_allows)
    return {**step, "Sentence": " ".join(reasons)} if reasons else step


def _carried_by_a_stranger() -> Carried:
    named = Named("policies of the other account", compiled(_TAKEN_FOR_GRANTED, Kind.IDENTITY))
    return Carried((named,), None, (), {})


def _unread(step: dict[str, Any], why: str) -> dict[str, Any]:
    nothing = {"Policy": "", "StatementNumber": 0, "Sid": "", "Line": 0, "Statement": ""}
    return {**step, **nothing, "State": "unread", "Sentence": why}


def _more(params: dict[str, Any]) -> dict[str, str | tuple[str, ...]]:
    given = params.get("MoreContext") or {}
    more = {name: value if isinstance(value, str) else tuple(value) for name, value in given.items()}
    if params.get("CurrentTime"):
        more["aws:CurrentTime"] = params["CurrentTime"]
    return more


def _caller(asking: Caller, arn: str, params: dict[str, Any]) -> Caller:
    """Who the principal would be as a caller. Raises: ValidationException, NoSuchEntityException."""
    parts = arns.parse_principal(arn)
    if parts is None:
        raise ValidationException(f"{arn} is not the ARN of a user, a role, a session or an account's root.")
    anybody = Caller(
        account=parts.account,
        region=asking.region,
        principal_arn=arn,
        principal_id=parts.account,
        source_ip=params.get("SourceIp") or "",
        is_secure=bool(params.get("SecureTransport", True)),
    )
    is_own = parts.account == asking.account
    if parts.kind == "root":
        return dataclasses.replace(anybody, principal_type="Root")
    if parts.kind == "user":
        return _user(anybody, parts.name, must_exist=is_own)
    return _role_session(anybody, parts, must_exist=is_own)


def _user(anybody: Caller, name: str, *, must_exist: bool) -> Caller:
    user = User.objects.filter(account_id=anybody.account, user_name=name, is_root=False).first()
    if must_exist and (user is None or user.arn != anybody.principal_arn):
        raise NoSuchEntityException(f"The user with name {name} cannot be found.")
    return dataclasses.replace(anybody, principal_id=user.user_id if user else "", user_name=name)


def _role_session(anybody: Caller, parts: PrincipalArn, *, must_exist: bool) -> Caller:
    session = parts.session or SESSION_NAME
    role = Role.objects.filter(account_id=parts.account, name=parts.name).first()
    if must_exist and (role is None or not (parts.session or role.arn == anybody.principal_arn)):
        raise NoSuchEntityException(f"The role with name {parts.name} cannot be found.")
    # The ARN of a session leaves its role's path out.
    own_arn = f"arn:aws:iam::{parts.account}:role/{parts.name}" if parts.session else anybody.principal_arn
    return dataclasses.replace(
        anybody,
        principal_arn=arns.assumed_role_arn(parts.account, parts.name, session),
        principal_id=f"{role.role_id if role else ''}:{session}",
        principal_type="AssumedRole",
        role_arn=role.arn if role else own_arn,
    )


def _step(step: Step, decision: Decision) -> dict[str, Any]:
    statement = step.statement
    denied = step.state is State.FAILED and decision.outcome is Outcome.EXPLICIT_DENY
    return {
        "Kind": _KINDS[step.name],
        "State": "denied" if denied else _STATES[step.state],
        "Sentence": step.sentence,
        "Policy": step.policy,
        "StatementNumber": statement.index + 1 if statement else 0,
        "Sid": statement.sid if statement else "",
        "Line": statement.line if statement else 0,
        "Statement": statement.as_json if statement else "",
    }
