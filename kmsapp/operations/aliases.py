"""CreateAlias, UpdateAlias, DeleteAlias and ListAliases, and the rules of alias names.

An alias is of two minds: an action on it needs a permission on the alias, which only identity-based policies give, and
one on each key that it points to.
"""

from __future__ import annotations

import re
from typing import Any

from django.db import IntegrityError, transaction

from hsmapp import clock
from hsmapp.models import KeyIntent
from hsmapp.states import IntentState
from kmsapp import access, arns, key_states, paging
from kmsapp.call import Call
from kmsapp.condition_keys import ALIASES_PER_KEY
from kmsapp.errors import (
    AlreadyExistsException,
    LimitExceededException,
    NotAuthorizedException,
    NotFoundException,
    ValidationException,
)
from kmsapp.key_facts import KeyFacts
from kmsapp.models import Alias, KmsKey
from kmsapp.operations.keys import locked
from kmsapp.registry import operation

LIST_ALIASES_DEFAULT = 50
LIST_ALIASES_MOST = 100
_NAME = re.compile(r"alias/[a-zA-Z0-9/_-]+\Z")


def require_name(alias_name: str) -> None:
    """Refuse a name that AWS refuses (its length and alphabet beyond the model's own pattern)."""
    if not alias_name.startswith("alias/"):
        raise ValidationException(
            'Alias must start with the prefix "alias/". Please see '
            "https://docs.aws.amazon.com/kms/latest/developerguide/kms-alias.html"
        )
    if alias_name.startswith("alias/aws/"):
        raise NotAuthorizedException()
    if not _NAME.match(alias_name):
        raise ValidationException(f"{alias_name} contains invalid characters for an alias")


def taken(alias_arn: str) -> AlreadyExistsException:
    return AlreadyExistsException(f"An alias with the name {alias_arn} already exists")


def require_free(account: str, region: str, alias_name: str) -> None:
    """Refuse a name that an alias has, or that a key which is being made right now has reserved."""
    alias_arn = arns.alias_arn(region, account, alias_name)
    reserved = KeyIntent.objects.filter(reserves=alias_arn, state=IntentState.OPEN).exists()
    if reserved or Alias.objects.filter(account=account, region=region, name=alias_name).exists():
        raise taken(alias_arn)


def write(key: KmsKey, alias_name: str) -> Alias:
    """Write the row inside the caller's transaction. Raises AlreadyExistsException if the name is taken by now."""
    now = clock.now()
    try:
        with transaction.atomic():
            return Alias.objects.create(
                account=key.account, region=key.region, name=alias_name, key=key, created_at=now, updated_at=now
            )
    except IntegrityError as error:
        raise taken(arns.alias_arn(key.region, key.account, alias_name)) from error


@operation("kms:CreateAlias")
def create_alias(call: Call, params: dict[str, Any]) -> dict[str, Any]:
    """https://docs.aws.amazon.com/kms/latest/APIReference/API_CreateAlias.html"""
    name, target = params["AliasName"], params["TargetKeyId"]
    call.audit_parameters.update(aliasName=name, targetKeyId=target)
    require_name(name)
    _require_no_alias(target)
    alias_arn = _authorize_on_alias(call, "kms:CreateAlias", name)
    found = access.key(call, target, "kms:CreateAlias")
    key_states.require("CreateAlias", found)
    call.resources.append(alias_arn)
    with call.change({"keyId": found.arn}):
        key = locked(found, "CreateAlias")  # two callers must not make the 51st together
        require_free(key.account, key.region, name)
        _require_room(key)
        write(key, name)
    return {}


@operation("kms:UpdateAlias")
def update_alias(call: Call, params: dict[str, Any]) -> dict[str, Any]:
    """Let an alias point to another key. The one that it leaves may be in any state.

    https://docs.aws.amazon.com/kms/latest/APIReference/API_UpdateAlias.html
    """
    name, target = params["AliasName"], params["TargetKeyId"]
    call.audit_parameters.update(aliasName=name, targetKeyId=target)
    require_name(name)
    _require_no_alias(target)
    alias_arn = _authorize_on_alias(call, "kms:UpdateAlias", name)
    found = access.key(call, target, "kms:UpdateAlias")
    current = _key_of(call, "kms:UpdateAlias", _find(call, name))
    key_states.require("UpdateAlias", found)
    _require_same_type(current, found)
    call.resources.append(alias_arn)
    with call.change({"keyId": found.arn}):
        key = locked(found, "UpdateAlias")
        alias = _locked_alias(call, "kms:UpdateAlias", name, current)
        if alias.key_id != key.pk:
            _require_room(key)
        alias.key, alias.updated_at = key, clock.now()
        alias.save(update_fields=["key", "updated_at"])
    return {}


