"""Groups, and who is in them."""

from __future__ import annotations

import pytest

from kmsapp.models import Group, User
from kmsapp.tests.iam_world import ACCOUNT, ADMINISTRATOR, POLICY, fill, iam, refused
from kmsapp.tests.people import CAROL

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def world(monkeypatch: pytest.MonkeyPatch) -> None:
    fill(monkeypatch)
    iam("CreateGroup", GroupName="KeyUsers", Path="/staff/")


def test_a_group_is_made_shown_renamed_and_deleted() -> None:
    shown = iam("GetGroup", GroupName="keyusers")
    assert shown["Users"] == [] and shown["Group"]["Arn"] == f"arn:aws:iam::{ACCOUNT}:group/staff/KeyUsers"
    iam("UpdateGroup", GroupName="KeyUsers", NewGroupName="KeyAdmins", NewPath="/")
    (listed,) = iam("ListGroups")["Groups"]
    assert listed["Arn"] == f"arn:aws:iam::{ACCOUNT}:group/KeyAdmins"
    assert listed["GroupId"] == shown["Group"]["GroupId"]
    assert iam("ListGroups", PathPrefix="/staff/")["Groups"] == []
    iam("DeleteGroup", GroupName="KeyAdmins")
    missing = ("NoSuchEntity", "The group with name KeyAdmins cannot be found.")
    assert refused(lambda: iam("GetGroup", GroupName="KeyAdmins")) == missing
    assert refused(lambda: iam("GetGroup", CAROL, GroupName="KeyUsers"))[0] == "NoSuchEntity"


def test_names_are_unique_without_regard_to_case() -> None:
    taken = ("EntityAlreadyExists", "Group with name keyusers already exists.")
    assert refused(lambda: iam("CreateGroup", GroupName="keyusers")) == taken


def test_users_come_and_go() -> None:
    for _ in range(2):
        iam("AddUserToGroup", GroupName="KeyUsers", UserName="alice")
    assert [user["UserName"] for user in iam("GetGroup", GroupName="KeyUsers")["Users"]] == ["alice"]
    assert [group["GroupName"] for group in iam("ListGroupsForUser", UserName="alice")["Groups"]] == ["KeyUsers"]
    conflict = ("DeleteConflict", "Cannot delete entity, must remove users from group first.")
    assert refused(lambda: iam("DeleteGroup", GroupName="KeyUsers")) == conflict
    iam("RemoveUserFromGroup", GroupName="KeyUsers", UserName="alice")
    assert iam("ListGroupsForUser", UserName="alice")["Groups"] == []
    gone = refused(lambda: iam("RemoveUserFromGroup", GroupName="KeyUsers", UserName="alice"))
    assert gone[0] == "NoSuchEntity"


@pytest.mark.parametrize("operation", ["AddUserToGroup", "RemoveUserFromGroup"])
def test_user_and_group_must_be_there_and_of_the_account(operation: str) -> None:
    for name in ("nobody", "carol"):
        answer = refused(lambda name=name: iam(operation, GroupName="KeyUsers", UserName=name))  # type: ignore[misc]
        assert answer == ("NoSuchEntity", f"The user with name {name} cannot be found.")
    answer = refused(lambda: iam(operation, GroupName="nothing", UserName="alice"))
    assert answer == ("NoSuchEntity", "The group with name nothing cannot be found.")


def test_a_user_is_in_ten_groups_at_most() -> None:
    for number in range(11):
        iam("CreateGroup", GroupName=f"group{number}")
    for number in range(10):
        iam("AddUserToGroup", GroupName=f"group{number}", UserName="alice")
    too_many = ("LimitExceeded", "Cannot exceed quota for GroupsPerUser: 10")
    assert refused(lambda: iam("AddUserToGroup", GroupName="group10", UserName="alice")) == too_many
    assert User.objects.get(user_name="alice").groups.count() == 10
    first = iam("ListGroupsForUser", UserName="alice", MaxItems=7)
    second = iam("ListGroupsForUser", UserName="alice", MaxItems=7, Marker=first["Marker"])
    assert (len(first["Groups"]), len(second["Groups"])) == (7, 3)


def test_a_group_with_policies_is_not_deleted() -> None:
    iam("AttachGroupPolicy", GroupName="KeyUsers", PolicyArn=ADMINISTRATOR)
    assert refused(lambda: iam("DeleteGroup", GroupName="KeyUsers"))[1].endswith("must detach all policies first.")
    iam("DetachGroupPolicy", GroupName="KeyUsers", PolicyArn=ADMINISTRATOR)
    iam("PutGroupPolicy", GroupName="KeyUsers", PolicyName="own", PolicyDocument=POLICY)
    assert refused(lambda: iam("DeleteGroup", GroupName="KeyUsers"))[1].endswith("must delete policies first.")
    assert Group.objects.filter(name="KeyUsers").exists()
