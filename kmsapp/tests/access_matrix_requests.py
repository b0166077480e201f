"""The request of each row of the access matrix: parameters that an allowed caller succeeds with, time and again.

What differs from cell to cell is a marker, which access_matrix_world.py replaces. What destroys something gets a thing
of its own: `first` is done before by the root user of the account, but only in cells where the call is allowed, and
where it isn't the same request names a thing that is there to stay. `after` undoes what such a call has done.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Of:
    """What the thing of the cell has: its key, its store, its user, …"""

    kind: str


@dataclass(frozen=True)
class New:
    """A name that is free; where the call is refused, what the thing has."""

    kind: str


@dataclass(frozen=True)
class Made:
    """A member of what `first` answered; where the call is refused, what the thing has."""

    member: str
    kind: str


@dataclass(frozen=True)
class Request:
    params: dict[str, Any] = field(default_factory=dict)
    first: tuple[tuple[str, dict[str, Any]], ...] = ()
    after: tuple[tuple[str, dict[str, Any]], ...] = ()


PASSWORD = "Correct-Horse-7"
ADMINISTRATOR = "arn:aws:iam::aws:policy/AdministratorAccess"
DOCUMENT = json.dumps({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:*", "Resource": "*"}]})
TRUST = json.dumps(
    {
        "Version": "2012-10-17",
        "Statement": [{"Effect": "Allow", "Principal": {"AWS": "*"}, "Action": "sts:AssumeRole"}],
    }
)
TAGS = [{"Key": "matrix", "Value": "yes"}]
INLINE = "matrix-inline"  # of each user, group and role that stays

_KEY = {"KeyId": Of("key")}
_GRANT = {
    **_KEY,
    "GranteePrincipal": Of("grantee"),
    "RetiringPrincipal": Of("retiring principal"),
    "Operations": ["Decrypt"],
}
_ENABLE, _SCHEDULE, _CANCEL = (
    (f"kms:{operation}", _KEY) for operation in ("EnableKey", "ScheduleKeyDeletion", "CancelKeyDeletion")
)
_STORE = {"CustomKeyStoreId": Of("store")}
_CREATE_KEY = {**_STORE, "Origin": "AWS_CLOUDHSM"}

_ALIAS = {"AliasName": New("alias"), "TargetKeyId": Of("key")}
_REFUSALS = Path(__file__).parent / "data" / "key_store_refusals.json"


def _for_other_keys() -> dict[str, Request]:
    """Operations that the keys here are not for. Their blobs are in base64, as they are sent."""
    rows = json.loads(_REFUSALS.read_text())["operations"]
    return {name: Request({**_KEY, **row["params"]}) for name, row in rows.items()}


_KMS = {
    **_for_other_keys(),
    "DescribeKey": Request(_KEY),
    "DescribeKey / by a bare key ID": Request({"KeyId": Of("key id")}),
    "Encrypt": Request({**_KEY, "Plaintext": b"x"}),
    "Decrypt": Request({**_KEY, "CiphertextBlob": Of("ciphertext")}),
    "Decrypt / without KeyId": Request({"CiphertextBlob": Of("ciphertext")}),
    "ReEncrypt": Request({"SourceKeyId": Of("key"), "DestinationKeyId": Of("key"), "CiphertextBlob": Of("ciphertext")}),
    "ReEncrypt / without SourceKeyId": Request({"DestinationKeyId": Of("key"), "CiphertextBlob": Of("ciphertext")}),
    "GenerateRandom": Request({"NumberOfBytes": 16}),
    "GenerateRandom / of a key store": Request({**_STORE, "NumberOfBytes": 16}),
    "GenerateDataKey": Request({**_KEY, "KeySpec": "AES_256"}),
    "GenerateDataKeyWithoutPlaintext": Request({**_KEY, "KeySpec": "AES_256"}),
    "CreateGrant": Request({**_GRANT, "Name": "matrix"}),
    "ListGrants": Request(_KEY),
    "RevokeGrant": Request({**_KEY, "GrantId": Made("GrantId", "grant")}, first=(("kms:CreateGrant", _GRANT),)),
    "RetireGrant": Request({**_KEY, "GrantId": Made("GrantId", "grant")}, first=(("kms:CreateGrant", _GRANT),)),
    "ListRetirableGrants": Request({"RetiringPrincipal": Of("user arn")}),
    "GetKeyPolicy": Request(_KEY),
    "PutKeyPolicy": Request({**_KEY, "Policy": Of("key policy")}),
    "TagResource": Request({**_KEY, "Tags": [{"TagKey": "matrix", "TagValue": "yes"}]}),
    "UntagResource": Request({**_KEY, "TagKeys": ["matrix"]}),
    "ListResourceTags": Request(_KEY),
    "EnableKey": Request(_KEY),
    "DisableKey": Request(_KEY, after=(_ENABLE,)),
    "ScheduleKeyDeletion": Request(_KEY, after=(_CANCEL, _ENABLE)),
    "CancelKeyDeletion": Request(_KEY, first=(_SCHEDULE,), after=(_ENABLE,)),
    "UpdateKeyDescription": Request({**_KEY, "Description": "of the matrix"}),
    "GetKeyLastUsage": Request(_KEY),
    "ListKeyPolicies": Request(_KEY),
    "CreateAlias": Request(_ALIAS),
    "UpdateAlias": Request(_ALIAS, first=(("kms:CreateAlias", _ALIAS),)),
    "DeleteAlias": Request({"AliasName": New("alias")}, first=(("kms:CreateAlias", _ALIAS),)),
    "ListKeys": Request(),
    "ListAliases": Request(),
    "ListAliases / of a key": Request(_KEY),
    "CreateKey": Request(_CREATE_KEY),
    "CreateKey / with tags": Request({**_CREATE_KEY, "Tags": [{"TagKey": "matrix", "TagValue": "yes"}]}),
    "DescribeCustomKeyStores": Request(_STORE),
    "ConnectCustomKeyStore": Request(_STORE),  # it is connected
    "UpdateCustomKeyStore": Request({**_STORE, "NewCustomKeyStoreName": Of("store name")}),
    "DeleteCustomKeyStore": Request(_STORE),  # it has keys
    "CreateCustomKeyStore": Request(
        {
            "CustomKeyStoreName": "AnotherStore",
            "CloudHsmClusterId": Of("cluster"),  # it has a store
            "TrustAnchorCertificate": "-----BEGIN CERTIFICATE-----",
            "KeyStorePassword": "kmsPswd1",
        }
    ),
    "DisconnectCustomKeyStore": Request(_STORE),  # after everything else
}
_STS = {
    "GetCallerIdentity": Request(),
    "GetSessionToken": Request(),
    "GetAccessKeyInfo": Request({"AccessKeyId": Of("some access key")}),
    "AssumeRole": Request({"RoleArn": Of("assumed role"), "RoleSessionName": "matrix"}),
}

_SIMULATE = {"ActionNames": ["kms:Decrypt"]}
_LISTS = ("Users", "Groups", "Roles", "Policies", "AccountAliases")
_IAM_ACCOUNT = {
    **{f"List{what}": Request() for what in _LISTS},
    "GetAccountSummary": Request(),
    "GetAccountAuthorizationDetails": Request(),
    "SimulateCustomPolicy": Request({"PolicyInputList": [DOCUMENT], **_SIMULATE}),
    "GetContextKeysForCustomPolicy": Request({"PolicyInputList": [DOCUMENT]}),
    "SimulatePrincipalPolicy": Request({"PolicySourceArn": Of("user arn"), **_SIMULATE}),
    "GetContextKeysForPrincipalPolicy": Request({"PolicySourceArn": Of("user arn")}),
}


def _entity(title: str) -> dict[str, Request]:
    """What users, groups and roles have alike."""
    kind, name = title.lower(), f"{title}Name"
    one, new = {name: Of(kind)}, {name: New(kind)}
    trust = {"AssumeRolePolicyDocument": TRUST} if title == "Role" else {}
    inline, attached = {"PolicyName": INLINE}, {"PolicyArn": ADMINISTRATOR}
    return {
        f"Create{title}": Request({**new, **trust}),
        f"Get{title}": Request(one),
        f"Delete{title}": Request(new, first=((f"iam:Create{title}", {**new, **trust}),)),
        f"Put{title}Policy": Request({**one, **inline, "PolicyDocument": DOCUMENT}),
        f"Get{title}Policy": Request({**one, **inline}),
        f"List{title}Policies": Request(one),
        f"Delete{title}Policy": Request(
            {**one, "PolicyName": "brief"},
            first=((f"iam:Put{title}Policy", {**one, "PolicyName": "brief", "PolicyDocument": DOCUMENT}),),
        ),
        f"Attach{title}Policy": Request({**one, **attached}),
        f"Detach{title}Policy": Request(
            {**one, **attached}, first=((f"iam:Attach{title}Policy", {**one, **attached}),)
        ),
        f"ListAttached{title}Policies": Request(one),
    }


def _tagged(title: str) -> dict[str, Request]:
    """What users and roles have beside that."""
    one = {f"{title}Name": Of(title.lower())}
    put = {**one, "PermissionsBoundary": ADMINISTRATOR}
    return {
        f"Tag{title}": Request({**one, "Tags": TAGS}),
        f"Untag{title}": Request({**one, "TagKeys": ["matrix"]}),
        f"List{title}Tags": Request(one),
        f"Put{title}PermissionsBoundary": Request(put),
        f"Delete{title}PermissionsBoundary": Request(one, first=((f"iam:Put{title}PermissionsBoundary", put),)),
    }


_USER, _NEW_USER = {"UserName": Of("user")}, {"UserName": New("user")}
_MAKE_USER = ("iam:CreateUser", _NEW_USER)
_PROFILE = {**_NEW_USER, "Password": PASSWORD}
_IAM_USERS = {
    **_entity("User"),
    **_tagged("User"),
    "GetUser / without a name": Request(),
    "UpdateUser": Request({**_USER, "NewPath": "/"}),
    "ListGroupsForUser": Request(_USER),
    "CreateLoginProfile": Request(_PROFILE, first=(_MAKE_USER,)),
    "GetLoginProfile": Request(_USER),
    "UpdateLoginProfile": Request({**_USER, "PasswordResetRequired": False}),
    "DeleteLoginProfile": Request(_NEW_USER, first=(_MAKE_USER, ("iam:CreateLoginProfile", _PROFILE))),
    "ChangePassword": Request({"OldPassword": PASSWORD, "NewPassword": PASSWORD}),
    "CreateAccessKey": Request(_NEW_USER, first=(_MAKE_USER,)),
    "ListAccessKeys": Request(_USER),
    "ListAccessKeys / without a name": Request(),
    "UpdateAccessKey": Request({**_USER, "AccessKeyId": Of("access key"), "Status": "Active"}),
    "DeleteAccessKey": Request(
        {**_NEW_USER, "AccessKeyId": Made("AccessKeyId", "access key")},
        first=(_MAKE_USER, ("iam:CreateAccessKey", _NEW_USER)),
    ),
    "GetAccessKeyLastUsed": Request({"AccessKeyId": Of("access key")}),
}
_MEMBER = {"GroupName": Of("group"), "UserName": Of("user")}
_IAM_GROUPS = {
    **_entity("Group"),
    "UpdateGroup": Request({"GroupName": Of("group"), "NewPath": "/"}),
    "AddUserToGroup": Request(_MEMBER),
    "RemoveUserFromGroup": Request(_MEMBER, first=(("iam:AddUserToGroup", _MEMBER),)),
}
_ROLE = {"RoleName": Of("role")}
_IAM_ROLES = {
    **_entity("Role"),
    **_tagged("Role"),
    "UpdateRole": Request({**_ROLE, "MaxSessionDuration": 3600}),
    "UpdateRoleDescription": Request({**_ROLE, "Description": "of the matrix"}),
    "UpdateAssumeRolePolicy": Request({**_ROLE, "PolicyDocument": TRUST}),
    "ListInstanceProfilesForRole": Request(_ROLE),
}
_POLICY = {"PolicyArn": Of("policy")}
_NEW_POLICY = {"PolicyName": New("policy name"), "PolicyDocument": DOCUMENT}
_NEW_VERSION = {**_POLICY, "PolicyDocument": DOCUMENT}
_IAM_POLICIES = {
    "CreatePolicy": Request(_NEW_POLICY),
    "GetPolicy": Request(_POLICY),
    "DeletePolicy": Request({"PolicyArn": Made("Arn", "policy")}, first=(("iam:CreatePolicy", _NEW_POLICY),)),
    "ListEntitiesForPolicy": Request(_POLICY),
    "TagPolicy": Request({**_POLICY, "Tags": TAGS}),
    "UntagPolicy": Request({**_POLICY, "TagKeys": ["matrix"]}),
    "ListPolicyTags": Request(_POLICY),
    "CreatePolicyVersion": Request(_NEW_VERSION),
    "GetPolicyVersion": Request({**_POLICY, "VersionId": "v1"}),
    "ListPolicyVersions": Request(_POLICY),
    "SetDefaultPolicyVersion": Request({**_POLICY, "VersionId": "v1"}),
    "DeletePolicyVersion": Request(
        {**_POLICY, "VersionId": Made("VersionId", "version")}, first=(("iam:CreatePolicyVersion", _NEW_VERSION),)
    ),
}

REQUESTS: dict[str, Request] = {
    **{f"kms:{row}": request for row, request in _KMS.items()},
    "cloudhsm:DescribeClusters": Request(),
    **{f"sts:{row}": request for row, request in _STS.items()},
    **{
        f"iam:{row}": request
        for table in (_IAM_ACCOUNT, _IAM_USERS, _IAM_GROUPS, _IAM_ROLES, _IAM_POLICIES)
        for row, request in table.items()
    },
}
