"""Managed policies and their versions, inline policies, attachments, boundaries."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import unquote

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from hsmapp import epochs
from kmsapp.iam import aws_managed
from kmsapp.models import ManagedPolicy, PolicyVersion
from kmsapp.tests.iam_world import ACCOUNT, ADMINISTRATOR, POLICY, fill, iam, last_event, refused, trust
from kmsapp.tests.people import ALICE, CAROL

pytestmark = pytest.mark.django_db

ARN = f"arn:aws:iam::{ACCOUNT}:policy/team/UseKeys"
KINDS = {"User": "zoe", "Group": "KeyUsers", "Role": "Deputy"}


def allowing(**elements: str) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": {"Effect": "Allow", **elements}})


OTHER = json.dumps({"Version": "2012-10-17", "Statement": {"Effect": "Deny", "Action": "*", "Resource": "*"}})


@pytest.fixture(autouse=True)
def world(monkeypatch: pytest.MonkeyPatch) -> None:
    fill(monkeypatch)
    iam("CreateUser", UserName="zoe")
    iam("CreateGroup", GroupName="KeyUsers")
    iam("CreateRole", RoleName="Deputy", AssumeRolePolicyDocument=trust(ACCOUNT))
    iam("CreatePolicy", PolicyName="UseKeys", Path="/team/", PolicyDocument=POLICY, Description="to use keys")


def document(version: str = "v1", arn: str = ARN) -> str:
    shown = iam("GetPolicyVersion", PolicyArn=arn, VersionId=version)["PolicyVersion"]
    return unquote(shown["Document"])


def test_a_policy_is_made_shown_and_deleted() -> None:
    shown = iam("GetPolicy", PolicyArn=ARN)["Policy"]
    assert (shown["Arn"], shown["PolicyName"], shown["Path"]) == (ARN, "UseKeys", "/team/")
    assert shown["PolicyId"].startswith("ANPA") and shown["DefaultVersionId"] == "v1"
    assert (shown["AttachmentCount"], shown["PermissionsBoundaryUsageCount"]) == (0, 0)
    assert shown["Description"] == "to use keys" and document() == POLICY
    (listed,) = iam("ListPolicies", Scope="Local")["Policies"]
    assert listed["Arn"] == ARN and "Description" not in listed
    iam("DeletePolicy", PolicyArn=ARN)
    assert refused(lambda: iam("GetPolicy", PolicyArn=ARN)) == ("NoSuchEntity", f"Policy {ARN} was not found.")
    assert not PolicyVersion.objects.filter(policy__account=ACCOUNT).exists()


def test_names_are_unique_without_regard_to_case_and_path() -> None:
    taken = ("EntityAlreadyExists", "A policy called usekeys already exists. Duplicate names are not allowed.")
    assert refused(lambda: iam("CreatePolicy", PolicyName="usekeys", PolicyDocument=POLICY)) == taken


REFUSED = {
    "no JSON": ("{", "Syntax errors in policy."),
    "no statement": ('{"Version": "2012-10-17"}', "Syntax errors in policy."),
    "a principal": (trust(ACCOUNT), "Policy document should not specify a principal."),
    "no action": (allowing(Resource="*"), "Policy statement must contain actions."),
    "no resource": (allowing(Action="*"), "Policy statement must contain resources."),
    "an old version": (
        POLICY.replace("2012-10-17", "2008-10-17"),
        "Policy document must be version 2012-10-17 or greater.",
    ),
    "an action of no service": (
        allowing(Action="Encrypt", Resource="*"),
        "Actions/Conditions must be prefaced by a vendor, e.g., iam, sdb, ec2, etc.",
    ),
}


@pytest.mark.parametrize(("text", "message"), REFUSED.values(), ids=REFUSED)
def test_a_document_is_refused_everywhere_with(text: str, message: str) -> None:
    calls: list[tuple[str, dict[str, Any]]] = [
        ("CreatePolicy", {"PolicyName": "x"}),
        ("CreatePolicyVersion", {"PolicyArn": ARN}),
        *((f"Put{kind}Policy", {f"{kind}Name": name, "PolicyName": "x"}) for kind, name in KINDS.items()),
    ]
    answers = {
        refused(lambda name=name, asked=asked: iam(name, **asked, PolicyDocument=text))  # type: ignore[misc]
        for name, asked in calls
    }
    assert answers == {("MalformedPolicyDocument", message)}


def test_documents_have_largest_sizes_without_their_white_space() -> None:
    spaced = POLICY + " " * 20_000
    iam("CreatePolicy", PolicyName="spaced", PolicyDocument=spaced)
    long = allowing(Action="kms:*", Resource="arn:aws:kms:*:*:" + "a" * 6144)
    too_long = ("LimitExceeded", "Cannot exceed quota for PolicySize: 6144")
    assert refused(lambda: iam("CreatePolicy", PolicyName="long", PolicyDocument=long)) == too_long
    assert refused(lambda: iam("CreatePolicyVersion", PolicyArn=ARN, PolicyDocument=long)) == too_long
    half = allowing(Action="kms:*", Resource="arn:aws:kms:*:*:" + "a" * 1000)
    iam("PutUserPolicy", UserName="zoe", PolicyName="one", PolicyDocument=half)
    over = refused(lambda: iam("PutUserPolicy", UserName="zoe", PolicyName="two", PolicyDocument=half))
    assert over == ("LimitExceeded", "Maximum policy size of 2048 bytes exceeded for user zoe")
    assert iam("ListUserPolicies", UserName="zoe")["PolicyNames"] == ["one"]


def test_a_policy_has_five_versions_at_most_and_numbers_are_not_given_twice() -> None:
    for number in range(2, 6):
        made = iam("CreatePolicyVersion", PolicyArn=ARN, PolicyDocument=OTHER)["PolicyVersion"]
        assert (made["VersionId"], made["IsDefaultVersion"]) == (f"v{number}", False)
    code, message = refused(lambda: iam("CreatePolicyVersion", PolicyArn=ARN, PolicyDocument=OTHER))
    assert code == "LimitExceeded" and message.startswith("A managed policy can have up to 5 versions.")
    iam("DeletePolicyVersion", PolicyArn=ARN, VersionId="v5")
    made = iam("CreatePolicyVersion", PolicyArn=ARN, PolicyDocument=OTHER, SetAsDefault=True)["PolicyVersion"]
    assert (made["VersionId"], made["IsDefaultVersion"]) == ("v6", True)
    listed = iam("ListPolicyVersions", PolicyArn=ARN)["Versions"]
    assert [version["VersionId"] for version in listed] == ["v6", "v4", "v3", "v2", "v1"]
    assert [version["IsDefaultVersion"] for version in listed] == [True, False, False, False, False]
    first = iam("ListPolicyVersions", PolicyArn=ARN, MaxItems=2)
    second = iam("ListPolicyVersions", PolicyArn=ARN, MaxItems=3, Marker=first["Marker"])
    assert first["Versions"] + second["Versions"] == listed and not second["IsTruncated"]


def test_one_version_is_the_default_and_can_not_be_deleted() -> None:
    iam("CreatePolicyVersion", PolicyArn=ARN, PolicyDocument=OTHER)
    iam("SetDefaultPolicyVersion", PolicyArn=ARN, VersionId="v2")
    assert iam("GetPolicy", PolicyArn=ARN)["Policy"]["DefaultVersionId"] == "v2"
    conflict = ("DeleteConflict", "Cannot delete the default version of a policy.")
    assert refused(lambda: iam("DeletePolicyVersion", PolicyArn=ARN, VersionId="v2")) == conflict
    code, message = refused(lambda: iam("DeletePolicy", PolicyArn=ARN))
    assert code == "DeleteConflict" and message.startswith("This policy has more than one version.")
    iam("DeletePolicyVersion", PolicyArn=ARN, VersionId="v1")
    for operation in ("GetPolicyVersion", "SetDefaultPolicyVersion", "DeletePolicyVersion"):
        for version in ("v1", "v99999999999999999999"):
            missing = refused(lambda name=operation, which=version: iam(name, PolicyArn=ARN, VersionId=which))  # type: ignore[misc]
            assert missing[0] == "NoSuchEntity"


@pytest.mark.parametrize(("kind", "name"), KINDS.items(), ids=KINDS)
def test_a_policy_is_attached_counted_and_detached(kind: str, name: str) -> None:
    who: dict[str, Any] = {f"{kind}Name": name}
    for _ in range(2):
        iam(f"Attach{kind}Policy", **who, PolicyArn=ARN)
    iam(f"Attach{kind}Policy", **who, PolicyArn=ADMINISTRATOR)
    listed = iam(f"ListAttached{kind}Policies", **who)
    assert {policy["PolicyArn"] for policy in listed["AttachedPolicies"]} == {ARN, ADMINISTRATOR}
    (own,) = iam(f"ListAttached{kind}Policies", **who, PathPrefix="/team/")["AttachedPolicies"]
    assert own == {"PolicyName": "UseKeys", "PolicyArn": ARN}
    assert iam("GetPolicy", PolicyArn=ARN)["Policy"]["AttachmentCount"] == 1
    assert iam("GetPolicy", CAROL, PolicyArn=ADMINISTRATOR)["Policy"]["AttachmentCount"] == 0
    entities = iam("ListEntitiesForPolicy", PolicyArn=ARN)
    assert [entity[f"{kind}Name"] for entity in entities[f"Policy{kind}s"]] == [name]
    conflict = ("DeleteConflict", "Cannot delete a policy attached to entities.")
    assert refused(lambda: iam("DeletePolicy", PolicyArn=ARN)) == conflict
    iam(f"Detach{kind}Policy", **who, PolicyArn=ARN)
    gone = ("NoSuchEntity", f"Policy {ARN} was not found.")
    assert refused(lambda: iam(f"Detach{kind}Policy", **who, PolicyArn=ARN)) == gone
    iam("DeletePolicy", PolicyArn=ARN)


@pytest.mark.parametrize(("kind", "name"), KINDS.items(), ids=KINDS)
def test_ten_policies_are_attached_at_most(kind: str, name: str) -> None:
    who: dict[str, Any] = {f"{kind}Name": name}
    for number in range(11):
        iam("CreatePolicy", PolicyName=f"p{number}", PolicyDocument=POLICY)
    for number in range(10):
        iam(f"Attach{kind}Policy", **who, PolicyArn=f"arn:aws:iam::{ACCOUNT}:policy/p{number}")
    too_many = ("LimitExceeded", f"Cannot exceed quota for PoliciesPer{kind}: 10")
    assert refused(lambda: iam(f"Attach{kind}Policy", **who, PolicyArn=ARN)) == too_many
    assert len(iam(f"ListAttached{kind}Policies", **who)["AttachedPolicies"]) == 10


def test_what_is_not_there_or_another_accounts_can_not_be_attached() -> None:
    theirs = f"arn:aws:iam::{CAROL.account}:policy/theirs"
    iam("CreatePolicy", CAROL, PolicyName="theirs", PolicyDocument=POLICY)
    for arn in (theirs, f"arn:aws:iam::{ACCOUNT}:policy/UseKeys", "arn:aws:iam::aws:policy/Nothing"):
        answer = refused(lambda arn=arn: iam("AttachUserPolicy", UserName="zoe", PolicyArn=arn))  # type: ignore[misc]
        assert answer == ("NoSuchEntity", f"Policy {arn} does not exist or is not attachable.")
        answer = refused(
            lambda arn=arn: iam("PutUserPermissionsBoundary", UserName="zoe", PermissionsBoundary=arn)  # type: ignore[misc]
        )
        assert answer == ("NoSuchEntity", f"Scope ARN: {arn} does not exist or is not attachable.")
        assert refused(lambda arn=arn: iam("GetPolicy", PolicyArn=arn))[0] == "NoSuchEntity"  # type: ignore[misc]
    for arn in ("no ARN but twenty characters", f"arn:aws:iam::{ACCOUNT}:user/alice"):
        answer = refused(lambda arn=arn: iam("GetPolicy", PolicyArn=arn))  # type: ignore[misc]
        assert answer == ("InvalidInput", f"ARN {arn} is not valid.")


@pytest.mark.parametrize(("kind", "name"), KINDS.items(), ids=KINDS)
def test_an_inline_policy_is_put_replaced_shown_and_deleted(kind: str, name: str) -> None:
    who: dict[str, Any] = {f"{kind}Name": name}
    missing = ("NoSuchEntity", f"The {kind.lower()} policy with name own cannot be found.")
    assert refused(lambda: iam(f"Get{kind}Policy", **who, PolicyName="own")) == missing
    assert refused(lambda: iam(f"Delete{kind}Policy", **who, PolicyName="own")) == missing
    for text in (OTHER, POLICY):
        iam(f"Put{kind}Policy", **who, PolicyName="own", PolicyDocument=text)
        shown = iam(f"Get{kind}Policy", **who, PolicyName="own")
        assert unquote(shown.pop("PolicyDocument")) == text and shown == {**who, "PolicyName": "own"}
    assert iam(f"List{kind}Policies", **who) == {"PolicyNames": ["own"], "IsTruncated": False}
    iam(f"Delete{kind}Policy", **who, PolicyName="own")
    assert iam(f"List{kind}Policies", **who)["PolicyNames"] == []


@pytest.mark.parametrize("kind", ["User", "Role"])
def test_a_boundary_is_put_shown_counted_and_deleted(kind: str) -> None:
    who: dict[str, Any] = {f"{kind}Name": KINDS[kind]}
    none = refused(lambda: iam(f"Delete{kind}PermissionsBoundary", **who))
    assert none[0] == "NoSuchEntity"
    iam(f"Put{kind}PermissionsBoundary", **who, PermissionsBoundary=ARN)
    shown = iam(f"Get{kind}", **who)[kind]["PermissionsBoundary"]
    assert shown == {"PermissionsBoundaryType": "PermissionsBoundaryPolicy", "PermissionsBoundaryArn": ARN}
    policy = iam("GetPolicy", PolicyArn=ARN)["Policy"]
    assert (policy["AttachmentCount"], policy["PermissionsBoundaryUsageCount"]) == (0, 1)
    assert refused(lambda: iam("DeletePolicy", PolicyArn=ARN))[0] == "DeleteConflict"
    for usage, found in (("PermissionsBoundary", 1), ("PermissionsPolicy", 0)):
        entities = iam("ListEntitiesForPolicy", PolicyArn=ARN, PolicyUsageFilter=usage)
        assert len(entities[f"Policy{kind}s"]) == found
        assert len(iam("ListPolicies", Scope="Local", PolicyUsageFilter=usage)["Policies"]) == found
    iam(f"Delete{kind}PermissionsBoundary", **who)
    assert iam(f"Get{kind}", **who)[kind]["PermissionsBoundary"] is None
    iam("DeletePolicy", PolicyArn=ARN)


def test_a_user_and_a_role_are_made_with_a_boundary() -> None:
    user = iam("CreateUser", UserName="zora", PermissionsBoundary=ARN)["User"]
    role = iam("CreateRole", RoleName="r", AssumeRolePolicyDocument=trust(ACCOUNT), PermissionsBoundary=ADMINISTRATOR)
    assert user["PermissionsBoundary"]["PermissionsBoundaryArn"] == ARN
    assert role["Role"]["PermissionsBoundary"]["PermissionsBoundaryArn"] == ADMINISTRATOR
    answer = refused(lambda: iam("CreateUser", UserName="x", PermissionsBoundary=f"{ARN}x"))
    assert answer[0] == "NoSuchEntity"


def test_aws_managed_policies_are_everybodys_and_nobody_changes_them() -> None:
    for caller in (ALICE, CAROL):
        listed = iam("ListPolicies", caller, Scope="AWS")["Policies"]
        assert {policy["PolicyName"] for policy in listed} == set(aws_managed.POLICIES)
    assert json.loads(document(arn=ADMINISTRATOR))["Statement"][0]["Action"] == ["*"]
    asked: dict[str, dict[str, Any]] = {
        "DeletePolicy": {},
        "CreatePolicyVersion": {"PolicyDocument": POLICY},
        "SetDefaultPolicyVersion": {"VersionId": "v1"},
        "DeletePolicyVersion": {"VersionId": "v1"},
        "TagPolicy": {"Tags": []},
        "UntagPolicy": {"TagKeys": []},
    }
    for operation, params in asked.items():
        code, message = refused(
            lambda name=operation, given=params: iam(name, PolicyArn=ADMINISTRATOR, **given)  # type: ignore[misc]
        )
        assert code == "AccessDenied"
        assert message.endswith(f"perform: iam:{operation} on resource: policy {ADMINISTRATOR}")


def test_aws_managed_policies_follow_the_program_and_keep_their_ids() -> None:
    before = ManagedPolicy.objects.get(name="PowerUserAccess")
    PolicyVersion.objects.filter(policy=before).update(document="{}")
    ManagedPolicy.objects.get(name="IAMFullAccess").delete()
    aws_managed.put()
    assert document(arn=before.arn) == aws_managed.document("PowerUserAccess")
    assert iam("GetPolicy", PolicyArn="arn:aws:iam::aws:policy/IAMFullAccess")["Policy"]["DefaultVersionId"] == "v1"
    with CaptureQueriesContext(connection) as queries:
        aws_managed.put()
    assert not [query for query in queries if not query["sql"].lstrip().upper().startswith("SELECT")]


def test_attached_policies_are_listed_by_scope_and_use() -> None:
    iam("AttachGroupPolicy", GroupName="KeyUsers", PolicyArn=ADMINISTRATOR)
    listed = iam("ListPolicies", OnlyAttached=True)["Policies"]
    assert [policy["PolicyName"] for policy in listed] == ["AdministratorAccess"]
    assert iam("ListPolicies", Scope="Local", OnlyAttached=True)["Policies"] == []
    everything = iam("ListPolicies")["Policies"]
    assert len(everything) == len(aws_managed.POLICIES) + 1
    first = iam("ListPolicies", MaxItems=5)
    second = iam("ListPolicies", Marker=first["Marker"])
    assert first["Policies"] + second["Policies"] == everything
    assert refused(lambda: iam("ListPolicies", Scope="AWS", Marker=first["Marker"]))[0] == "Validation"


def test_entities_of_a_policy_come_in_pages() -> None:
    for kind, name in KINDS.items():
        iam(f"Attach{kind}Policy", ALICE, **{f"{kind}Name": name}, PolicyArn=ARN)
    marker: dict[str, Any] = {}
    found: list[Any] = []
    for _ in range(3):
        page = iam("ListEntitiesForPolicy", PolicyArn=ARN, MaxItems=1, **marker)
        found += [(kind, entity) for kind in KINDS for entity in page[f"Policy{kind}s"]]
        marker = {"Marker": page.get("Marker")}
    assert sorted(kind for kind, _ in found) == sorted(KINDS) and page["IsTruncated"] is False
    only = iam("ListEntitiesForPolicy", PolicyArn=ARN, EntityFilter="Role")
    assert (only["PolicyUsers"], only["PolicyGroups"]) == ([], []) and len(only["PolicyRoles"]) == 1


def test_tags_of_a_policy_come_and_go() -> None:
    iam("TagPolicy", PolicyArn=ARN, Tags=[{"Key": "a", "Value": "1"}, {"Key": "b", "Value": "2"}])
    iam("UntagPolicy", PolicyArn=ARN, TagKeys=["A"])
    assert iam("ListPolicyTags", PolicyArn=ARN)["Tags"] == [{"Key": "b", "Value": "2"}]
    assert iam("GetPolicy", PolicyArn=ARN)["Policy"]["Tags"] == [{"Key": "b", "Value": "2"}]


@pytest.mark.parametrize(
    ("operation", "params"),
    [
        ("AttachUserPolicy", {"UserName": "zoe", "PolicyArn": ARN}),
        ("AttachUserPolicy", {"UserName": "zoe", "PolicyArn": ADMINISTRATOR}),
        ("PutRolePolicy", {"RoleName": "Deputy", "PolicyName": "own", "PolicyDocument": POLICY}),
        ("AddUserToGroup", {"GroupName": "KeyUsers", "UserName": "zoe"}),
        ("CreatePolicyVersion", {"PolicyArn": ARN, "PolicyDocument": OTHER, "SetAsDefault": True}),
    ],
)
def test_what_anybody_may_is_asked_anew_after_a_change(operation: str, params: dict[str, Any]) -> None:
    before = epochs.current(ACCOUNT)
    iam(operation, **params)
    assert epochs.current(ACCOUNT) > before
    assert last_event(operation)["requestParameters"]


def test_the_whole_account_is_told_in_pages() -> None:
    iam("AddUserToGroup", GroupName="KeyUsers", UserName="zoe")
    iam("AttachUserPolicy", UserName="zoe", PolicyArn=ARN)
    iam("PutGroupPolicy", GroupName="KeyUsers", PolicyName="own", PolicyDocument=POLICY)
    whole = iam("GetAccountAuthorizationDetails", Filter=["User", "Group", "Role", "LocalManagedPolicy"])
    (_, user), (group,), (role,) = whole["UserDetailList"], whole["GroupDetailList"], whole["RoleDetailList"]
    assert user["GroupList"] == ["KeyUsers"] and user["AttachedManagedPolicies"][0]["PolicyArn"] == ARN
    assert unquote(group["GroupPolicyList"][0]["PolicyDocument"]) == POLICY and role["RoleName"] == "Deputy"
    (policy,) = whole["Policies"]
    assert unquote(policy["PolicyVersionList"][0]["Document"]) == POLICY and policy["AttachmentCount"] == 1
    marker: dict[str, Any] = {}
    found = 0
    for _ in range(20):
        page = iam("GetAccountAuthorizationDetails", MaxItems=1, **marker)
        found += sum(len(rows) for name, rows in page.items() if isinstance(rows, list))
        if not page["IsTruncated"]:
            break
        marker = {"Marker": page["Marker"]}
    assert found == 5 + len(aws_managed.POLICIES)


def test_an_account_has_no_alias_and_a_summary() -> None:
    assert iam("ListAccountAliases") == {"AccountAliases": [], "IsTruncated": False}
    summary = iam("GetAccountSummary")["SummaryMap"]
    counted = {name: summary[name] for name in ("Users", "Groups", "Roles", "Policies", "PolicyVersionsInUse")}
    assert counted == {**dict.fromkeys(counted, 1), "Users": 2}
    assert (summary["AccessKeysPerUserQuota"], summary["VersionsPerPolicyQuota"]) == (2, 5)
