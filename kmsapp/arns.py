"""Amazon Resource Names of KMS: arn:<partition>:kms:<region>:<account>:key/<key id> or …:alias/<name>."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class KmsArn:
    """The parts of an ARN of a key or an alias."""

    partition: str
    region: str
    account: str
    resource: str  # "key/…" or "alias/…"


def parse(text: str) -> KmsArn | None:
    """The parts of an ARN of KMS, or None if it is not one."""
    parts = text.split(":", 5)
    if len(parts) != 6 or parts[0] != "arn" or parts[2] != "kms":
        return None
    _, partition, _, region, account, resource = parts
    if not (partition and region and account.isdigit() and len(account) == 12):
        return None
    if not resource.startswith(("key/", "alias/")):
        return None
    return KmsArn(partition, region, account, resource)


def key_arn(region: str, account: str, key_id: str) -> str:
    return f"arn:aws:kms:{region}:{account}:key/{key_id}"


def alias_arn(region: str, account: str, alias_name: str) -> str:
    """alias_name: with its prefix alias/."""
    return f"arn:aws:kms:{region}:{account}:{alias_name}"
