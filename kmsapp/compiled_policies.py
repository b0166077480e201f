"""Stored policies, compiled once per text: thousands of keys have the same few."""

from __future__ import annotations

import functools
import json

from kmsapp.policy.documents import Document, Kind, parse
from kmsapp.policy.errors import PolicyError


@functools.lru_cache(maxsize=10_000)
def compiled(document: str, kind: Kind) -> Document:
    """A stored policy. Raises: PolicyError."""
    return parse(document, kind)


def compiled_key_policy(document: str, account: str) -> Document:
    """A key's policy. One that cannot be read, as an older version may have stored it, lets its account put another."""
    try:
        return compiled(document, Kind.KEY)
    except PolicyError:
        return compiled(_repairable(account), Kind.KEY)


def _repairable(account: str) -> str:
    statement = {
        "Effect": "Allow",
        "Principal": {"AWS": f"arn:aws:iam::{account}:root"},
        "Action": ["kms:DescribeKey", "kms:GetKeyPolicy", "kms:PutKeyPolicy"],
        "Resource": "*",
    }
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})
