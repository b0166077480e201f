"""Amazon Resource Names of KMS: arn:aws:kms:<region>:<account>:key/<key id> or …:alias/<name>.

The partition is always `aws`: this is one installation, and an ARN of another partition names nothing in it.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class KmsArn:
    """The parts that differ in an ARN of a key or an alias."""

    region: str
    account: str
    resource: str  # "key/…" or "alias/…"


def parse(text: str) -> KmsArn | None:
    """The parts of an ARN of KMS, or None if it is not one."""
    parts = text.split(":", 5)
    if len(parts) != 6 or parts[0] != "arn" or parts[2] != "kms":
        return None
    _, partition, _, region, account, resource = parts
    if not (partition == "aws" and region and account.isdigit() and len(account) == 12):
        return None
    if not resource.startswith(("key/", "alias/")):
        return None
    return KmsArn(region, account, resource)


def account_of(arn: str) -> str:
    """The account in the ARN of any resource of AWS's."""
    return arn.split(":", 5)[4]


def key_arn(region: str, account: str, key_id: str) -> str:
    return f"arn:aws:kms:{region}:{account}:key/{key_id}"


def alias_arn(region: str, account: str, alias_name: str) -> str:
    """alias_name: with its prefix alias/."""
    return f"arn:aws:kms:{region}:{account}:{alias_name}"
