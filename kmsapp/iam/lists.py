"""Pages of IAM's lists: MaxItems and Marker in, IsTruncated and Marker out.

https://docs.aws.amazon.com/IAM/latest/APIReference/API_ListUsers.html says it for all of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

from django.db.models import Model, QuerySet

from kmsapp import paging
from kmsapp.call import Call
from kmsapp.errors import InvalidMarkerException, ValidationException

DEFAULT_ITEMS = 100

Row = TypeVar("Row", bound=Model)


def answer(
    call: Call,
    params: Mapping[str, Any],
    name: str,
    rows: QuerySet[Row],
    entry: Callable[[Row], Any],
    *,
    by: str,
    of: str = "",
) -> dict[str, Any]:
    """A page of rows under `name`.

    by: the column that orders the rows and of which each has another value. of: whose list it is, when an account has
    several of the operation.
    """
    limit = _limit(params)
    found = rows.filter(**{f"{by}__gt": _after(call, params, of)}).order_by(by)[: limit + 1]
    page, truncated = paging.cut(list(found), limit)
    shown = {name: [entry(row) for row in page]}
    return shown | _ending(call, of, str(getattr(page[-1], by)) if truncated else None)


def page_of(
    call: Call, params: Mapping[str, Any], items: Iterable[tuple[str, Any]], *, of: str = ""
) -> tuple[list[Any], dict[str, Any]]:
    """A page of what is no table, (sort key, item): its items, and the members IsTruncated and Marker.

    Each sort key differs from the others, and none is empty.
    """
    limit, after = _limit(params), _after(call, params, of)
    rest = sorted((item for item in items if item[0] > after), key=lambda item: item[0])
    page, truncated = paging.cut(rest[: limit + 1], limit)
    return [item for _, item in page], _ending(call, of, page[-1][0] if truncated else None)


def page_of_numbers(
    call: Call, params: Mapping[str, Any], total: int, cost: Callable[[int], float], most: float, *, of: str = ""
) -> tuple[range, dict[str, Any]]:
    """A page of the numbers below `total` that stand for a list's items, and the members IsTruncated and Marker.

    It ends early when its items have cost `most` together; one at least is on it.
    """
    after = _after(call, params, of)
    start = int(after) + 1 if after else 0
    end, spent = start, 0.0
    while end < min(total, start + _limit(params)):
        spent += cost(end)
        if spent > most and end > start:
            break
        end += 1
    return range(start, end), _ending(call, of, str(end - 1) if end < total else None)


def _limit(params: Mapping[str, Any]) -> int:
    return int(params.get("MaxItems") or DEFAULT_ITEMS)


def _purpose(call: Call, of: str) -> str:
    return f"iam {call.operation} {call.caller.account} {of}"


def _after(call: Call, params: Mapping[str, Any], of: str) -> str:
    try:
        return paging.after(_purpose(call, of), params.get("Marker"))
    except InvalidMarkerException as error:
        raise ValidationException("Invalid Marker.") from error


def _ending(call: Call, of: str, last: str | None) -> dict[str, Any]:
    if last is None:
        return {"IsTruncated": False}
    return {"IsTruncated": True, "Marker": paging.marker(_purpose(call, of), last)}


def tags(call: Call, params: Mapping[str, Any], of_entity: Mapping[str, str], *, of: str) -> dict[str, Any]:
    """A page of an entity's tags."""
    page, ending = page_of(call, params, ((key, {"Key": key, "Value": of_entity[key]}) for key in of_entity), of=of)
    return {"Tags": page, **ending}
