"""CreateAlias and ListAliases, and the rules of alias names."""

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
from kmsapp.errors import AlreadyExistsException, LimitExceededException, NotAuthorizedException, ValidationException
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
    if target.startswith("alias/") or ":alias/" in target:
        raise ValidationException("Aliases must refer to keys. Not aliases")
    access.account(call, "kms:CreateAlias", arns.alias_arn(call.caller.region, call.caller.account, name))
    found = access.key(call, target, "kms:CreateAlias")
    key_states.require("CreateAlias", found)
    with call.change({"keyId": found.arn}):
        key = locked(found, "CreateAlias")  # two callers must not make the 51st together
        require_free(key.account, key.region, name)
        if key.aliases.count() >= ALIASES_PER_KEY:
            raise LimitExceededException(f"{key.arn} has {ALIASES_PER_KEY} aliases, as many as a key can have.")
        write(key, name)
    return {}


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
