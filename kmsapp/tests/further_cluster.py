"""A further cluster of a running server: what `manage.py demo add-cluster` gives."""

from __future__ import annotations

from pathlib import Path

from kmsapp.testing import Casemate


class FurtherCluster:
    """An ACTIVE cluster that no key store has yet. It stays with its server."""

    def __init__(self, casemate: Casemate):
        self.cluster_id = casemate.manage("demo", "add-cluster").split()[0]
        folder = casemate.data / "demo"
        self.certificate: Path = folder / f"{self.cluster_id}-customerCA.crt"
        self._password: Path = folder / f"{self.cluster_id}-kmsuser-password"

    @property
    def password(self) -> str:
        """Of kmsuser, as it was set last by its crypto officer."""
        return self._password.read_text().strip()
