"""CreatePolicyVersion, GetPolicyVersion, ListPolicyVersions, SetDefaultPolicyVersion, DeletePolicyVersion.

A managed policy has one to five versions, of which the default one is in force. A number is never given twice.
https://docs.aws.amazon.com/IAM/latest/UserGuide/access_policies_managed-versioning.html
"""

from __future__ import annotations

from typing import Any

from hsmapp import clock
from kmsapp.call import Call
from kmsapp.errors import DeleteConflictException, LimitExceededException, NoSuchEntityException
from kmsapp.iam import documents, lists, managed_policies, recording
from kmsapp.models import ManagedPolicy, PolicyVersion
from kmsapp.registry import operation

MOST_VERSIONS = 5


def entry(version: PolicyVersion) -> dict[str, Any]:
    """https://docs.aws.amazon.com/IAM/latest/APIReference/API_PolicyVersion.html, as lists have it: no document."""
    return {
        "VersionId": version.version_id,
        "IsDefaultVersion": version.is_default,
        "CreateDate": version.created_at,
    }


def full_entry(version: PolicyVersion) -> dict[str, Any]:
    return {"Document": documents.encoded(version.document), **entry(version)}


@operation("iam:CreatePolicyVersion")
def create_policy_version(call: Call, params: dict[str, Any]) -> dict[str, Any]:
    """https://docs.aws.amazon.com/IAM/latest/APIReference/API_CreatePolicyVersion.html"""
    recording.note(call, params)
    policy = managed_policies.find_own(call, "iam:CreatePolicyVersion", params["PolicyArn"])
    documents.require_managed_policy(params["PolicyDocument"])
    response: dict[str, Any] = {}
    with call.change(response):
        policy = managed_policies.locked(policy)
        if policy.versions.count() >= MOST_VERSIONS:
            raise LimitExceededException(
                f"A managed policy can have up to {MOST_VERSIONS} versions. Before you create a new version, you must "
                "delete an existing version."
            )
        policy.versions_made += 1
        version = PolicyVersion.objects.create(
            policy=policy, number=policy.versions_made, document=params["PolicyDocument"], created_at=clock.now()
        )
        policy.updated_at = version.created_at
        policy.save(update_fields=["versions_made", "updated_at"])
        if params.get("SetAsDefault"):
            _make_default(version)
        answer = {"PolicyVersion": entry(version)}
        response.update(recording.response(call, answer))
    return answer


def _make_default(version: PolicyVersion) -> None:
    """Of two default versions at once the database would refuse the second, so the old one yields first."""
    version.policy.versions.filter(is_default=True).update(is_default=False)
    version.is_default = True
    version.save(update_fields=["is_default"])


@operation("iam:GetPolicyVersion", read_only=True)
def get_policy_version(call: Call, params: dict[str, Any]) -> dict[str, Any]:
    """https://docs.aws.amazon.com/IAM/latest/APIReference/API_GetPolicyVersion.html"""
    recording.note(call, params)
    policy = managed_policies.find(call, "iam:GetPolicyVersion", params["PolicyArn"])
    return {"PolicyVersion": full_entry(_of(policy, params["VersionId"]))}


@operation("iam:ListPolicyVersions", read_only=True)
def list_policy_versions(call: Call, params: dict[str, Any]) -> dict[str, Any]:
    """The newest first. https://docs.aws.amazon.com/IAM/latest/APIReference/API_ListPolicyVersions.html"""
    recording.note(call, params)
    policy = managed_policies.find(call, "iam:ListPolicyVersions", params["PolicyArn"])
    newest = policy.versions_made
    # Sort keys run upwards; a version's is how many numbers were given after it.
    items = ((f"{newest - version.number:010}", entry(version)) for version in policy.versions.all())
    page, ending = lists.page_of(call, params, items, of=policy.policy_id)
    return {"Versions": page, **ending}


@operation("iam:SetDefaultPolicyVersion")
def set_default_policy_version(call: Call, params: dict[str, Any]) -> dict[str, Any]:
    """https://docs.aws.amazon.com/IAM/latest/APIReference/API_SetDefaultPolicyVersion.html"""
    recording.note(call, params)
    policy = managed_policies.find_own(call, "iam:SetDefaultPolicyVersion", params["PolicyArn"])
    with call.change():
        policy = managed_policies.locked(policy)
        _make_default(_of(policy, params["VersionId"]))
        policy.updated_at = clock.now()
        policy.save(update_fields=["updated_at"])
    return {}


@operation("iam:DeletePolicyVersion")
def delete_policy_version(call: Call, params: dict[str, Any]) -> dict[str, Any]:
    """https://docs.aws.amazon.com/IAM/latest/APIReference/API_DeletePolicyVersion.html"""
    recording.note(call, params)
    policy = managed_policies.find_own(call, "iam:DeletePolicyVersion", params["PolicyArn"])
    with call.change():
        policy = managed_policies.locked(policy)
        version = _of(policy, params["VersionId"])
        if version.is_default:
            raise DeleteConflictException("Cannot delete the default version of a policy.")
        version.delete()
    return {}


def _of(policy: ManagedPolicy, version_id: str) -> PolicyVersion:
    number = version_id.removeprefix("v")
    found = policy.versions.filter(number=int(number)).first() if number.isdecimal() and len(number) < 10 else None
    if found is None:
        raise NoSuchEntityException(f"Policy {policy.arn} version {version_id} does not exist or is not attachable.")
    return found
