"""Pages of lists: opaque markers that name the last item of a page, so inserts and deletes do not shift the next.

A marker is bound to its list and account: one of another list, or a changed one, is InvalidMarkerException.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from django.conf import settings
from django.db.models import Model, QuerySet

from kmsapp.errors import InvalidMarkerException

Item = TypeVar("Item")
Row = TypeVar("Row", bound=Model)


def _mac(purpose: str, payload: bytes) -> bytes:
    key = hashlib.sha256(b"casemate marker" + settings.SECRET_KEY.encode()).digest()
    return hmac.new(key, purpose.encode() + b"\0" + payload, hashlib.sha256).digest()[:12]


def marker(purpose: str, last: str) -> str:
    """A marker that continues after the item `last`. purpose: the list, its account and its filters."""
    payload = json.dumps(last).encode()
    return base64.urlsafe_b64encode(_mac(purpose, payload) + payload).decode()


def after(purpose: str, text: str | None) -> str:
    """The item after which the page begins; empty for the first page. Raises InvalidMarkerException."""
    if not text:
        return ""
    try:
        raw = base64.b64decode(text.encode("ascii"), altchars=b"-_", validate=True)
        mac, payload = raw[:12], raw[12:]
        if hmac.compare_digest(mac, _mac(purpose, payload)):
            return str(json.loads(payload))
    except (UnicodeEncodeError, binascii.Error, ValueError):
        pass
    raise InvalidMarkerException("The marker is not valid for this list. Begin again without a marker.")


def cut(rows: Sequence[Item], limit: int) -> tuple[Sequence[Item], bool]:
    """`rows` holds up to limit + 1 items: return the page and whether more follow."""
    return rows[:limit], len(rows) > limit


def answer(
    name: str,
    rows: QuerySet[Row],
    entry: Callable[[Row], Any],
    *,
    by: str,
    purpose: str,
    limit: int,
    marker_given: str | None,
) -> dict[str, Any]:
    """KMS's answer to a list: the page under `name`, Truncated and, when more follows, NextMarker.

    by: the field that orders the rows and of which each has another value.
    """
    found = rows.filter(**{f"{by}__gt": after(purpose, marker_given)}).order_by(by)[: limit + 1]
    page, truncated = cut(list(found), limit)
    shown: dict[str, Any] = {name: [entry(row) for row in page], "Truncated": truncated}
    if truncated:
        shown["NextMarker"] = marker(purpose, getattr(page[-1], by))
    return shown
