"""CreateGrant, RetireGrant and RevokeGrant."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from django.db import IntegrityError, transaction

from hsmapp import clock
from kmsapp import access, grant_principals, grants, ids, key_facts, key_states, shapes
from kmsapp.call import Call
from kmsapp.errors import LimitExceededException, NotFoundException, ValidationException
from kmsapp.grant_rules import Permissions, Terms
from kmsapp.key_facts import KeyFacts
from kmsapp.models import Grant
from kmsapp.operations import cryptography, grant_parameters
from kmsapp.operations.keys import locked
from kmsapp.registry import operation

GRANTS_PER_KEY = 50_000
# Not GrantTokens: CloudTrail withholds them.
_AUDITED = (
    "KeyId",
    "GranteePrincipal",
    "GranteeServicePrincipal",
    "RetiringPrincipal",
    "RetiringServicePrincipal",
    "Operations",
    "Name",
)


@operation("kms:CreateGrant")
def create_grant(call: Call, params: dict[str, Any]) -> dict[str, Any]:
    """https://docs.aws.amazon.com/kms/latest/APIReference/API_CreateGrant.html"""
    asked = grants.asked_for(call)
    call.audit_parameters.update({shapes.lower_camel(name): params[name] for name in _AUDITED if params.get(name)})
    if asked.constraints:
        shown = {shapes.lower_camel(name): value for name, value in asked.constraints.items()}
        call.audit_parameters["constraints"] = shown
    grantee = grant_parameters.one_of(params, "GranteePrincipal", "GranteeServicePrincipal", required=True)
    retiring = grant_parameters.one_of(params, "RetiringPrincipal", "RetiringServicePrincipal", required=False)
    grant_parameters.require_service_terms(params)
    grant_parameters.require_valid(asked)
    key = access.key(call, params["KeyId"], "kms:CreateGrant")
    key_states.require("CreateGrant", key)
    grant_parameters.require_supported(asked, key)
    found = _unique_ids(params)
    grant = Grant(
        grant_id=ids.new_grant_id(),
        key_id=key.pk,
        name=params.get("Name") or "",
        grantee_principal=grantee,
        grantee_id=found.get(grantee, ""),
        retiring_principal=retiring,
        retiring_id=found.get(retiring, ""),
        issuing_account=call.caller.account,
        operations=list(dict.fromkeys(params["Operations"])),
        constraints=asked.constraints,
        created_at=clock.now(),
    )
    grant.properties_sha256 = _digest(grant, asked)
    cryptography.end_dry_run(params)
    response = {"keyId": key.arn}
    with call.change(response):
        response["grantId"] = _write(call, key, grant)
    grant_id = response["grantId"]
    return {"GrantToken": grants.new_token(key.account, key.region, grant_id), "GrantId": grant_id}


def _unique_ids(params: dict[str, Any]) -> dict[str, str]:
    """Of the principals that are no services. Raises InvalidArnException."""
    return grant_principals.unique_ids(params.get(name) or "" for name in ("GranteePrincipal", "RetiringPrincipal"))


def _digest(grant: Grant, asked: Permissions) -> str:
    """SHA-256 of what makes two grants of one name the same grant."""
    properties = [
        grant.grantee_principal,
        grant.grantee_id,
        grant.retiring_principal,
        grant.retiring_id,
        grant.issuing_account,
        sorted(asked.operations),
        asked.constraints,
    ]
    return hashlib.sha256(json.dumps(properties, sort_keys=True).encode()).hexdigest()


def _write(call: Call, key: KeyFacts, grant: Grant) -> str:
    """Write the grant and return its id, or that of the grant whose making this call repeats."""
    locked(key, "CreateGrant")  # two callers must not make the 50,001st together
    if call.granted_by:
        access.key(call, key.arn, "kms:CreateGrant")  # whoever has revoked that grant since has done so for good
    if (made := _same(grant)) is not None:
        return made
    if Grant.objects.filter(key_id=key.pk).count() >= GRANTS_PER_KEY:
        raise LimitExceededException(f"{key.arn} has {GRANTS_PER_KEY} grants, as many as a key can have.")
    try:
        with transaction.atomic():
            grant.save(force_insert=True)
    except IntegrityError:
        if (made := _same(grant)) is None:
            raise
        return made
    return grant.grant_id


