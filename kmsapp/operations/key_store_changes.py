"""CreateCustomKeyStore, UpdateCustomKeyStore, DeleteCustomKeyStore.

Each is one transaction under the account's lock: the checks, the change, its audit record. So of two callers who want
the same name, or the same cluster, one is refused, and a refused call leaves nothing behind. No HSM is asked: whether
kmsuser is there and has the password shows when the store is connected.
"""

from __future__ import annotations

import hmac
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from django.db import transaction

from hsmapp import clock, credentials
from kmsapp import access, ids
from kmsapp.call import Call
from kmsapp.errors import (
    CustomKeyStoreHasCMKsException,
    CustomKeyStoreNameInUseException,
    IncorrectTrustAnchorException,
    LimitExceededException,
    UnsupportedOperationException,
    ValidationException,
)
from kmsapp.models import Account, CustomKeyStore, KmsKey
from kmsapp.models.key_stores import ConnectionState
from kmsapp.operations import cluster_requirements, key_stores
from kmsapp.registry import operation

# https://docs.aws.amazon.com/kms/latest/developerguide/resource-limits.html, per account and Region.
KEY_STORES_PER_REGION = 10
KMSUSER = "kmsuser"
_REQUIRED = ("CloudHsmClusterId", "TrustAnchorCertificate", "KeyStorePassword")
_CHANGES = ("NewCustomKeyStoreName", "KeyStorePassword", "CloudHsmClusterId")


@dataclass(frozen=True)
class NewStore:
    """What a key store is made of."""

    name: str
    cluster_id: str
    trust_anchor: str  # PEM
    password: str = field(repr=False)  # of kmsuser


@operation("kms:CreateCustomKeyStore")
def create_custom_key_store(call: Call, params: dict[str, Any], *, custom_key_store_id: str = "") -> dict[str, Any]:
    """Make a key store, DISCONNECTED. The same call again gives the same store while it is disconnected.

    https://docs.aws.amazon.com/kms/latest/APIReference/API_CreateCustomKeyStore.html
    """
    call.audit_parameters["customKeyStoreName"] = params["CustomKeyStoreName"]
    if params.get("CloudHsmClusterId"):
        call.audit_parameters["clusterId"] = params["CloudHsmClusterId"]
    new = _new_store(params)
    access.account(call, "kms:CreateCustomKeyStore")
    with _alone(call):
        store = _same_store(call, new) or _make_store(call, new, custom_key_store_id)
    return {"CustomKeyStoreId": store.custom_key_store_id}


def _new_store(params: dict[str, Any]) -> NewStore:
    _refuse_external(params)
    missing = [name for name in _REQUIRED if not params.get(name)]
    if missing:
        raise ValidationException(f"{' and '.join(missing)} must be given for a key store of type AWS_CLOUDHSM.")
    return NewStore(params["CustomKeyStoreName"], *(params[name] for name in _REQUIRED))


def _refuse_external(params: dict[str, Any]) -> None:
    if params.get("CustomKeyStoreType") == "EXTERNAL_KEY_STORE":
        raise UnsupportedOperationException(
            "Key stores of type EXTERNAL_KEY_STORE are not built in this version of Casemate."
        )
    # (unconfirmed) The text of this refusal.
    external = [name for name in params if name.startswith("Xks") and params[name] is not None]
    if external:
        raise ValidationException(f"{external[0]} is valid only for key stores of type EXTERNAL_KEY_STORE.")


@contextmanager
def _alone(call: Call) -> Iterator[None]:
    """One transaction in which nobody else changes the key stores of the account."""
    with transaction.atomic():
        list(Account.objects.select_for_update().filter(account_id=call.caller.account))
        yield


def _same_store(call: Call, new: NewStore) -> CustomKeyStore | None:
    """The store that an earlier call with the same parameters made: a retry must not fail on its own success."""
    found = (
        _stores(call)
        .select_related("cluster", "credential__cluster")
        .filter(name=new.name, connection_state=ConnectionState.DISCONNECTED, cluster__cluster_id=new.cluster_id)
        .first()
    )
    if found is None:
        return None
    try:
        cluster_requirements.require_trust_anchor(found.cluster, new.trust_anchor)
    except IncorrectTrustAnchorException:
        return None
    known = credentials.current_password(found.credential)
    return found if hmac.compare_digest(known.encode(), new.password.encode()) else None


