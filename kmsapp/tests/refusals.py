"""How tests look at a refusal: the error's name, its text and the HTTP status, as a stock client reads them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from botocore.exceptions import ClientError


class Refusal(NamedTuple):
    code: str
    message: str
    status: int


def refusal(call: Callable[..., Any], **params: Any) -> Refusal | None:
    """What the call was refused with; None if it was not."""
    try:
        call(**params)
    except ClientError as error:
        shown = error.response["Error"]
        return Refusal(shown["Code"], shown["Message"], error.response["ResponseMetadata"]["HTTPStatusCode"])
    return None
