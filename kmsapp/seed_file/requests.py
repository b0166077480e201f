"""Entries as the requests by which they are made: operation names and parameters of AWS's, as any caller sends them."""

from __future__ import annotations

from typing import Any

from kmsapp.seed_file.file_entries import SeedFile
from kmsapp.seed_file.identity_entries import Group, ManagedPolicy, Role, User
from kmsapp.seed_file.key_entries import CustomKeyStore, Grant, Key
from kmsapp.seed_file.policy_text import Policy

Params = dict[str, Any]


def policy(entry: ManagedPolicy) -> Params:
    """Of CreatePolicy."""
    return _given(
        PolicyName=entry.name,
        Path=entry.path,
        Description=entry.description or None,
        PolicyDocument=entry.document.text if entry.document else "",
        Tags=iam_tags(entry),
    )


def group(entry: Group) -> Params:
    """Of CreateGroup."""
    return _given(GroupName=entry.name, Path=entry.path)


def user(seed: SeedFile, entry: User) -> Params:
    """Of CreateUser."""
    return _given(
        UserName=entry.name, Path=entry.path, PermissionsBoundary=_boundary(seed, entry), Tags=iam_tags(entry)
    )


def role(seed: SeedFile, entry: Role) -> Params:
    """Of CreateRole."""
    return _given(
        RoleName=entry.name,
        Path=entry.path,
        Description=entry.description or None,
        AssumeRolePolicyDocument=entry.trust_policy.text if entry.trust_policy else "",
        MaxSessionDuration=entry.max_session_duration,
        PermissionsBoundary=_boundary(seed, entry),
        Tags=iam_tags(entry),
    )


def attachments(seed: SeedFile, entry: Group | User | Role) -> list[tuple[str, Params]]:
    """Operations and parameters that give an identity its managed and inline policies."""
    title = type(entry).__name__
    owner = {f"{title}Name": entry.name}
    attached = [seed.policy_arn(entry.account, written) for written in entry.managed_policies]
    return [
        *((f"iam:Attach{title}Policy", _given(**owner, PolicyArn=arn)) for arn in attached),
        *(
            (f"iam:Put{title}Policy", _given(**owner, PolicyName=name, PolicyDocument=inline.text))
            for name, inline in entry.inline_policies.items()
        ),
    ]


def key_store(entry: CustomKeyStore, *, cluster_id: str, trust_anchor: str, password: str) -> Params:
    """Of CreateCustomKeyStore."""
    return _given(
        CustomKeyStoreName=entry.name,
        CloudHsmClusterId=cluster_id,
        TrustAnchorCertificate=trust_anchor,
        KeyStorePassword=password,
    )


def key(entry: Key, *, custom_key_store_id: str) -> Params:
    """Of CreateKey, without the policy, which comes last (key_policy)."""
    return _given(
        Description=entry.description or None,
        Origin=entry.origin,
        CustomKeyStoreId=custom_key_store_id,
        Tags=kms_tags(entry),
    )


def key_policy(policy: Policy) -> Params:
    """Of PutKeyPolicy, without the key."""
    # What AWS asks of the caller was asked of whoever the policy names (checks/keys.py).
    return _given(Policy=policy.text, BypassPolicyLockoutSafetyCheck=True)


def grant(entry: Grant) -> Params:
    """Of CreateGrant, without the key."""
    limits = entry.constraints
    constraints = limits and _given(
        EncryptionContextEquals=limits.encryption_context_equals,
        EncryptionContextSubset=limits.encryption_context_subset,
        SourceArn=limits.source_arn,
    )
    return _given(
        Name=entry.name,
        GranteePrincipal=entry.grantee_principal,
        GranteeServicePrincipal=entry.grantee_service_principal,
        RetiringPrincipal=entry.retiring_principal,
        RetiringServicePrincipal=entry.retiring_service_principal,
        Operations=entry.operations or [],
        Constraints=constraints or None,
    )


def _boundary(seed: SeedFile, entry: User | Role) -> str | None:
    written = entry.permissions_boundary
    return seed.policy_arn(entry.account, written) if written else None


def iam_tags(entry: ManagedPolicy | User | Role) -> list[Params] | None:
    return [{"Key": str(name), "Value": str(value)} for name, value in entry.tags.items()] or None


def kms_tags(entry: Key) -> list[Params] | None:
    return [{"TagKey": str(name), "TagValue": str(value)} for name, value in entry.tags.items()] or None


def _given(**params: Any) -> Params:
    """Without what there is not, and with plain texts in place of those that know where they stand."""
    return {name: _plain(value) for name, value in params.items() if value is not None}


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {_plain(name): _plain(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [_plain(inner) for inner in value]
    return str(value) if isinstance(value, str) else value
