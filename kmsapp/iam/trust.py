"""Whether a caller may assume a role: the role's trust policy and the caller's own policies, decided like a key's.

In the role's own account a trust policy that names the caller suffices; one that names the account leaves it to the
caller's policies. From another account both must allow. Session tags and a source identity are further actions on the
role (sts:TagSession, sts:SetSourceIdentity), each allowed in the same way.
https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_evaluation-logic-cross-account.html
https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_iam-condition-keys.html#condition-keys-sts
"""

from __future__ import annotations

import logging

from kmsapp import arns
from kmsapp.call import Call
from kmsapp.compiled_policies import compiled
from kmsapp.condition_keys import ConditionKeys, Value
from kmsapp.errors import AccessDeniedException
from kmsapp.iam import identity_policies
from kmsapp.iam.session_requests import SessionRequest
from kmsapp.models import Role
from kmsapp.policy import evaluation
from kmsapp.policy.documents import Document, Kind
from kmsapp.policy.errors import PolicyError

logger = logging.getLogger(__name__)

ASSUME, TAG, SET_SOURCE_IDENTITY = "sts:AssumeRole", "sts:TagSession", "sts:SetSourceIdentity"


def require(call: Call, role_arn: str, request: SessionRequest) -> Role:
    """The role of that ARN, which the caller may assume with such a session.

    Raises: AccessDeniedException, with one text for a role that does not exist and one that does not trust the caller.
    """
    role = _find(role_arn)
    if role is None:
        raise _denied(call, ASSUME, role_arn)
    if request.own_source_identity and call.caller.source_identity not in ("", request.source_identity):
        # The identity that began a chain of roles stays with it.
        raise _denied(call, SET_SOURCE_IDENTITY, role_arn)
    trust = _trust_policy(role)
    if trust is None:
        raise _denied(call, ASSUME, role_arn)
    keys = _keys(call, role, request)
    for action in _actions(request):
        if not _decide(call, role, trust, action, keys).is_allowed:
            raise _denied(call, action, role_arn)
        call.checked.append(action)
    return role


def _find(role_arn: str) -> Role | None:
    arn = arns.parse_role(role_arn)
    if arn is None:
        return None
    role = Role.objects.filter(account_id=arn.account, name=arn.name).first()
    return role if role is not None and role.arn == role_arn else None


def _trust_policy(role: Role) -> Document | None:
    """The role's trust policy; None for one that was damaged since it was stored: it trusts nobody."""
    try:
        return compiled(role.trust_policy, Kind.TRUST)
    except PolicyError:
        logger.exception("the trust policy of %s does not parse: nobody is trusted", role.arn)
        return None


def _actions(request: SessionRequest) -> list[str]:
    """What is done to the role. Tags and a source identity that a chain hands on need their permission each time."""
    wanted = [ASSUME]
    wanted += [TAG] if request.tags else []
    wanted += [SET_SOURCE_IDENTITY] if request.source_identity else []
    return wanted


def _decide(call: Call, role: Role, trust: Document, action: str, keys: ConditionKeys) -> evaluation.Decision:
    caller = call.caller
    carried = identity_policies.of(caller)
    asked = evaluation.Request(
        principal_arn=caller.principal_arn,
        principal_id=caller.identity_id,
        principal_account=caller.account,
        action=action,
        resource=role.arn,
        resource_account=role.account_id,
        context=keys,
    )
    policies = evaluation.Policies(
        key_policy=trust,
        identity=carried.identity,
        boundary=carried.boundary,
        session=carried.session,
        key_policy_principals=role.trust_principals or None,
    )
    return evaluation.evaluate(asked, policies)


def _keys(call: Call, role: Role, request: SessionRequest) -> ConditionKeys:
    more: dict[str, Value] = {
        "sts:RoleSessionName": request.name,
        "sts:ExternalId": request.external_id,
        "sts:SourceIdentity": request.source_identity,
        "sts:TransitiveTagKeys": tuple(request.transitive_tag_keys),
        "aws:TagKeys": tuple(request.tags),
    }
    more.update({f"aws:RequestTag/{key}": value for key, value in request.tags.items()})
    for prefix in ("aws", "iam"):
        more.update({f"{prefix}:ResourceTag/{key}": value for key, value in role.tags.items()})
    return ConditionKeys(call, identity_policies.of(call.caller).tags, action=ASSUME, more=more)


def _denied(call: Call, action: str, role_arn: str) -> AccessDeniedException:
    return AccessDeniedException(
        f"User: {call.caller.principal_arn} is not authorized to perform: {action} on resource: {role_arn}"
    )