def _make_store(call: Call, new: NewStore, custom_key_store_id: str) -> CustomKeyStore:
    """Check everything and write the row and its audit record."""
    _require_name_is_free(call, new.name)
    _require_room(call)
    cluster = cluster_requirements.find(call, new.cluster_id)
    cluster_requirements.require_active(cluster)
    cluster_requirements.require_unbound(cluster)
    cluster_requirements.require_configuration(cluster)
    trust_anchor = cluster_requirements.require_trust_anchor(cluster, new.trust_anchor)
    store = CustomKeyStore(
        custom_key_store_id=custom_key_store_id or ids.new_key_store_id(),
        account=call.caller.account,
        region=call.caller.region,
        name=new.name,
        cluster=cluster,
        trust_anchor_certificate=trust_anchor,
        created_at=clock.now(),
    )
    with call.change({"customKeyStoreId": store.custom_key_store_id}):
        store.credential = credentials.remember(cluster, KMSUSER, new.password)
        store.save(force_insert=True)
    return store


@operation("kms:UpdateCustomKeyStore")
def update_custom_key_store(call: Call, params: dict[str, Any]) -> dict[str, Any]:
    """Change name, kmsuser's password as KMS knows it, or cluster.

    https://docs.aws.amazon.com/kms/latest/APIReference/API_UpdateCustomKeyStore.html
    """
    name, cluster_id = params.get("NewCustomKeyStoreName"), params.get("CloudHsmClusterId")
    shown = {"customKeyStoreId": params["CustomKeyStoreId"], "newCustomKeyStoreName": name, "clusterId": cluster_id}
    call.audit_parameters.update({key: value for key, value in shown.items() if value})
    _refuse_external(params)
    if not any(params.get(change) for change in _CHANGES):
        raise ValidationException(f"Specify what to change: {', '.join(_CHANGES)}.")
    access.account(call, "kms:UpdateCustomKeyStore")
    with _alone(call):
        store = key_stores.find(call, params["CustomKeyStoreId"], lock=True)
        _require_state_to_update(store, only_name=not (cluster_id or params.get("KeyStorePassword")))
        if name and name != store.name:
            _require_name_is_free(call, name)
            store.name = name
        if cluster_id and cluster_id != store.cluster.cluster_id:
            _move(call, store, cluster_id)
        key_stores.tell_store(call, store)
        with call.change():
            if params.get("KeyStorePassword"):
                credentials.set_password(store.credential, params["KeyStorePassword"])
            store.save(update_fields=["name", "cluster", "credential"])
    return {}


def _require_state_to_update(store: CustomKeyStore, *, only_name: bool) -> None:
    allowed = {ConnectionState.DISCONNECTED}
    advice = "Disconnect it first, and try again when it is DISCONNECTED."
    if only_name:
        allowed.add(ConnectionState.CONNECTED)
    key_stores.require_state(store, allowed, advice)


def _move(call: Call, store: CustomKeyStore, cluster_id: str) -> None:
    """Bind the store to another cluster of the same backup history; it is written by whoever calls."""
    cluster = cluster_requirements.find(call, cluster_id)
    cluster_requirements.require_active(cluster)
    cluster_requirements.require_related(cluster, store)
    cluster_requirements.require_configuration(cluster)
    store.credential = credentials.carry_over(store.credential, cluster)
    store.cluster = cluster


@operation("kms:DeleteCustomKeyStore")
def delete_custom_key_store(call: Call, params: dict[str, Any]) -> dict[str, Any]:
    """Forget a key store that is DISCONNECTED and has no keys. The cluster, its users and its keys stay as they are.

    https://docs.aws.amazon.com/kms/latest/APIReference/API_DeleteCustomKeyStore.html
    """
    call.audit_parameters["customKeyStoreId"] = params["CustomKeyStoreId"]
    access.account(call, "kms:DeleteCustomKeyStore")
    with _alone(call):
        store = key_stores.find(call, params["CustomKeyStoreId"], lock=True)
        # First, because the keys are best scheduled for deletion while the store is still connected.
        _require_no_keys(store)
        key_stores.require_state(store, {ConnectionState.DISCONNECTED}, "Disconnect it first.")
        key_stores.tell_store(call, store)
        with call.change():
            store.delete()
    return {}


def _require_no_keys(store: CustomKeyStore) -> None:
    keys = KmsKey.objects.filter(custom_key_store=store).count()
    if keys:
        raise CustomKeyStoreHasCMKsException(
            f"The custom key store {store.custom_key_store_id} contains KMS keys: {keys}, those that are pending "
            "deletion included. It can be deleted when they are."
        )


def _stores(call: Call) -> Any:
    return CustomKeyStore.objects.filter(account=call.caller.account, region=call.caller.region)


def _require_name_is_free(call: Call, name: str) -> None:
    if _stores(call).filter(name=name).exists():
        raise CustomKeyStoreNameInUseException(
            f"There is a custom key store named {name} in this account and Region already. Choose another name."
        )


def _require_room(call: Call) -> None:
    if _stores(call).count() >= KEY_STORES_PER_REGION:
        raise LimitExceededException(
            f"This account has {KEY_STORES_PER_REGION} custom key stores in {call.caller.region}, as many as it can."
        )
