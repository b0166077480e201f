"""ListGrants and ListRetirableGrants."""

from __future__ import annotations

from typing import Any

from django.db.models import QuerySet

from kmsapp import access, denials, grant_principals, grant_rules, paging
from kmsapp.call import Call
from kmsapp.errors import ValidationException
from kmsapp.models import Grant
from kmsapp.operations import grant_parameters
from kmsapp.registry import operation

DEFAULT, MOST = 50, 100


@operation("kms:ListGrants", read_only=True)
def list_grants(call: Call, params: dict[str, Any]) -> dict[str, Any]:
    """https://docs.aws.amazon.com/kms/latest/APIReference/API_ListGrants.html"""
    for name, shown in (("KeyId", "keyId"), ("GrantId", "grantId"), ("GranteePrincipal", "granteePrincipal")):
        if params.get(name):
            call.audit_parameters[shown] = params[name]
    _refuse_services(params, "GranteePrincipal", "GranteeServicePrincipal")
    grant_id = params.get("GrantId")
    if grant_id:
        grant_parameters.require_grant_id(grant_id)
    found = access.key(call, params["KeyId"], "kms:ListGrants")
    rows = Grant.objects.filter(key_id=found.pk)
    if grant_id:
        rows = rows.filter(grant_id=grant_id)
    if params.get("GranteePrincipal"):
        rows = _of_principal(rows, "grantee", params["GranteePrincipal"])
    purpose = f"ListGrants {found.arn} {grant_id or ''} {params.get('GranteePrincipal') or ''}"
    return _page(rows, params, purpose)


@operation("kms:ListRetirableGrants", read_only=True)
def list_retirable_grants(call: Call, params: dict[str, Any]) -> dict[str, Any]:
    """https://docs.aws.amazon.com/kms/latest/APIReference/API_ListRetirableGrants.html"""
    if params.get("RetiringPrincipal"):
        call.audit_parameters["retiringPrincipal"] = params["RetiringPrincipal"]
    _refuse_services(params, "RetiringPrincipal", "RetiringServicePrincipal")
    principal = grant_parameters.one_of(params, "RetiringPrincipal", "RetiringServicePrincipal", required=True)
    access.account(call, "kms:ListRetirableGrants", principal)
    _require_own(call, principal)
    # By ARN alone: a unique id does not say whose account it is of.
    grant_principals.require_arn(principal)
    rows = _of_principal(Grant.objects.filter(key__region=call.caller.region), "retiring", principal)
    return _page(rows, params, f"ListRetirableGrants {call.caller.region} {principal}")


def _require_own(call: Call, principal: str) -> None:
    """Refuse a principal of another account before telling whether it exists."""
    parts = principal.split(":")
    if len(parts) >= 6 and parts[4] != call.caller.account:
        raise denials.foreign(call, "kms:ListRetirableGrants", principal)


def _refuse_services(params: dict[str, Any], principal: str, service: str) -> None:
    """Refuse the filter that is for callers who are AWS services, of whom there are none here."""
    grant_parameters.one_of(params, principal, service, required=False)
    if params.get(service):
        raise ValidationException(f"Only an AWS service can use {service} as a filter.")


def _of_principal(rows: QuerySet[Grant], role: str, principal: str) -> QuerySet[Grant]:
    """The grants that have this principal as their grantee or retiring principal (`role`).

    principal: an ARN, or the unique id as which a principal that is gone is shown.
    """
    if grant_principals.is_unique_id(principal):
        return rows.filter(**{f"{role}_id": principal})
    rows = rows.filter(**{f"{role}_id": grant_principals.unique_ids([principal])[principal]})
    if grant_principals.is_session(principal):
        return rows.filter(**{f"{role}_principal": principal})
    return rows.exclude(**{f"{role}_principal__startswith": "arn:aws:sts::"})


def _page(rows: QuerySet[Grant], params: dict[str, Any], purpose: str) -> dict[str, Any]:
    answer = paging.answer(
        "Grants",
        rows.select_related("key"),
        lambda grant: grant,
        by="grant_id",
        purpose=purpose,
        limit=min(params.get("Limit") or DEFAULT, MOST),
        marker_given=params.get("Marker"),
    )
    answer["Grants"] = _entries(answer["Grants"])
    return answer


def _entries(page: list[Grant]) -> list[dict[str, Any]]:
    """https://docs.aws.amazon.com/kms/latest/APIReference/API_GrantListEntry.html"""
    named = [(grant.grantee_principal, grant.grantee_id) for grant in page]
    named += [(grant.retiring_principal, grant.retiring_id) for grant in page]
    shown = grant_principals.current(named)
    return [_entry(grant, shown) for grant in page]


def _entry(grant: Grant, shown: dict[tuple[str, str], str]) -> dict[str, Any]:
    entry = {
        "KeyId": grant.key.arn,
        "GrantId": grant.grant_id,
        "CreationDate": grant.created_at,
        "IssuingAccount": grant_rules.account_arn(grant.issuing_account),
        "Name": grant.name,  # of a grant without one, "", as AWS prints it; some clients rely on its being there
        "Operations": grant.operations,
        **_principal("Grantee", grant.grantee_principal, grant.grantee_id, shown),
        **_principal("Retiring", grant.retiring_principal, grant.retiring_id, shown),
    }
    if grant.constraints:
        entry["Constraints"] = grant.constraints
    return entry


def _principal(role: str, principal: str, unique_id: str, shown: dict[tuple[str, str], str]) -> dict[str, str]:
    if not principal:
        return {}
    if grant_principals.is_service(principal):
        return {f"{role}ServicePrincipal": principal}
    return {f"{role}Principal": shown[principal, unique_id]}