@operation("kms:DeleteAlias")
def delete_alias(call: Call, params: dict[str, Any]) -> dict[str, Any]:
    """https://docs.aws.amazon.com/kms/latest/APIReference/API_DeleteAlias.html"""
    name = params["AliasName"]
    call.audit_parameters["aliasName"] = name
    require_name(name)
    alias_arn = _authorize_on_alias(call, "kms:DeleteAlias", name)
    found = _key_of(call, "kms:DeleteAlias", _find(call, name))
    key_states.require("DeleteAlias", found)
    call.resources.append(alias_arn)
    with call.change({"keyId": found.arn}):
        _locked_alias(call, "kms:DeleteAlias", name, found).delete()
    return {}


def _require_no_alias(target: str) -> None:
    if target.startswith("alias/") or ":alias/" in target:
        raise ValidationException("Aliases must refer to keys. Not aliases")


def _authorize_on_alias(call: Call, action: str, alias_name: str) -> str:
    """Authorize the action on an alias of the caller's account, whether or not it is there; return its ARN."""
    alias_arn = arns.alias_arn(call.caller.region, call.caller.account, alias_name)
    access.account(call, action, alias_arn)
    return alias_arn


def _find(call: Call, alias_name: str, *, lock: bool = False) -> Alias:
    rows = Alias.objects.select_for_update(of=("self",)) if lock else Alias.objects.all()
    caller = call.caller
    alias = rows.select_related("key").filter(account=caller.account, region=caller.region, name=alias_name).first()
    if alias is None:
        raise NotFoundException(f"Alias {arns.alias_arn(caller.region, caller.account, alias_name)} is not found.")
    return alias


def _key_of(call: Call, action: str, alias: Alias) -> KeyFacts:
    """The key that an alias points to, on which the action needs a permission as well."""
    return access.key(call, alias.key.arn, action)


def _locked_alias(call: Call, action: str, alias_name: str, allowed: KeyFacts) -> Alias:
    """The alias, which nobody else changes until the end of the transaction.

    allowed: the key that it pointed to a moment ago. Another call may have moved it since: then the permission is asked
    for once more, on the key that it points to now.
    """
    alias = _find(call, alias_name, lock=True)
    if alias.key_id != allowed.pk:
        _key_of(call, action, alias)
    return alias


def _require_room(key: KmsKey) -> None:
    if key.aliases.count() >= ALIASES_PER_KEY:
        raise LimitExceededException(f"{key.arn} has {ALIASES_PER_KEY} aliases, as many as a key can have.")


def _require_same_type(current: KeyFacts, target: KeyFacts) -> None:
    """Refuse a key of another type or usage than the alias has now (text unconfirmed)."""
    if (current.key_spec, current.key_usage) != (target.key_spec, target.key_usage):
        raise ValidationException(
            f"Alias must be associated with a key of the same type and usage: {current.arn} is {current.key_spec} for "
            f"{current.key_usage}, {target.arn} is {target.key_spec} for {target.key_usage}."
        )


@operation("kms:ListAliases", read_only=True)
def list_aliases(call: Call, params: dict[str, Any]) -> dict[str, Any]:
    """https://docs.aws.amazon.com/kms/latest/APIReference/API_ListAliases.html"""
    caller = call.caller
    rows = Alias.objects.filter(account=caller.account, region=caller.region).select_related("key")
    # Of one key, too: the permission is the account's.
    access.account(call, "kms:ListAliases")
    if params.get("KeyId"):
        call.audit_parameters["keyId"] = params["KeyId"]
        rows = rows.filter(key_id=access.find(call, params["KeyId"]).pk)
    return paging.answer(
        "Aliases",
        rows,
        _entry,
        by="name",
        purpose=f"ListAliases {caller.account} {caller.region} {params.get('KeyId') or ''}",
        limit=min(params.get("Limit") or LIST_ALIASES_DEFAULT, LIST_ALIASES_MOST),
        marker_given=params.get("Marker"),
    )


def _entry(alias: Alias) -> dict[str, Any]:
    return {
        "AliasName": alias.name,
        "AliasArn": alias.arn,
        "TargetKeyId": alias.key.key_id,
        "CreationDate": alias.created_at,
        "LastUpdatedDate": alias.updated_at,
    }
