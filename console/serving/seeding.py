"""The mark of a demo that is not all there yet.

It is there from before the demo is seeded until credentials.json and aws.env are written: a start that was cut short in
between is made good by the next one, and until then /healthz says that the server can't serve.
"""

from __future__ import annotations

from pathlib import Path


def mark(data: Path) -> Path:
    return data / "demo-is-being-seeded"
