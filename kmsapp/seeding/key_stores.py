"""Custom key stores, connected for as long as keys are made in them."""

from __future__ import annotations

from hsmapp import clock, credentials
from hsmapp.models import Cluster
from kmsapp import key_store_jobs
from kmsapp.models import CustomKeyStore
from kmsapp.models.key_stores import ConnectionState
from kmsapp.operations.key_store_changes import KMSUSER
from kmsapp.seed_file import key_entries, requests
from kmsapp.seeding.callers import call, root
from kmsapp.seeding.errors import making, wait


def row_of(entry: key_entries.CustomKeyStore, cluster: Cluster) -> CustomKeyStore:
    """The key store, made if it is not there."""
    rows = CustomKeyStore.objects.filter(account=entry.account, region=entry.region, name=entry.name)
    if not rows.exists():
        params = requests.key_store(
            entry,
            cluster_id=cluster.cluster_id,
            trust_anchor=cluster.trust_anchor,
            password=credentials.current_password(cluster.credentials.get(user_name=KMSUSER)),
        )
        with making(entry):
            caller = root(entry.account, entry.region)
            call(caller, "kms:CreateCustomKeyStore", params, custom_key_store_id=entry.id)
    return rows.get()


def connect(entry: key_entries.CustomKeyStore, store: CustomKeyStore) -> None:
    """Tell the store to connect; `wait_until` waits for it."""
    store.refresh_from_db()
    if store.connection_state == ConnectionState.FAILED:
        _tell(entry, store, "DisconnectCustomKeyStore")
        wait_until(store, ConnectionState.DISCONNECTED)
    if store.connection_state == ConnectionState.DISCONNECTING:
        wait_until(store, ConnectionState.DISCONNECTED)
    _tell(entry, store, "ConnectCustomKeyStore")


def disconnect(entry: key_entries.CustomKeyStore, store: CustomKeyStore) -> None:
    _tell(entry, store, "DisconnectCustomKeyStore")


def _tell(entry: key_entries.CustomKeyStore, store: CustomKeyStore, operation: str) -> None:
    with making(entry):
        params = {"CustomKeyStoreId": store.custom_key_store_id}
        call(root(entry.account, entry.region), f"kms:{operation}", params)
    store.refresh_from_db()


def wait_until(store: CustomKeyStore, state: ConnectionState) -> None:
    """Wait for a state, doing here what the jobs would do. Raises: SeedingError."""

    def is_there() -> bool:
        key_store_jobs.carry_out(clock.now())
        store.refresh_from_db()
        return store.connection_state == state

    wait(f"{store.custom_key_store_id} to be {state}", is_there)
