"""Users, their tags, access keys and login profiles."""

from __future__ import annotations

import json
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from hsmapp import epochs
from kmsapp.iam import credentials
from kmsapp.models import Account, AuditEvent, User
from kmsapp.tests.iam_world import ACCOUNT, ADMINISTRATOR, POLICY, ROOT, SESSION, fill, iam, last_event, refused
from kmsapp.tests.people import ALICE, CAROL

pytestmark = pytest.mark.django_db

PASSWORD = "Correct-horse-7"


@pytest.fixture(autouse=True)
def world(monkeypatch: pytest.MonkeyPatch) -> None:
    fill(monkeypatch)


def names(**params: Any) -> list[str]:
    return [user["UserName"] for user in iam("ListUsers", **params)["Users"]]


def test_a_user_is_made_shown_and_deleted() -> None:
    made = iam("CreateUser", UserName="Zoe", Path="/staff/", Tags=[{"Key": "Team", "Value": "ledger"}])["User"]
    assert made["Arn"] == f"arn:aws:iam::{ACCOUNT}:user/staff/Zoe"
    assert made["UserId"].startswith("AIDA") and len(made["UserId"]) == 21
    assert made["Tags"] == [{"Key": "Team", "Value": "ledger"}]
    assert iam("GetUser", UserName="zoe")["User"] == made
    assert names() == ["Zoe", "alice"]
    (listed,) = iam("ListUsers", PathPrefix="/staff/")["Users"]
    assert "Tags" not in listed and listed["UserId"] == made["UserId"]
    assert iam("DeleteUser", UserName="Zoe") == {}
    assert names() == ["alice"]


def test_names_are_unique_without_regard_to_case() -> None:
    taken = ("EntityAlreadyExists", "User with name ALICE already exists.")
    assert refused(lambda: iam("CreateUser", UserName="ALICE")) == taken
    iam("CreateUser", UserName="zoe")
    assert refused(lambda: iam("UpdateUser", UserName="zoe", NewUserName="ALICE")) == taken
    iam("CreateUser", CAROL, UserName="alice")
    iam("UpdateUser", UserName="alice", NewUserName="Alice")
    assert names() == ["Alice", "zoe"]


UNKNOWN: dict[str, dict[str, Any]] = {
    "GetUser": {},
    "UpdateUser": {},
    "DeleteUser": {},
    "TagUser": {"Tags": []},
    "UntagUser": {"TagKeys": []},
    "ListUserTags": {},
    "CreateAccessKey": {},
    "ListAccessKeys": {},
    "UpdateAccessKey": {"AccessKeyId": "A" * 20, "Status": "Active"},
    "DeleteAccessKey": {"AccessKeyId": "A" * 20},
    "CreateLoginProfile": {"Password": PASSWORD},
    "GetLoginProfile": {},
    "UpdateLoginProfile": {},
    "DeleteLoginProfile": {},
    "ListGroupsForUser": {},
    "AttachUserPolicy": {"PolicyArn": ADMINISTRATOR},
    "PutUserPolicy": {"PolicyName": "p", "PolicyDocument": POLICY},
    "PutUserPermissionsBoundary": {"PermissionsBoundary": ADMINISTRATOR},
}


@pytest.mark.parametrize("operation", UNKNOWN)
@pytest.mark.parametrize("name", ["nobody", "carol"])
def test_a_user_that_is_not_there_or_elsewhere_can_not_be_found(operation: str, name: str) -> None:
    answer = refused(lambda: iam(operation, UserName=name, **UNKNOWN[operation]))
    assert answer == ("NoSuchEntity", f"The user with name {name} cannot be found.")


def test_who_names_nobody_is_asked_about_and_a_session_is_no_user() -> None:
    assert iam("GetUser")["User"]["UserName"] == "alice"
    root = iam("GetUser", ROOT)["User"]
    assert (root["Arn"], root["UserId"], root["UserName"]) == (f"arn:aws:iam::{ACCOUNT}:root", ACCOUNT, None)
    for operation in ("GetUser", "CreateAccessKey", "ListAccessKeys"):
        code, message = refused(lambda operation=operation: iam(operation, SESSION))  # type: ignore[misc]
        assert (code, message) == ("Validation", "Must specify userName when calling with non-User credentials")


