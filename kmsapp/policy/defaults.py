"""The key policies that KMS and its console write when nobody writes one.

Shapes: https://docs.aws.amazon.com/kms/latest/developerguide/key-policy-default.html
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

_ADMINISTER = [
    "kms:Create*",
    "kms:Describe*",
    "kms:Enable*",
    "kms:List*",
    "kms:Put*",
    "kms:Update*",
    "kms:Revoke*",
    "kms:Disable*",
    "kms:Get*",
    "kms:Delete*",
    "kms:TagResource",
    "kms:UntagResource",
]
_DELETE = ["kms:ScheduleKeyDeletion", "kms:CancelKeyDeletion"]
_USE = ["kms:Encrypt", "kms:Decrypt", "kms:ReEncrypt*", "kms:GenerateDataKey*", "kms:DescribeKey"]
_ATTACH = ["kms:CreateGrant", "kms:ListGrants", "kms:RevokeGrant"]

Statement = dict[str, Any]


def _root(account: str) -> str:
    return f"arn:aws:iam::{account}:root"


def _account_statement(account: str) -> Statement:
    return {
        "Sid": "Enable IAM User Permissions",
        "Effect": "Allow",
        "Principal": {"AWS": _root(account)},
        "Action": "kms:*",
        "Resource": "*",
    }


def _allow(sid: str, principals: Sequence[str], actions: list[str]) -> Statement:
    # One principal is written as a string, several as a list, as the console does.
    value: str | list[str] = principals[0] if len(principals) == 1 else list(principals)
    return {"Sid": sid, "Effect": "Allow", "Principal": {"AWS": value}, "Action": actions, "Resource": "*"}


def default_policy(account: str) -> str:
    """The policy of a key made by CreateKey without one."""
    document = {"Version": "2012-10-17", "Id": "key-default-1", "Statement": [_account_statement(account)]}
    return json.dumps(document, indent=2)


def console_policy(
    account: str,
    *,
    administrators: Sequence[str],
    administrators_may_delete: bool,
    users: Sequence[str],
    other_accounts: Sequence[str],
) -> str:
    """The policy that the wizard writes. administrators, users: ARNs. other_accounts: 12-digit ids."""
    statements = [_account_statement(account)]
    if administrators:
        # kms:RotateKeyOnDemand stands at the end of today's console policy; it is harmless for keys that can't rotate.
        actions = [*_ADMINISTER, *(_DELETE if administrators_may_delete else []), "kms:RotateKeyOnDemand"]
        statements.append(_allow("Allow access for Key Administrators", administrators, actions))
    everybody = [*users, *(_root(other) for other in other_accounts)]
    if everybody:
        statements.append(_allow("Allow use of the key", everybody, _USE))
        attach = _allow("Allow attachment of persistent resources", everybody, _ATTACH)
        attach["Condition"] = {"Bool": {"kms:GrantIsForAWSResource": "true"}}
        statements.append(attach)
    return json.dumps({"Id": "key-consolepolicy-3", "Version": "2012-10-17", "Statement": statements}, indent=2)
