"""Who makes what a seed file says: the root user of its account."""

from __future__ import annotations

from typing import Any

from kmsapp import dispatch
from kmsapp.caller import Caller

# IAM has no Region; its calls are recorded in this one.
IAM_REGION = "us-east-1"


def root(account: str, region: str = IAM_REGION) -> Caller:
    return Caller(account, region, f"arn:aws:iam::{account}:root", account, via="service", principal_type="Root")


def call(caller: Caller, name: str, params: dict[str, Any], **chosen: str | None) -> dict[str, Any]:
    """As dispatch.call. chosen: ids by the operation's keyword, None or empty where the file chooses none."""
    return dispatch.call(caller, name, params, chosen={key: str(one) for key, one in chosen.items() if one})