def test_root_users_are_no_users() -> None:
    assert names() == ["alice"] and User.objects.filter(is_root=True).count() == 2
    assert iam("GetAccountSummary")["SummaryMap"]["Users"] == 1
    assert refused(lambda: iam("CreateLoginProfile", ROOT, Password=PASSWORD))[0] == "NoSuchEntity"


def test_a_renamed_user_stays_who_it_is() -> None:
    before = iam("GetUser")["User"]
    iam("UpdateUser", UserName="alice", NewUserName="alicia", NewPath="/staff/")
    after = iam("GetUser", UserName="alicia")["User"]
    assert after["UserId"] == before["UserId"] and after["Arn"] == f"arn:aws:iam::{ACCOUNT}:user/staff/alicia"
    assert iam("GetUser")["User"] == after


def test_a_user_with_anything_left_is_not_deleted() -> None:
    iam("CreateUser", UserName="zoe")
    iam("CreateGroup", GroupName="keepers")
    left: dict[str, tuple[tuple[str, dict[str, Any]], tuple[str, dict[str, Any]]]] = {
        "must detach all policies first.": (
            ("AttachUserPolicy", {"PolicyArn": ADMINISTRATOR}),
            ("DetachUserPolicy", {"PolicyArn": ADMINISTRATOR}),
        ),
        "must delete policies first.": (
            ("PutUserPolicy", {"PolicyName": "own", "PolicyDocument": POLICY}),
            ("DeleteUserPolicy", {"PolicyName": "own"}),
        ),
        "must delete login profile first.": (
            ("CreateLoginProfile", {"Password": PASSWORD}),
            ("DeleteLoginProfile", {}),
        ),
        "must remove users from group first.": (
            ("AddUserToGroup", {"GroupName": "keepers"}),
            ("RemoveUserFromGroup", {"GroupName": "keepers"}),
        ),
    }
    for reason, ((give, given), (take, taken)) in left.items():
        iam(give, UserName="zoe", **given)
        conflict = ("DeleteConflict", f"Cannot delete entity, {reason}")
        assert refused(lambda: iam("DeleteUser", UserName="zoe")) == conflict
        iam(take, UserName="zoe", **taken)
    key = iam("CreateAccessKey", UserName="zoe")["AccessKey"]["AccessKeyId"]
    assert refused(lambda: iam("DeleteUser", UserName="zoe"))[1].endswith("must delete access keys first.")
    iam("DeleteAccessKey", UserName="zoe", AccessKeyId=key)
    iam("PutUserPermissionsBoundary", UserName="zoe", PermissionsBoundary=ADMINISTRATOR)
    iam("DeleteUser", UserName="zoe")


def test_pages_follow_each_other_and_a_marker_is_good_for_its_list_only() -> None:
    for number in range(5):
        iam("CreateUser", UserName=f"user{number}")
    first = iam("ListUsers", MaxItems=4)
    assert first["IsTruncated"] and len(first["Users"]) == 4
    second = iam("ListUsers", MaxItems=4, Marker=first["Marker"])
    assert not second["IsTruncated"] and "Marker" not in second and len(second["Users"]) == 2
    assert len({user["UserName"] for user in first["Users"] + second["Users"]}) == 6
    for caller, params in ((CAROL, {}), (ALICE, {"PathPrefix": "/staff/"})):
        asked = {"Marker": first["Marker"], **params}
        assert refused(lambda asked=asked, caller=caller: iam("ListUsers", caller, **asked)) == (  # type: ignore[misc]
            "Validation",
            "Invalid Marker.",
        )
    assert refused(lambda: iam("ListGroups", Marker=first["Marker"]))[0] == "Validation"


