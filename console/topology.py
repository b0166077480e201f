"""A small picture of a cluster: its Availability Zones side by side, the HSMs in them, and what they are bound to.

Only geometry is decided here; the template draws. Units are those of the picture's viewBox.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

ZONE_WIDTH, HSM_HEIGHT, GAP = 220, 56, 16
TOP = 92  # room for the key store and the line down to the cluster


@dataclass(frozen=True)
class HsmBox:
    hsm: dict[str, Any]
    x: int
    y: int


@dataclass(frozen=True)
class ZoneBox:
    name: str
    x: int
    y: int
    width: int
    height: int
    hsms: list[HsmBox]

    @property
    def middle(self) -> int:
        return self.x + self.width // 2


@dataclass(frozen=True)
class Picture:
    width: int
    height: int
    zones: list[ZoneBox]
    text: str  # the same in words

    @property
    def middle(self) -> int:
        return self.width // 2


def picture(cluster: dict[str, Any]) -> Picture:
    """Lay out `cluster`, an entry of DescribeClusters."""
    by_zone: dict[str, list[dict[str, Any]]] = {zone: [] for zone in sorted(cluster.get("SubnetMapping", {}))}
    for hsm in cluster.get("Hsms", []):
        by_zone.setdefault(hsm["AvailabilityZone"], []).append(hsm)
    rows = max([len(hsms) for hsms in by_zone.values()], default=0) or 1
    height = 40 + rows * (HSM_HEIGHT + GAP)
    zones = [
        ZoneBox(
            name,
            x := GAP + at * (ZONE_WIDTH + GAP),
            TOP,
            ZONE_WIDTH,
            height,
            [HsmBox(hsm, x + 12, TOP + 36 + row * (HSM_HEIGHT + GAP)) for row, hsm in enumerate(hsms)],
        )
        for at, (name, hsms) in enumerate(by_zone.items())
    ]
    width = max(GAP + len(zones) * (ZONE_WIDTH + GAP), 2 * ZONE_WIDTH)
    return Picture(width, TOP + height + GAP, zones, _in_words(cluster, by_zone))


def _in_words(cluster: dict[str, Any], by_zone: dict[str, list[dict[str, Any]]]) -> str:
    store = cluster.get("CustomKeyStoreId") or "no custom key store"
    zones = [
        f"{zone}: " + (", ".join(f"{hsm['HsmId']} is {hsm['State']}" for hsm in hsms) or "no HSM")
        for zone, hsms in by_zone.items()
    ]
    return f"Cluster {cluster['ClusterId']} serves {store}. " + ". ".join(zones) + "."
