"""What the demo's people may do: alice everything, bob and carol use keys, the auditor reads, mallory nothing.

carol's own account allows her to use keys of the first account; that alone is not enough, and the example key's policy
does not name her account. What it does let her do is switch to the auditor's role.
"""

from __future__ import annotations

import json
from typing import Any

from kmsapp.models import Group, InlinePolicy, ManagedPolicy, Role, User
from kmsapp.models.policies import AWS

ADMINISTRATOR = "AdministratorAccess"  # AWS's managed policy
_USE = ["kms:Encrypt", "kms:Decrypt", "kms:ReEncrypt*", "kms:GenerateDataKey*", "kms:DescribeKey"]
_LOOK = [
    "kms:ListKeys",
    "kms:ListAliases",
    "kms:DescribeCustomKeyStores",
    "cloudhsm:DescribeClusters",
    "iam:ListUsers",
    "iam:ListRoles",
]


def give(account: str, other_account: str) -> None:
    """Give every identity of the demo its policies; safe to run again."""
    User.objects.get(account_id=account, user_name="alice").managed_policies.add(
        ManagedPolicy.objects.get(account=AWS, name=ADMINISTRATOR)
    )
    _inline(Group.objects.get(account_id=account, name="KeyUsers"), "LookAtKeysAndStores", _LOOK)
    carol = User.objects.get(account_id=other_account, user_name="carol")
    _inline(carol, "UseKeysOfExampleCorp", _USE, resource=f"arn:aws:kms:*:{account}:key/*")
    auditor = Role.objects.get(account_id=account, name="AuditorRole")  # which trusts her account, too
    _inline(carol, "SwitchToAuditorRole", ["sts:AssumeRole"], resource=auditor.arn)
    _inline(
        Role.objects.get(account_id=account, name="KMSAdminRole"),
        "AdministerKeys",
        ["kms:*", "cloudhsm:Describe*", "cloudhsm:ListTags", "iam:ListUsers", "iam:ListRoles"],
    )
    _inline(Role.objects.get(account_id=account, name="ExampleRole"), "LookAtKeysAndStores", _LOOK)
    _inline(
        auditor,
        "ReadOnly",
        ["kms:Describe*", "kms:Get*", "kms:List*", "cloudhsm:Describe*", "iam:Get*", "iam:List*"],
    )


def _inline(owner: User | Group | Role, name: str, actions: list[str], *, resource: str = "*") -> None:
    statement: dict[str, Any] = {"Effect": "Allow", "Action": actions, "Resource": resource}
    document = json.dumps({"Version": "2012-10-17", "Statement": [statement]}, indent=2)
    found = owner.inline_policies.filter(name=name).first()
    policy = found or InlinePolicy(name=name, **{type(owner).__name__.lower(): owner})
    policy.document = document
    policy.save()