def test_tags_differ_without_regard_to_case() -> None:
    iam("TagUser", UserName="alice", Tags=[{"Key": "Team", "Value": "a"}, {"Key": "cost", "Value": ""}])
    iam("TagUser", UserName="alice", Tags=[{"Key": "TEAM", "Value": "b"}])
    listed = iam("ListUserTags", UserName="alice")
    assert listed == {
        "Tags": [{"Key": "TEAM", "Value": "b"}, {"Key": "cost", "Value": ""}],
        "IsTruncated": False,
    }
    iam("UntagUser", UserName="alice", TagKeys=["team", "not there"])
    assert iam("GetUser")["User"]["Tags"] == [{"Key": "cost", "Value": ""}]
    twice = [{"Key": "a", "Value": ""}, {"Key": "A", "Value": ""}]
    message = "Duplicate tag keys found. Please note that Tag keys are case insensitive."
    assert refused(lambda: iam("TagUser", UserName="alice", Tags=twice)) == ("InvalidInput", message)
    assert refused(lambda: iam("CreateUser", UserName="x", Tags=[{"Key": "AWS:x", "Value": ""}]))[0] == "InvalidInput"
    many = [{"Key": f"tag{number}", "Value": ""} for number in range(50)]
    assert refused(lambda: iam("TagUser", UserName="alice", Tags=many))[0] == "LimitExceeded"
    first = iam("ListUserTags", UserName="alice", MaxItems=1)
    assert first["IsTruncated"] is False


def test_a_secret_access_key_is_shown_once_and_works_until_it_is_switched_off() -> None:
    made = iam("CreateAccessKey", UserName="alice")["AccessKey"]
    found = credentials.find(made["AccessKeyId"])
    assert found is not None and found.active and found.secret.decode() == made["SecretAccessKey"]
    (listed,) = iam("ListAccessKeys")["AccessKeyMetadata"]
    assert listed == {key: value for key, value in made.items() if key != "SecretAccessKey"}
    iam("UpdateAccessKey", AccessKeyId=made["AccessKeyId"], Status="Inactive")
    found = credentials.find(made["AccessKeyId"])
    assert found is not None and not found.active
    assert refused(lambda: iam("UpdateAccessKey", AccessKeyId=made["AccessKeyId"], Status="Expired"))[0] == (
        "InvalidInput"
    )
    iam("DeleteAccessKey", AccessKeyId=made["AccessKeyId"])
    assert credentials.find(made["AccessKeyId"]) is None
    assert made["SecretAccessKey"] not in json.dumps(list(AuditEvent.objects.values_list("event", flat=True)))
    assert last_event("CreateAccessKey")["responseElements"]["accessKey"]["accessKeyId"] == made["AccessKeyId"]


def test_the_third_access_key_is_one_too_many() -> None:
    keys = [iam("CreateAccessKey")["AccessKey"]["AccessKeyId"] for _ in range(2)]
    too_many = ("LimitExceeded", "Cannot exceed quota for AccessKeysPerUser: 2")
    assert refused(lambda: iam("CreateAccessKey")) == too_many
    missing = ("NoSuchEntity", f"The Access Key with id {keys[0]} cannot be found.")
    iam("CreateUser", UserName="zoe")
    for caller, user in ((ALICE, {"UserName": "zoe"}), (CAROL, {})):
        asked = {**user, "AccessKeyId": keys[0]}
        assert refused(lambda asked=asked, caller=caller: iam("DeleteAccessKey", caller, **asked)) == missing  # type: ignore[misc]
    assert iam("CreateAccessKey", ROOT)["AccessKey"]["UserName"] is None
    assert [key["AccessKeyId"] for key in iam("ListAccessKeys")["AccessKeyMetadata"]] == sorted(keys)


def test_when_a_key_was_last_used_stands_in_the_audit_record() -> None:
    from dataclasses import replace

    key = iam("CreateAccessKey")["AccessKey"]["AccessKeyId"]
    never = {"ServiceName": "N/A", "Region": "N/A"}
    assert iam("GetAccessKeyLastUsed", AccessKeyId=key) == {"UserName": "alice", "AccessKeyLastUsed": never}
    iam("TagUser", replace(ALICE, access_key_id=key), UserName="alice", Tags=[])
    used = iam("GetAccessKeyLastUsed", AccessKeyId=key)["AccessKeyLastUsed"]
    assert (used["ServiceName"], used["Region"]) == ("iam", ALICE.region) and used["LastUsedDate"]
    assert refused(lambda: iam("GetAccessKeyLastUsed", CAROL, AccessKeyId=key))[0] == "NoSuchEntity"


