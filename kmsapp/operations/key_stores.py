"""DescribeCustomKeyStores, ConnectCustomKeyStore, DisconnectCustomKeyStore; finding a key store for a caller."""

from __future__ import annotations

from typing import Any

from django.db.models import QuerySet

from hsmapp import clock, jobs
from hsmapp.states import ClusterState, HsmState
from kmsapp import access, key_store_jobs, paging
from kmsapp.call import Call
from kmsapp.errors import (
    CloudHsmClusterInvalidConfigurationException,
    CloudHsmClusterNotActiveException,
    CustomKeyStoreInvalidStateException,
    CustomKeyStoreNotFoundException,
    ValidationException,
)
from kmsapp.models import CustomKeyStore
from kmsapp.models.key_stores import ConnectionState
from kmsapp.registry import operation

DESCRIBE_DEFAULT = 1000

# What to do before a key can be created in a store.
HOW_TO_CONNECT: dict[str, str] = {
    ConnectionState.DISCONNECTED: "Connect it first.",
    ConnectionState.CONNECTING: "Wait until it is connected.",
    ConnectionState.DISCONNECTING: "Wait until it is disconnected, and then connect it.",
    ConnectionState.FAILED: "Disconnect it, correct the cause of the failure, and then connect it.",
}


def find(call: Call, custom_key_store_id: str, *, lock: bool = False) -> CustomKeyStore:
    """A key store of the caller's account and Region. Raises CustomKeyStoreNotFoundException.

    lock: until the end of the transaction nobody else changes the row.
    """
    rows = CustomKeyStore.objects.select_for_update(of=("self",)) if lock else CustomKeyStore.objects.all()
    store = (
        rows.select_related("cluster", "credential__cluster")
        .filter(account=call.caller.account, region=call.caller.region, custom_key_store_id=custom_key_store_id)
        .first()
    )
    if store is None:
        raise CustomKeyStoreNotFoundException(
            f"There is no custom key store {custom_key_store_id} in this account and Region."
        )
    return store


def require_connected(store: CustomKeyStore) -> None:
    """Raise CustomKeyStoreInvalidStateException, which says what to do, unless the store's keys can be used."""
    if not store.is_connected:
        raise CustomKeyStoreInvalidStateException(
            f"The custom key store {store.custom_key_store_id} is {store.connection_state}. "
            f"{HOW_TO_CONNECT[store.connection_state]}"
        )


def entry(store: CustomKeyStore) -> dict[str, Any]:
    """https://docs.aws.amazon.com/kms/latest/APIReference/API_CustomKeyStoresListEntry.html"""
    shown = {
        "CustomKeyStoreId": store.custom_key_store_id,
        "CustomKeyStoreName": store.name,
        "CloudHsmClusterId": store.cluster.cluster_id,
        "TrustAnchorCertificate": store.trust_anchor_certificate,
        "ConnectionState": store.connection_state,
        "CreationDate": store.created_at,
        "CustomKeyStoreType": "AWS_CLOUDHSM",
    }
    if store.connection_state == ConnectionState.FAILED:
        shown["ConnectionErrorCode"] = store.connection_error_code
    return shown


@operation("kms:DescribeCustomKeyStores", read_only=True)
def describe_custom_key_stores(call: Call, params: dict[str, Any]) -> dict[str, Any]:
    """https://docs.aws.amazon.com/kms/latest/APIReference/API_DescribeCustomKeyStores.html"""
    store_id, name = params.get("CustomKeyStoreId"), params.get("CustomKeyStoreName")
    call.audit_parameters.update(
        {key: value for key, value in (("customKeyStoreId", store_id), ("customKeyStoreName", name)) if value}
    )
    if store_id and name:
        raise ValidationException("Specify CustomKeyStoreId or CustomKeyStoreName, not both.")
    access.account(call, "kms:DescribeCustomKeyStores")
    if store_id:
        return {"CustomKeyStores": [entry(find(call, store_id))], "Truncated": False}
    rows = _rows(call)
    if name:
        named = rows.filter(name=name).first()
        if named is None:
            raise CustomKeyStoreNotFoundException(
                f"There is no custom key store named {name!r} in this account and Region."
            )
        return {"CustomKeyStores": [entry(named)], "Truncated": False}
    return paging.answer(
        "CustomKeyStores",
        rows,
        entry,
        by="custom_key_store_id",
        purpose=f"DescribeCustomKeyStores {call.caller.account} {call.caller.region}",
        limit=params.get("Limit") or DESCRIBE_DEFAULT,
        marker_given=params.get("Marker"),
    )


