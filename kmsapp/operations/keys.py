"""DescribeKey and ListKeys, how a key's metadata are shown, and the rows of keys."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from hsmapp import epochs
from kmsapp import access, key_states, paging
from kmsapp.call import Call
from kmsapp.errors import NotFoundException
from kmsapp.key_facts import KeyFacts, shown_state
from kmsapp.models import KmsKey
from kmsapp.registry import operation

LIST_KEYS_DEFAULT = 100

# The SDKs' clients describe a key as often as they use it, and a query takes longer than all the rest of the call.
_described: epochs.Cached[dict[str, Any]] = epochs.Cached()


def key_metadata(key: KmsKey) -> dict[str, Any]:
    """KeyMetadata of a key. https://docs.aws.amazon.com/kms/latest/APIReference/API_KeyMetadata.html"""
    state = shown_state(key)
    metadata = {
        "AWSAccountId": key.account,
        "KeyId": key.key_id,
        "Arn": key.arn,
        "CreationDate": key.created_at,
        "Enabled": state == KmsKey.State.ENABLED,
        "Description": key.description,
        "KeyUsage": key.key_usage,
        "KeyState": state,
        "Origin": key.origin,
        "KeyManager": "CUSTOMER",
        "CustomerMasterKeySpec": key.key_spec,
        "KeySpec": key.key_spec,
        "EncryptionAlgorithms": ["SYMMETRIC_DEFAULT"],
        "MultiRegion": key.multi_region,
    }
    if key.custom_key_store is not None:
        metadata["CustomKeyStoreId"] = key.custom_key_store.custom_key_store_id
        metadata["CloudHsmClusterId"] = key.custom_key_store.cluster.cluster_id
    if key.deletion_date is not None:
        metadata["DeletionDate"] = key.deletion_date
    return metadata


def key_row(pk: int) -> KmsKey:
    """The row of a key that is sure to be there, with what key_metadata needs."""
    return KmsKey.objects.select_related("custom_key_store__cluster", "material").get(pk=pk)


def row_of(found: KeyFacts) -> KmsKey:
    """The same for a key that access.py has found. Raises NotFoundException if it has been deleted since."""
    try:
        return key_row(found.pk)
    except KmsKey.DoesNotExist as error:
        raise _gone(found) from error


def locked(found: KeyFacts, operation: str) -> KmsKey:
    """The row of a key that access.py has found, which nobody else changes until the end of the transaction.

    The key may have changed since it was found, so its state is looked at once more.
    operation: without its service. Raises: NotFoundException if it has been deleted; what key_states.require raises.
    """
    rows = KmsKey.objects.select_for_update(of=("self",)).select_related("custom_key_store")
    row = rows.filter(pk=found.pk).first()
    if row is None:
        raise _gone(found)
    key_states.require(operation, replace(found, key_state=shown_state(row)))
    return row


def _gone(found: KeyFacts) -> NotFoundException:
    return NotFoundException(f"Key '{found.arn}' does not exist")


@operation("kms:DescribeKey", read_only=True)
def describe_key(call: Call, params: dict[str, Any]) -> dict[str, Any]:
    """https://docs.aws.amazon.com/kms/latest/APIReference/API_DescribeKey.html"""
    call.audit_parameters["keyId"] = params["KeyId"]
    found = access.key(call, params["KeyId"], "kms:DescribeKey", aliases=True)
    described = _described.get(found.account, found.pk, lambda: key_metadata(row_of(found)))
    return {"KeyMetadata": dict(described)}


@operation("kms:ListKeys", read_only=True)
def list_keys(call: Call, params: dict[str, Any]) -> dict[str, Any]:
    """https://docs.aws.amazon.com/kms/latest/APIReference/API_ListKeys.html"""
    access.account(call, "kms:ListKeys")
    if "SELF" not in (params.get("ResourceOwners") or ["SELF"]):
        return {"Keys": [], "Truncated": False}  # no account shares keys by AWS RAM here
    caller = call.caller
    return paging.answer(
        "Keys",
        KmsKey.objects.filter(account=caller.account, region=caller.region),
        lambda key: {"KeyId": key.key_id, "KeyArn": key.arn},
        by="key_id",
        purpose=f"ListKeys {caller.account} {caller.region}",
        limit=params.get("Limit") or LIST_KEYS_DEFAULT,
        marker_given=params.get("Marker"),
    )