def test_a_login_profile_is_a_password_that_is_recorded_nowhere() -> None:
    missing = ("NoSuchEntity", "Login Profile for User alice cannot be found.")
    for operation in ("GetLoginProfile", "UpdateLoginProfile", "DeleteLoginProfile"):
        assert refused(lambda operation=operation: iam(operation, UserName="alice")) == missing  # type: ignore[misc]
    made = iam("CreateLoginProfile", UserName="alice", Password=PASSWORD, PasswordResetRequired=True)["LoginProfile"]
    assert made["PasswordResetRequired"] is True and iam("GetLoginProfile")["LoginProfile"] == made
    assert User.objects.get(user_name="alice").check_password(PASSWORD)
    again = refused(lambda: iam("CreateLoginProfile", UserName="alice", Password=PASSWORD))
    assert again == ("EntityAlreadyExists", "Login Profile for user alice already exists.")
    iam("UpdateLoginProfile", UserName="alice", Password="Another-horse-8", PasswordResetRequired=False)
    user = User.objects.get(user_name="alice")
    assert user.check_password("Another-horse-8") and not user.password_reset_required
    iam("ChangePassword", OldPassword="Another-horse-8", NewPassword="A-third-horse-9")
    assert User.objects.get(user_name="alice").check_password("A-third-horse-9")
    iam("DeleteLoginProfile", UserName="alice")
    assert not User.objects.get(user_name="alice").has_usable_password()
    written = json.dumps(list(AuditEvent.objects.values_list("event", flat=True)))
    assert "horse" not in written and "CreateLoginProfile" in written and "ChangePassword" in written


@pytest.mark.parametrize("password", ["Short-7", "onlysmallletters", "smalland7777"])
def test_a_weak_password_is_refused(password: str) -> None:
    create = refused(lambda: iam("CreateLoginProfile", UserName="alice", Password=password))
    assert create[0] == "PasswordPolicyViolation"
    iam("CreateLoginProfile", UserName="alice", Password=PASSWORD)
    change = refused(lambda: iam("ChangePassword", OldPassword=PASSWORD, NewPassword=password))
    assert change == create


def test_a_password_is_changed_by_who_knows_the_old_one() -> None:
    iam("CreateLoginProfile", UserName="alice", Password=PASSWORD)
    wrong = refused(lambda: iam("ChangePassword", OldPassword="Wrong-horse-7", NewPassword="Other-horse-8"))
    assert wrong[0] == "AccessDenied"
    for caller in (ROOT, SESSION):
        answer = refused(lambda caller=caller: iam("ChangePassword", caller, OldPassword="x", NewPassword="y"))  # type: ignore[misc]
        assert answer[0] == "InvalidUserType"
    assert User.objects.get(user_name="alice").check_password(PASSWORD)


def test_a_change_raises_the_epoch_and_is_recorded_with_what_it_made() -> None:
    before = epochs.current(ACCOUNT)
    iam("CreateUser", UserName="zoe", Tags=[{"Key": "Team", "Value": "ledger"}])
    assert epochs.current(ACCOUNT) > before
    event = last_event("CreateUser")
    assert event["requestParameters"] == {"userName": "zoe", "tags": [{"key": "Team", "value": "ledger"}]}
    assert event["responseElements"]["user"]["arn"].endswith(":user/zoe")
    assert (event["eventSource"], event["readOnly"]) == ("iam.amazonaws.com", False)


def test_an_account_has_room_for_so_many_users(monkeypatch: pytest.MonkeyPatch) -> None:
    from dataclasses import replace

    from kmsapp.iam import entities, users

    monkeypatch.setattr(users, "USER", replace(entities.USER, most=3))
    iam("CreateUser", UserName="third")
    too_many = ("LimitExceeded", "Cannot exceed quota for UsersPerAccount: 3")
    assert refused(lambda: iam("CreateUser", UserName="fourth")) == too_many
    assert Account.objects.get(pk=ACCOUNT).users.count() == 3


def test_a_list_takes_as_many_queries_for_many_users_as_for_one() -> None:
    with CaptureQueriesContext(connection) as few:
        iam("ListUsers")
    for number in range(9):
        iam("CreateUser", UserName=f"user{number}")
    with CaptureQueriesContext(connection) as many:
        assert len(iam("ListUsers")["Users"]) == 10
    assert len(many) == len(few)
