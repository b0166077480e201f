"""Amazon Resource Names of KMS: arn:aws:kms:<region>:<account>:key/<key id> or …:alias/<name>; and of role sessions.

The partition is always `aws`: this is one installation, and an ARN of another partition names nothing in it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_NAME = r"[\w+=,.@-]{1,64}"
_IDENTITY = re.compile(rf"arn:aws:iam::([0-9]{{12}}):(?:(user|role)/(?:[!-~]+/)?({_NAME})|root)\Z", re.ASCII)
_SESSION = re.compile(rf"arn:aws:sts::([0-9]{{12}}):assumed-role/({_NAME})/([\w+=,.@-]{{2,64}})\Z", re.ASCII)


@dataclass(frozen=True)
class KmsArn:
    """The parts that differ in an ARN of a key or an alias."""

    region: str
    account: str
    resource: str  # "key/…" or "alias/…"


@dataclass(frozen=True)
class PrincipalArn:
    """The parts of the ARN of somebody who can call that say where to look; which path they have, the row says."""

    account: str
    kind: str  # user, role, assumed-role, root
    name: str = ""  # of the user, or of the role
    session: str = ""  # of an assumed role


def parse_principal(text: str) -> PrincipalArn | None:
    """The parts of an ARN of a user, a role, a role's session or an account's root, or None if it is not one."""
    if found := _SESSION.match(text):
        return PrincipalArn(found[1], "assumed-role", found[2], found[3])
    if found := _IDENTITY.match(text):
        return PrincipalArn(found[1], found[2] or "root", found[3] or "")
    return None


def parse_role(text: str) -> PrincipalArn | None:
    """The parts of an ARN of an IAM role, or None if it is not one."""
    found = parse_principal(text)
    return found if found is not None and found.kind == "role" else None


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


def assumed_role_arn(account: str, role_name: str, session_name: str) -> str:
    """Of a session, which has the role's name without its path."""
    return f"arn:aws:sts::{account}:assumed-role/{role_name}/{session_name}"
