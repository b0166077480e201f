"""The order in which a seed file is made.

1. rows of clusters: the supervisor begins to start their HSMs
2. identities, meanwhile
3. each cluster, once its HSMs serve: ACTIVE, with the files of its customer
4. key stores, connected if they are to be or if keys are to be made in them
5. keys, one after the other, each with all that it has
6. key stores that are to be disconnected
"""

from __future__ import annotations

from collections.abc import Callable

from hsmapp.models import Cluster
from kmsapp.models import CustomKeyStore
from kmsapp.models.key_stores import ConnectionState
from kmsapp.seed_file import key_entries
from kmsapp.seed_file.file_entries import SeedFile
from kmsapp.seeding import clusters, identities, key_stores, keys, people
from kmsapp.seeding.drawing import Drawn


def _nothing() -> None:
    pass


def make(seed: SeedFile, drawn: Drawn, between: Callable[[], None] = _nothing) -> list[dict[str, str]]:
    """Make all of the file that is not there yet; return the objects of credentials.json.

    Needs a running supervisor. between: called before each entry; what it raises ends this. Raises: SeedingError.
    """
    rows = [(entry, clusters.row_of(entry, drawn)) for entry in seed.clusters]
    identities.make(seed, drawn, between)
    _activate(seed, rows, between)
    stores = _connected_stores(seed, rows, between)
    for key in seed.keys:
        between()
        if key.its_store is not None:
            keys.make(key, stores[id(key.its_store)].custom_key_store_id, drawn)
    _disconnect(seed, stores)
    return people.rows(seed, drawn)


def _activate(seed: SeedFile, rows: list[tuple[key_entries.Cluster, Cluster]], between: Callable[[], None]) -> None:
    bound = {id(store.its_cluster) for store in seed.custom_key_stores}
    for position, (entry, row) in enumerate(rows):
        between()
        clusters.activate(row, trust_anchor_name=clusters.TRUST_ANCHOR if position == 0 else "")
        if id(entry) not in bound:
            clusters.write_password(row)


def _connected_stores(
    seed: SeedFile, rows: list[tuple[key_entries.Cluster, Cluster]], between: Callable[[], None]
) -> dict[int, CustomKeyStore]:
    """The key stores by id() of their entries."""
    by_entry = {id(entry): row for entry, row in rows}
    with_keys = {id(key.its_store) for key in seed.keys}
    found, connecting = {}, []
    for entry in seed.custom_key_stores:
        between()
        store = found[id(entry)] = key_stores.row_of(entry, by_entry[id(entry.its_cluster)])
        if entry.connected or id(entry) in with_keys:
            key_stores.connect(entry, store)
            connecting.append(store)
    for store in connecting:
        key_stores.wait_until(store, ConnectionState.CONNECTED)
    return found


def _disconnect(seed: SeedFile, stores: dict[int, CustomKeyStore]) -> None:
    for entry in seed.custom_key_stores:
        store = stores[id(entry)]
        if not entry.connected and store.connection_state != ConnectionState.DISCONNECTED:
            key_stores.disconnect(entry, store)
            key_stores.wait_until(store, ConnectionState.DISCONNECTED)
