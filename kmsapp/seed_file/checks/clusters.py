"""Clusters and their HSMs."""

from __future__ import annotations

from kmsapp.seed_file.checks import uniqueness
from kmsapp.seed_file.file_entries import SeedFile
from kmsapp.seed_file.key_entries import MOST_HSMS, Cluster
from kmsapp.seed_file.places import Problems


def check(seed: SeedFile, problems: Problems) -> None:
    clusters = [one for one in seed.clusters if one.id]
    uniqueness.require(((one.id, one.place_of("id"), f"The cluster ID {one.id}") for one in clusters), problems)
    hsms = [hsm for one in seed.clusters for hsm in one.hsms or [] if hsm.id]
    uniqueness.require(((hsm.id, hsm.place_of("id"), f"The HSM ID {hsm.id}") for hsm in hsms), problems)
    for cluster in seed.clusters:
        _check_number(cluster, problems)
        _check_network(cluster, problems)


def _check_number(cluster: Cluster, problems: Problems) -> None:
    if cluster.hsms is not None and "hsm_count" in cluster.places:
        problems.add(cluster.places["hsm_count"], "Write hsms or hsm_count, not both.")
    if cluster.hsms is not None and not 1 <= len(cluster.hsms) <= MOST_HSMS:
        sentence = f"There are {len(cluster.hsms)} HSMs. A cluster can have from 1 to {MOST_HSMS}."
        problems.add(cluster.place_of("hsms"), sentence)


def _check_network(cluster: Cluster, problems: Problems) -> None:
    """Zones of the Region, one subnet in each, and no address twice."""
    subnets: dict[str, str] = {}
    hsms = cluster.hsms or []
    for position, hsm in enumerate(hsms):
        zone = cluster.zone_of(position)
        if zone[:-1] != cluster.region:
            problems.add(
                hsm.place_of("availability_zone"),
                f"{zone} is not in {cluster.region}, the cluster's Region. Write one such as {cluster.region}a.",
            )
        subnet = subnets.setdefault(zone, hsm.subnet_id) if hsm.subnet_id else None
        if hsm.subnet_id and hsm.subnet_id != subnet:
            problems.add(
                hsm.subnet_id.place,
                f"{zone} has the subnet {subnet} already. A cluster has one subnet in each Availability Zone.",
            )
    with_address = [hsm for hsm in hsms if hsm.eni_ip]
    uniqueness.require(
        ((hsm.eni_ip, hsm.place_of("eni_ip"), f"The IP address {hsm.eni_ip}") for hsm in with_address), problems
    )
