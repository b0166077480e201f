"""AWS managed policies: those of AWS's that say something about what this installation has. Nobody can change them.

Names, ids and what they allow are AWS's; where AWS's policy is about services that are not here, that part is left out.
`put` writes them after each migration, so a new version of this program brings a changed document with it.
https://docs.aws.amazon.com/aws-managed-policy/latest/reference/policy-list.html
"""

from __future__ import annotations

import datetime
import json
from typing import Any, NamedTuple

from django.db import DEFAULT_DB_ALIAS, connections

from kmsapp.models.policies import AWS, ManagedPolicy, PolicyVersion

_MADE_AT = datetime.datetime(2015, 2, 6, 18, 40, tzinfo=datetime.UTC)


class _Policy(NamedTuple):
    policy_id: str
    description: str
    statements: list[dict[str, Any]]


def _allow(*actions: str, resource: str = "*") -> dict[str, Any]:
    return {"Effect": "Allow", "Action": list(actions), "Resource": resource}


POLICIES = {
    "AdministratorAccess": _Policy(
        "ANPAIWMBCKSKIEE64ZLYK", "Provides full access to AWS services and resources.", [_allow("*")]
    ),
    "PowerUserAccess": _Policy(
        "ANPAJYRXTHIB4FOVS3ZXS",
        "Provides full access to AWS services and resources, but does not allow management of Users and groups.",
        [
            {"Effect": "Allow", "NotAction": ["iam:*", "organizations:*", "account:*"], "Resource": "*"},
            _allow(
                "account:GetAccountInformation",
                "account:ListRegions",
                "iam:CreateServiceLinkedRole",
                "iam:DeleteServiceLinkedRole",
                "iam:ListRoles",
                "organizations:DescribeOrganization",
            ),
        ],
    ),
    "ReadOnlyAccess": _Policy(
        "ANPAILL3HVNFSB6DCOWYQ",
        "Provides read-only access to AWS services and resources.",
        [
            _allow(
                "cloudhsm:Describe*",
                "cloudhsm:Get*",
                "cloudhsm:List*",
                "cloudtrail:Describe*",
                "cloudtrail:Get*",
                "cloudtrail:List*",
                "cloudtrail:LookupEvents",
                "ec2:Describe*",
                "iam:Generate*",
                "iam:Get*",
                "iam:List*",
                "iam:Simulate*",
                "kms:Describe*",
                "kms:Get*",
                "kms:List*",
                "sts:GetAccessKeyInfo",
                "sts:GetCallerIdentity",
                "sts:GetSessionToken",
                "tag:Get*",
            )
        ],
    ),
    "AWSKeyManagementServicePowerUser": _Policy(
        "ANPAJNPP7PPPPMJRV2SA4",
        "Provides access to AWS Key Management Service (KMS).",
        [
            _allow(
                "kms:CreateAlias",
                "kms:CreateKey",
                "kms:DeleteAlias",
                "kms:Describe*",
                "kms:GenerateRandom",
                "kms:Get*",
                "kms:List*",
                "kms:TagResource",
                "kms:UntagResource",
                "iam:ListGroups",
                "iam:ListRoles",
                "iam:ListUsers",
            )
        ],
    ),
    "IAMFullAccess": _Policy(
        "ANPAI7XKCFMBPM3QQRRVQ",
        "Provides full access to IAM via the AWS Management Console.",
        [
            _allow(
                "iam:*",
                "organizations:DescribeAccount",
                "organizations:DescribeOrganization",
                "organizations:DescribeOrganizationalUnit",
                "organizations:DescribePolicy",
                "organizations:ListChildren",
                "organizations:ListParents",
                "organizations:ListPoliciesForTarget",
                "organizations:ListRoots",
                "organizations:ListPolicies",
                "organizations:ListTargetsForPolicy",
            )
        ],
    ),
    "IAMUserChangePassword": _Policy(
        "ANPAJ4L4MM2A7QIEB56MS",
        "Provides the ability for an IAM user to change their own password.",
        [
            _allow("iam:ChangePassword", resource="arn:aws:iam::*:user/${aws:username}"),
            _allow("iam:GetAccountPasswordPolicy"),
        ],
    ),
    "AWSCloudHSMFullAccess": _Policy(
        "ANPAIMBQYQZM7F63DA2UU", "Provides full access to all CloudHSM resources.", [_allow("cloudhsm:*")]
    ),
    "AWSCloudHSMReadOnlyAccess": _Policy(
        "ANPAISVCBSY7YDBOT67KE",
        "Provides read only access to all CloudHSM resources.",
        [_allow("cloudhsm:Get*", "cloudhsm:List*", "cloudhsm:Describe*")],
    ),
}


def document(name: str) -> str:
    """The document of an AWS managed policy."""
    return json.dumps({"Version": "2012-10-17", "Statement": POLICIES[name].statements}, indent=4)


def put(using: str = DEFAULT_DB_ALIAS, **signal: Any) -> None:
    """Write the policies that are not there or are not as they should be: a receiver of post_migrate.

    using: the database that was migrated, which need not be the one that this process serves. So no epoch is raised,
    and nothing needs it: no worker serves a database that is being migrated.
    """
    if ManagedPolicy._meta.db_table not in connections[using].introspection.table_names():
        return  # the migration went back to before there were policies
    versions = PolicyVersion.objects.using(using).filter(policy__account=AWS, is_default=True)
    there = dict(versions.values_list("policy__name", "document"))
    for name, policy in POLICIES.items():
        if there.get(name) != document(name):
            _put(name, policy, using)


def _put(name: str, policy: _Policy, using: str) -> None:
    rows, versions = ManagedPolicy.objects.using(using), PolicyVersion.objects.using(using)
    if versions.filter(policy__policy_id=policy.policy_id).update(document=document(name)):
        return
    common = {"account": AWS, "name": name, "description": policy.description}
    rows.bulk_create([ManagedPolicy(**common, policy_id=policy.policy_id, created_at=_MADE_AT, updated_at=_MADE_AT)])
    row = rows.get(policy_id=policy.policy_id)
    versions.bulk_create(
        [PolicyVersion(policy=row, number=1, document=document(name), is_default=True, created_at=_MADE_AT)]
    )