def _rows(call: Call) -> QuerySet[CustomKeyStore]:
    return CustomKeyStore.objects.select_related("cluster").filter(
        account=call.caller.account, region=call.caller.region
    )


@operation("kms:ConnectCustomKeyStore")
def connect_custom_key_store(call: Call, params: dict[str, Any]) -> dict[str, Any]:
    """Begin to connect. https://docs.aws.amazon.com/kms/latest/APIReference/API_ConnectCustomKeyStore.html"""
    call.audit_parameters["customKeyStoreId"] = params["CustomKeyStoreId"]
    access.account(call, "kms:ConnectCustomKeyStore")
    store = find(call, params["CustomKeyStoreId"])
    tell_store(call, store)
    if store.connection_state in {ConnectionState.CONNECTED, ConnectionState.CONNECTING}:
        return {}  # AWS accepts it and changes nothing
    require_state(store, {ConnectionState.DISCONNECTED}, "Disconnect it first.")
    _require_cluster_can_be_connected(store)
    _begin(call, store, ConnectionState.CONNECTING, from_states=[ConnectionState.DISCONNECTED])
    return {}


@operation("kms:DisconnectCustomKeyStore")
def disconnect_custom_key_store(call: Call, params: dict[str, Any]) -> dict[str, Any]:
    """Begin to disconnect. https://docs.aws.amazon.com/kms/latest/APIReference/API_DisconnectCustomKeyStore.html"""
    call.audit_parameters["customKeyStoreId"] = params["CustomKeyStoreId"]
    access.account(call, "kms:DisconnectCustomKeyStore")
    store = find(call, params["CustomKeyStoreId"])
    tell_store(call, store)
    allowed = {ConnectionState.CONNECTED, ConnectionState.CONNECTING, ConnectionState.FAILED}
    require_state(store, allowed, "Only a store that is connected, connecting or failed can be disconnected.")
    _begin(call, store, ConnectionState.DISCONNECTING, from_states=sorted(allowed))
    return {}


def tell_store(call: Call, store: CustomKeyStore) -> None:
    """Let the audit record of a change say which store and cluster it was about."""
    call.additional_event_data.update(customKeyStoreName=store.name, clusterId=store.cluster.cluster_id)


def require_state(store: CustomKeyStore, allowed: set[ConnectionState], advice: str) -> None:
    """Raise CustomKeyStoreInvalidStateException, which ends in the advice, unless the store is in an allowed state."""
    if store.connection_state not in allowed:
        raise CustomKeyStoreInvalidStateException(
            f"The custom key store {store.custom_key_store_id} is {store.connection_state}. {advice}"
        )


def _require_cluster_can_be_connected(store: CustomKeyStore) -> None:
    """The faults that AWS sees at once; others end in FAILED with a ConnectionErrorCode."""
    cluster = store.cluster
    if cluster.state != ClusterState.ACTIVE:
        raise CloudHsmClusterNotActiveException(f"The CloudHSM cluster {cluster.cluster_id} is {cluster.state}.")
    if not cluster.hsms.filter(state=HsmState.ACTIVE).exists():
        raise CloudHsmClusterInvalidConfigurationException(
            f"The CloudHSM cluster {cluster.cluster_id} has no active HSM. Add an HSM and try again."
        )


def _begin(call: Call, store: CustomKeyStore, state: ConnectionState, *, from_states: list[Any]) -> None:
    with call.change():
        begun = CustomKeyStore.objects.filter(pk=store.pk, connection_state__in=from_states).update(
            connection_state=state, connection_error_code="", transition_due_at=jobs.transition_due(clock.now())
        )
        if not begun:
            store.refresh_from_db()
            require_state(store, set(), "Its state has just changed. Look at it and try again.")
    key_store_jobs.carry_out_if_immediate()
