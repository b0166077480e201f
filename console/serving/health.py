"""Asks a running server whether it can serve."""

from __future__ import annotations

import functools
import ssl
import urllib.error
import urllib.request
from pathlib import Path


@functools.cache
def _opener(ca_file: Path | None) -> urllib.request.OpenerDirector:
    # Straight to the server: a proxy of the environment knows nothing about this machine's own ports.
    handlers: list[urllib.request.BaseHandler] = [urllib.request.ProxyHandler({})]
    if ca_file is not None:
        handlers.append(urllib.request.HTTPSHandler(context=ssl.create_default_context(cafile=str(ca_file))))
    return urllib.request.build_opener(*handlers)


def is_healthy(url: str, *, ca_file: Path | None = None, timeout_seconds: float = 2.0) -> bool:
    """Whether GET /healthz answers 200. ca_file: the root to trust; needed for HTTPS."""
    try:
        with _opener(ca_file).open(f"{url}/healthz", timeout=timeout_seconds) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False
