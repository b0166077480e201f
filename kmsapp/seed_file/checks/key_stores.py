"""Custom key stores, and the cluster of each."""

from __future__ import annotations

from collections import Counter

from django.conf import settings
from django.template.defaultfilters import pluralize

from kmsapp.operations.key_store_changes import KEY_STORES_PER_REGION
from kmsapp.seed_file.checks import uniqueness
from kmsapp.seed_file.file_entries import SeedFile
from kmsapp.seed_file.key_entries import Cluster, CustomKeyStore
from kmsapp.seed_file.kinds import one_of
from kmsapp.seed_file.places import Problems


def check(seed: SeedFile, problems: Problems) -> None:
    stores = seed.custom_key_stores
    uniqueness.require(
        ((store.id, store.place_of("id"), f"The custom key store ID {store.id}") for store in stores if store.id),
        problems,
    )
    uniqueness.require(
        (
            ((store.account, store.region, str(store.name)), store.name.place, f"The key store name {store.name}")
            for store in stores
            if store.name
        ),
        problems,
    )
    _check_room(seed, problems)
    taken: dict[int, CustomKeyStore] = {}
    for store in stores:
        store.its_cluster = _cluster(seed, store, problems)
        if store.its_cluster is not None:
            _check_cluster(store, store.its_cluster, taken, problems)


def _check_room(seed: SeedFile, problems: Problems) -> None:
    numbers: Counter[tuple[str, str]] = Counter()
    for store in seed.custom_key_stores:
        numbers[store.account, store.region] += 1
        if numbers[store.account, store.region] > KEY_STORES_PER_REGION:
            sentence = f"Account {store.account} can have {KEY_STORES_PER_REGION} custom key stores in {store.region}."
            problems.add(store.place, sentence)


def _cluster(seed: SeedFile, store: CustomKeyStore, problems: Problems) -> Cluster | None:
    """The cluster that the store names, or the only one that it can mean."""
    where = f"Account {store.account} in {store.region}"
    possible = [one for one in seed.clusters if (one.account, one.region) == (store.account, store.region)]
    if store.cluster is None and len(possible) == 1:
        return possible[0]
    place, ids = store.place_of("cluster"), [one.id for one in possible if one.id]
    if "cluster" in store.places and store.cluster is None:
        return None  # what was written there is wrong by itself
    if store.cluster is None:
        hint = "Write in cluster which one is meant." if possible else "Write one among clusters."
        problems.add(place, f"{where} has {len(possible) or 'no'} clusters. {hint}")
        return None
    found = next((one for one in possible if one.id == store.cluster), None)
    if found is None:
        problems.add(place, f"{where} has no cluster {store.cluster}. {one_of(store.cluster, ids)}")
    return found


def _check_cluster(
    store: CustomKeyStore, cluster: Cluster, taken: dict[int, CustomKeyStore], problems: Problems
) -> None:
    place, cluster_id = store.place_of("cluster"), cluster.id or "with a generated ID"
    other = taken.setdefault(id(cluster), store)
    if other is not store:
        sentence = f"The cluster {cluster_id} belongs to the custom key store {other.name}. Write another cluster."
        problems.add(place, sentence)
    zones, needed = {cluster.zone_of(position) for position in range(len(cluster.all_hsms()))}, settings.MIN_ACTIVE_HSMS
    if len(zones) < needed:
        zone_text = f"{len(zones)} Availability Zone{pluralize(len(zones))}"
        problems.add(
            place,
            f"The cluster {cluster_id} has HSMs in {zone_text}. A custom key store needs them in at least {needed}.",
        )
