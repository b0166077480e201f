"""Asks a running server whether it can serve."""

from __future__ import annotations

import urllib.error
import urllib.request

# Straight to the server: a proxy of the environment knows nothing about this machine's own ports.
_opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def is_healthy(url: str, *, timeout_seconds: float = 2.0) -> bool:
    """Whether GET /healthz answers 200."""
    try:
        with _opener.open(f"{url}/healthz", timeout=timeout_seconds) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False
