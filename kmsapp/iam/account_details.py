"""GetAccountSummary, ListAccountAliases, GetAccountAuthorizationDetails."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from kmsapp import access
from kmsapp.call import Call
from kmsapp.iam import attachments, documents, groups, lists, managed_policies, policy_versions, recording, roles, users
from kmsapp.iam.access_keys import MOST_KEYS_OF_A_USER
from kmsapp.iam.entities import GROUP, ROLE, USER
from kmsapp.models import AccessKey, Group, InlinePolicy, ManagedPolicy, PolicyVersion, Role, User
from kmsapp.models.policies import AWS
from kmsapp.registry import operation

_ALL = ("User", "Role", "Group", "LocalManagedPolicy", "AWSManagedPolicy")


@operation("iam:GetAccountSummary", read_only=True)
def get_account_summary(call: Call, params: dict[str, Any]) -> dict[str, Any]:
    """https://docs.aws.amazon.com/IAM/latest/APIReference/API_GetAccountSummary.html"""
    access.account(call, "iam:GetAccountSummary")
    return {"SummaryMap": {**_counts(call.caller.account), **_QUOTAS, **_NOT_HERE}}


_QUOTAS = {
    "UsersQuota": USER.most,
    "GroupsQuota": GROUP.most,
    "RolesQuota": ROLE.most,
    "PoliciesQuota": managed_policies.MOST_POLICIES,
    "AccessKeysPerUserQuota": MOST_KEYS_OF_A_USER,
    "GroupsPerUserQuota": groups.MOST_GROUPS_OF_A_USER,
    "AttachedPoliciesPerUserQuota": attachments.MOST_ATTACHED,
    "AttachedPoliciesPerGroupQuota": attachments.MOST_ATTACHED,
    "AttachedPoliciesPerRoleQuota": attachments.MOST_ATTACHED,
    "UserPolicySizeQuota": USER.most_inline,
    "GroupPolicySizeQuota": GROUP.most_inline,
    "RolePolicySizeQuota": ROLE.most_inline,
    "PolicySizeQuota": documents.MOST_MANAGED,
    "AssumeRolePolicySizeQuota": documents.MOST_TRUST,
    "VersionsPerPolicyQuota": policy_versions.MOST_VERSIONS,
    "PolicyVersionsInUseQuota": 10_000,
}
_NOT_HERE = dict.fromkeys(
    (
        "ServerCertificates",
        "ServerCertificatesQuota",
        "SigningCertificatesPerUserQuota",
        "AccountSigningCertificatesPresent",
        "AccountMFAEnabled",
        "MFADevices",
        "MFADevicesInUse",
        "InstanceProfiles",
        "InstanceProfilesQuota",
        "Providers",
    ),
    0,
)


def _counts(account: str) -> dict[str, int]:
    root = User.objects.filter(account_id=account, is_root=True).first()
    return {
        "Users": User.objects.filter(account_id=account, is_root=False).count(),
        "Groups": Group.objects.filter(account_id=account).count(),
        "Roles": Role.objects.filter(account_id=account).count(),
        "Policies": ManagedPolicy.objects.filter(account=account).count(),
        "PolicyVersionsInUse": PolicyVersion.objects.filter(policy__account=account).count(),
        "AccountAccessKeysPresent": int(
            AccessKey.objects.filter(user__account_id=account, user__is_root=True).exists()
        ),
        "AccountPasswordPresent": int(root is not None and root.has_usable_password()),
        "GlobalEndpointTokenVersion": 2,
    }


@operation("iam:ListAccountAliases", read_only=True)
def list_account_aliases(call: Call, params: dict[str, Any]) -> dict[str, Any]:
    """No account has one here. https://docs.aws.amazon.com/IAM/latest/APIReference/API_ListAccountAliases.html"""
    access.account(call, "iam:ListAccountAliases")
    return {"AccountAliases": [], "IsTruncated": False}


@operation("iam:GetAccountAuthorizationDetails", read_only=True)
def get_account_authorization_details(call: Call, params: dict[str, Any]) -> dict[str, Any]:
    """https://docs.aws.amazon.com/IAM/latest/APIReference/API_GetAccountAuthorizationDetails.html"""
    recording.note(call, params)
    access.account(call, "iam:GetAccountAuthorizationDetails")
    wanted = sorted(set(params.get("Filter") or _ALL))
    page, ending = lists.page_of(call, params, _everything(call.caller.account, wanted), of=" ".join(wanted))
    shown = {member: [_DETAILS[kind](row, call) for kind, row in page if kind in kinds] for member, kinds in _MEMBERS}
    return {**shown, **ending}


def _everything(account: str, wanted: list[str]) -> Iterator[tuple[str, tuple[str, Any]]]:
    rows = {
        "User": User.objects.filter(account_id=account, is_root=False),
        "Group": Group.objects.filter(account_id=account),
        "Role": Role.objects.filter(account_id=account),
        "LocalManagedPolicy": ManagedPolicy.objects.filter(account=account),
        "AWSManagedPolicy": ManagedPolicy.objects.filter(account=AWS),
    }
    for kind in wanted:
        for row in rows[kind]:
            yield f"{kind} {row.pk:020}", (kind, row)


def _user(user: User, call: Call) -> dict[str, Any]:
    shown = users.full_entry(user)
    del shown["PasswordLastUsed"]
    in_groups = list(user.groups.order_by("name").values_list("name", flat=True))
    return {**shown, **_attached(user), "UserPolicyList": _inline(user), "GroupList": in_groups}


def _group(group: Group, call: Call) -> dict[str, Any]:
    return {**groups.entry(group), **_attached(group), "GroupPolicyList": _inline(group)}


def _role(role: Role, call: Call) -> dict[str, Any]:
    shown = roles.full_entry(role)
    del shown["Description"], shown["MaxSessionDuration"]
    return {**shown, **_attached(role), "RolePolicyList": _inline(role), "InstanceProfileList": [], "RoleLastUsed": {}}


def _policy(policy: ManagedPolicy, call: Call) -> dict[str, Any]:
    versions = [policy_versions.full_entry(version) for version in policy.versions.order_by("-number")]
    shown = managed_policies.entry(policy, call.caller.account)
    return {**shown, "Description": policy.description or None, "PolicyVersionList": versions}


def _attached(entity: User | Group | Role) -> dict[str, Any]:
    return {"AttachedManagedPolicies": [attachments.entry(policy) for policy in entity.managed_policies.all()]}


def _inline(entity: User | Group | Role) -> list[dict[str, str]]:
    found: list[InlinePolicy] = list(entity.inline_policies.all())
    return [{"PolicyName": policy.name, "PolicyDocument": documents.encoded(policy.document)} for policy in found]


_DETAILS: dict[str, Callable[[Any, Call], dict[str, Any]]] = {
    "User": _user,
    "Group": _group,
    "Role": _role,
    "LocalManagedPolicy": _policy,
    "AWSManagedPolicy": _policy,
}
_MEMBERS = (
    ("UserDetailList", ("User",)),
    ("GroupDetailList", ("Group",)),
    ("RoleDetailList", ("Role",)),
    ("Policies", ("LocalManagedPolicy", "AWSManagedPolicy")),
)