def _same(grant: Grant) -> str | None:
    """The id of the grant with this name and these properties, if there is one."""
    if not grant.name:
        return None
    rows = Grant.objects.filter(key_id=grant.key_id, name=grant.name, properties_sha256=grant.properties_sha256)
    return rows.values_list("grant_id", flat=True).first()


@operation("kms:RevokeGrant")
def revoke_grant(call: Call, params: dict[str, Any]) -> dict[str, Any]:
    """https://docs.aws.amazon.com/kms/latest/APIReference/API_RevokeGrant.html"""
    call.audit_parameters.update(keyId=params["KeyId"], grantId=params["GrantId"])
    grant_id = grant_parameters.require_grant_id(params["GrantId"])
    key = access.key(call, params["KeyId"], "kms:RevokeGrant")
    if not Grant.objects.filter(key_id=key.pk, grant_id=grant_id).exists():
        raise _not_found(grant_id)
    cryptography.end_dry_run(params)
    with call.change({"keyId": key.arn}):
        _delete(key, grant_id, "RevokeGrant")
    return {}


@operation("kms:RetireGrant")
def retire_grant(call: Call, params: dict[str, Any]) -> dict[str, Any]:
    """https://docs.aws.amazon.com/kms/latest/APIReference/API_RetireGrant.html"""
    by_token = bool(params.get("GrantToken"))
    pair = [params[name] for name in ("KeyId", "GrantId") if params.get(name)]
    if by_token == bool(pair) or len(pair) == 1:
        raise ValidationException("Specify either GrantToken, or both KeyId and GrantId.")
    key, grant_id, grant = _of_token(call, params["GrantToken"]) if by_token else _of_pair(call, *pair)
    call.additional_event_data["grantId"] = grant_id
    access.retirement(call, key, grant_id, grant)
    cryptography.end_dry_run(params)
    with call.change({"keyId": key.arn}):
        _delete(key, grant_id, "RetireGrant")
    return {}


def _of_pair(call: Call, key_identifier: str, grant_id: str) -> tuple[KeyFacts, str, Terms | None]:
    """The key, and what the grant on it says; None if there is no such grant."""
    call.audit_parameters.update(keyId=key_identifier, grantId=grant_id)
    grant_parameters.require_grant_id(grant_id)
    key = access.key_of_grant(call, key_identifier)
    row = Grant.objects.filter(key_id=key.pk, grant_id=grant_id).first()
    return key, grant_id, grants.terms(row) if row is not None else None


def _of_token(call: Call, token: str) -> tuple[KeyFacts, str, Terms]:
    """The same for the grant that a token names. Raises InvalidGrantTokenException."""
    named = grants.named_by(call, token)
    row = Grant.objects.select_related("key").filter(grant_id=named.grant_id).first()
    key = key_facts.by_id(named.account, named.region, row.key.key_id) if row is not None else None
    if row is None or key is None:
        raise grants.invalid_token()
    return key, row.grant_id, grants.terms(row)


def _delete(key: KeyFacts, grant_id: str, operation_name: str) -> None:
    """Delete the grant inside the caller's transaction. Raises NotFoundException if another call has done it first."""
    locked(key, operation_name)  # who makes grants by this one waits, or is waited for
    grant = Grant.objects.select_related("key").filter(key_id=key.pk, grant_id=grant_id).first()
    if grant is None:
        raise _not_found(grant_id)
    grant.delete()


def _not_found(grant_id: str) -> NotFoundException:
    return NotFoundException(f"Grant ID {grant_id} not found")
