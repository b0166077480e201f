"""Users, roles, groups and policies: lists, pages, forms that are right and wrong, and what the denied see."""

from __future__ import annotations

import csv
import io
import json
import re
from urllib.parse import unquote

import pytest

from console.testing import let, new_account
from console.tests.identity_world import DENIED, World, alert, html, policy, problem, words
from hsmapp import clock
from kmsapp.models import AccessKey, Account, Group, ManagedPolicy, Role, User

pytestmark = pytest.mark.django_db
GOOD_PASSWORD = "Correct-horse-7"


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    return World(monkeypatch)


def names(page: str) -> list[str]:
    """First cells of the page's first table."""
    table = page[page.index("<tbody>") : page.index("</tbody>")]
    return re.findall(r'<th scope="row"><a href="[^"]+">([^<]+)</a>', table)


# Lists


def test_a_list_has_a_filter_and_pages(world: World) -> None:
    for number in range(25):
        world.post("/identities/create-group/", name=f"group{number:02}", path="/team/" if number % 2 else "")
    page = world.get("/identities/groups/")
    assert names(page) == [f"group{number:02}" for number in range(20)] and "(25)" in page
    assert names(world.get("/identities/groups/?page=2")) == [f"group{number:02}" for number in range(20, 25)]
    found = world.get("/identities/groups/?q=TEAM&page=9")
    assert names(found) == [f"group{number:02}" for number in range(1, 25, 2)] and "12 matches" in found
    assert "No matches" in world.get("/identities/groups/?q=nothing%00")
    assert len(names(world.get("/identities/groups/?page=x"))) == 20


def test_policies_are_listed_by_type(world: World) -> None:
    world.post("/identities/create-policy/", name="Mine", policy=policy())
    assert "Mine" in names(world.get("/identities/policies/"))
    assert names(world.get("/identities/policies/?scope=Local")) == ["Mine"]
    assert "Mine" not in names(world.get("/identities/policies/?scope=AWS"))
    assert names(world.get("/identities/policies/?scope=Local&q=min")) == ["Mine"]
    assert "Mine" in names(world.get("/identities/policies/?scope=x"))


LISTS = {"users": "iam:ListUsers", "roles": "iam:ListRoles", "groups": "iam:ListGroups", "policies": "iam:ListPolicies"}


@pytest.mark.parametrize(("section", "action"), LISTS.items(), ids=LISTS)
def test_who_may_not_see_a_list_reads_why(world: World, section: str, action: str) -> None:
    answer = world.stranger.get(f"/identities/{section}/")
    assert answer.status_code == 403
    assert f"{DENIED}{action} on resource: " in alert(answer) and "(AccessDeniedException)" in alert(answer)
    assert "<table>" not in html(answer)


def test_only_signed_in_people_come_here(world: World) -> None:
    world.client.logout()
    for path in ("/identities/users/", "/identities/create-user/", "/identities/users/alice/tags/"):
        assert world.client.get(path).headers["Location"].startswith("/sign-in/?next=/identities/")


# Users


def test_a_user_is_created_with_path_password_and_groups(world: World) -> None:
    world.post("/identities/create-group/", name="Readers")
    answer = world.post(
        "/identities/create-user/",
        name="dave",
        path="/staff/",
        group="Readers",
        has_password="on",
        password=GOOD_PASSWORD,
        password_again=GOOD_PASSWORD,
    )
    assert answer.request["PATH_INFO"] == "/identities/users/dave/"
    assert "User dave was created." in html(answer) and "User dave was added to group Readers." in html(answer)
    dave = User.objects.get(account=world.account, user_name="dave")
    assert (dave.path, dave.check_password(GOOD_PASSWORD)) == ("/staff/", True)
    assert [group.name for group in dave.groups.all()] == ["Readers"]
    assert GOOD_PASSWORD not in html(answer)


WRONG_USERS = {
    "no name": ({"name": " "}, "id_name", "User name is required."),
    "a space": ({"name": "da ve"}, "id_name", "User name has a character that isn't allowed."),
    "too long": ({"name": "x" * 65}, "id_name", "User name must be 1 to 64 characters."),
    "a path without slashes": ({"name": "dave", "path": "staff"}, "id_path", "Begin and end the path with a slash"),
    "no password": ({"name": "dave", "has_password": "on"}, "id_password", "Enter a password."),
    "two passwords": (
        {"name": "dave", "has_password": "on", "password": "a", "password_again": "b"},
        "id_password_again",
        "The two passwords differ.",
    ),
    "a weak password": (
        {"name": "dave", "has_password": "on", "password": "short", "password_again": "short"},
        "id_password",
        "Password should have a minimum length of 8.",
    ),
    "eleven groups": ({"name": "dave", "group": ["g"] * 11}, "id_groups", "A user can be in up to 10 groups."),
}


@pytest.mark.parametrize(("fields", "field", "sentence"), WRONG_USERS.values(), ids=WRONG_USERS)
def test_a_wrong_user_is_marked_at_the_field(
    world: World, fields: dict[str, object], field: str, sentence: str
) -> None:
    answer = world.client.post("/identities/create-user/", fields)
    assert answer.status_code == 422
    assert sentence in problem(answer, field) and f'href="#{field}"' in html(answer)
    assert not User.objects.filter(account=world.account, user_name="dave").exists()


def test_a_name_that_is_taken_is_answered_in_aws_words(world: World) -> None:
    status, sentence = world.refused("/identities/create-user/", name="ALICE")
    assert status == 409 and "User with name ALICE already exists. (EntityAlreadyExistsException)" in sentence
    status, sentence = world.refused("/identities/create-group/", name="")
    assert status == 422 and "Group name is required." in sentence


def test_permissions_show_what_is_attached_inline_and_brought_by_groups(world: World) -> None:
    world.post("/identities/create-group/", name="Readers")
    world.post("/identities/groups/Readers/inline/create/", policy_name="LookAtKeys", policy=policy())
    world.post("/identities/groups/Readers/users/add/", chosen="mallory")
    world.post("/identities/create-policy/", name="Mine", path="/deep/er/", policy=policy())
    arn = world.policy_arn("Mine", "/deep/er/")
    answer = world.post("/identities/users/mallory/attach/", policy=arn)
    assert "Policy Mine was attached to user mallory." in html(answer)
    page = words(world.get("/identities/users/mallory/"))
    assert "Mine Customer managed Directly" in page
    assert "LookAtKeys Customer inline Group Readers" in page
    detach = f"/identities/users/mallory/detach/?policy={arn}"
    assert "Detach policy Mine ?" in words(world.get(detach))
    world.post(detach)
    assert "Mine" not in words(world.get("/identities/users/mallory/"))


def test_attaching_nothing_or_what_does_not_exist_is_refused(world: World) -> None:
    status, sentence = world.refused("/identities/users/mallory/attach/")
    assert status == 422 and "Select one or more policies." in sentence
    status, sentence = world.refused("/identities/users/mallory/attach/", policy=world.policy_arn("None"))
    assert status == 404 and "NoSuchEntityException" in sentence


def test_a_boundary_is_set_shown_and_removed(world: World) -> None:
    world.post("/identities/create-policy/", name="Most", policy=policy())
    status, sentence = world.refused("/identities/users/mallory/boundary/")
    assert status == 422 and "Select a policy." in sentence
    world.post("/identities/users/mallory/boundary/", policy=world.policy_arn("Most"))
    assert "Permissions boundary Remove permissions boundary Change boundary Policy Most" in words(
        world.get("/identities/users/mallory/")
    )
    assert "Most User" not in words(world.get(f"/identities/policies/{world.policy_arn('Most')}/"))
    entities = words(world.get(f"/identities/policies/{world.policy_arn('Most')}/?tab=entities"))
    assert "mallory User Permissions boundary" in entities
    world.post("/identities/users/mallory/boundary/remove/")
    assert "Not set. A boundary is the most" in words(world.get("/identities/users/mallory/"))


def test_an_inline_policy_with_an_error_shows_the_line_and_is_not_saved(world: World) -> None:
    wrong = '{\n  "Version": "2012-10-17",\n  "Statement": [\n    {\n      "Effect": "Alow"\n    }\n  ]\n}'
    answer = world.client.post("/identities/users/mallory/inline/create/", {"policy_name": "Mine", "policy": wrong})
    assert answer.status_code == 422
    assert "Line 5, column 7" in alert(answer) and '5 | "Effect": "Alow"' in html(answer)
    assert '"Alow"' in html(answer)[html(answer).index("<textarea") :], "what was entered stays"
    answer = world.client.post("/identities/policy-check/IDENTITY/", {"policy": wrong})
    assert "Line 5, column 7" in html(answer) and '5 | "Effect": "Alow"' in html(answer)
    assert world.client.post("/identities/policy-check/x/", {"policy": wrong}).status_code == 404
    assert "JSON is valid." in html(world.client.post("/identities/policy-check/IDENTITY/", {"policy": policy()}))
    assert not world.mallory.inline_policies.exists()


def test_an_inline_policy_is_made_changed_and_deleted(world: World) -> None:
    path = "/identities/users/mallory/inline/"
    status, sentence = world.refused(f"{path}create/", policy_name="a b", policy=policy())
    assert status == 422 and "Policy name has a character" in sentence
    world.post(f"{path}create/", policy_name="Mine", policy=policy())
    assert '"Action": "*"' in world.get(f"{path}Mine/edit/")
    changed = policy({"Effect": "Deny", "Action": "kms:*", "Resource": "*"})
    world.post(f"{path}Mine/edit/", policy=changed.replace("\n", "\r\n"))
    assert world.mallory.inline_policies.get().document == changed
    status, sentence = world.refused(f"{path}Mine/delete/", confirm="yes")
    assert (status, world.mallory.inline_policies.count()) == (422, 1) and "Enter Mine to confirm." in sentence
    world.post(f"{path}Mine/delete/", confirm=" Mine ")
    assert not world.mallory.inline_policies.exists()


# Access keys and passwords


def test_a_secret_is_shown_once_and_can_be_downloaded(world: World) -> None:
    answer = world.client.post("/identities/users/mallory/access-keys/create/")
    page = html(answer)
    key = AccessKey.objects.get(user=world.mallory)
    secret = re.search(r'id="secret-access-key">([^<]{40})<', page)
    assert secret and key.access_key_id in page
    assert answer.headers["Cache-Control"] == "no-store"
    address = re.search(r'href="data:text/csv;charset=utf-8,([^"]+)"', page)
    assert address
    rows = list(csv.reader(io.StringIO(unquote(address.group(1)))))
    assert rows == [["Access key ID", "Secret access key"], [key.access_key_id, secret.group(1)]]
    credentials = world.get("/identities/users/mallory/?tab=security-credentials")
    assert key.access_key_id in credentials and secret.group(1) not in credentials


def test_an_access_key_is_deactivated_activated_and_deleted(world: World) -> None:
    for _ in range(2):
        world.client.post("/identities/users/mallory/access-keys/create/")
    status, sentence = world.refused("/identities/users/mallory/access-keys/create/")
    assert status == 400 and "LimitExceededException" in sentence
    key = AccessKey.objects.filter(user=world.mallory).first()
    assert key
    path = f"/identities/users/mallory/access-keys/{key.access_key_id}"
    world.get(f"{path}/deactivate/")
    assert "was deactivated." in html(world.post(f"{path}/deactivate/"))
    key.refresh_from_db()
    assert key.status == "Inactive"
    world.post(f"{path}/activate/")
    status, sentence = world.refused(f"{path}/delete/")
    assert status == 422 and f"Enter {key.access_key_id} to confirm." in sentence
    world.post(f"{path}/delete/", confirm=key.access_key_id)
    assert AccessKey.objects.filter(user=world.mallory).count() == 1
    status, sentence = world.refused(f"{path}/delete/", confirm=key.access_key_id)
    assert status == 404 and "cannot be found" in sentence


def test_a_console_password_is_set_reset_and_removed(world: World) -> None:
    path = "/identities/users/mallory/password/"
    status, sentence = world.refused(path, password="short", password_again="short")
    assert status == 400 and "PasswordPolicyViolationException" in sentence
    status, sentence = world.refused(path, password=GOOD_PASSWORD, password_again="other")
    assert status == 422 and "The two passwords differ." in sentence
    world.post(path, password=GOOD_PASSWORD, password_again=GOOD_PASSWORD, must_change="on")
    world.mallory.refresh_from_db()
    assert world.mallory.check_password(GOOD_PASSWORD)
    credentials = words(world.get("/identities/users/mallory/?tab=security-credentials"))
    assert "Console access Enabled" in credentials and "Must change it at the next sign-in Yes" in credentials
    world.post(path, password=f"{GOOD_PASSWORD}8", password_again=f"{GOOD_PASSWORD}8")
    world.mallory.refresh_from_db()
    assert world.mallory.check_password(f"{GOOD_PASSWORD}8")
    world.post(f"{path}remove/")
    assert "Console access Disabled" in words(world.get("/identities/users/mallory/?tab=security-credentials"))


def test_what_cannot_be_undone_asks_for_the_password_of_who_has_not_proved_it_lately(world: World) -> None:
    world.alice.set_password(GOOD_PASSWORD)
    world.alice.save()
    world.client.force_login(world.alice)
    session = world.client.session
    session["proved_at"] = 0
    session.save()
    path = "/identities/users/mallory/delete/"
    assert "Your password" in world.get(path)
    status, _ = world.refused(path, confirm="mallory")
    assert status == 422 and User.objects.filter(pk=world.mallory.pk).exists()
    assert world.client.post("/identities/users/mallory/access-keys/create/").status_code == 422
    assert not world.mallory.access_keys.exists()
    world.post(path, confirm="mallory", current_password=GOOD_PASSWORD)
    assert not User.objects.filter(pk=world.mallory.pk).exists()


# Groups, tags


def test_users_join_and_leave_groups_from_both_pages(world: World) -> None:
    world.post("/identities/create-group/", name="Readers")
    assert "mallory" in world.get("/identities/groups/Readers/users/add/")
    status, sentence = world.refused("/identities/groups/Readers/users/add/")
    assert status == 422 and "Select one or more users." in sentence
    world.post("/identities/groups/Readers/users/add/", chosen=["mallory", "alice"])
    assert names(world.get("/identities/groups/Readers/")) == ["alice", "mallory"]
    assert "No groups to add" in world.get("/identities/users/mallory/groups/add/")
    assert names(world.get("/identities/users/mallory/?tab=groups")) == ["Readers"]
    world.post("/identities/users/mallory/groups/Readers/remove/")
    world.post("/identities/groups/Readers/users/alice/remove/")
    assert "No user is in this group." in world.get("/identities/groups/Readers/")
    world.post("/identities/users/mallory/groups/add/", chosen="Readers")
    assert Group.objects.get(account=world.account).users.count() == 1


def test_tags_are_added_changed_and_removed(world: World) -> None:
    path = "/identities/users/mallory/tags/"
    page = html(world.client.post(path, {"tag_key": "Team", "tag_value": "red", "go": "add"}))
    assert page.count('name="tag_key"') == 2 and 'value="Team"' in page
    assert not world.get(path).count('value="Team"'), "nothing was saved yet"
    world.post(path, tag_key=["Team", "Cost", ""], tag_value=["red", "", ""], go="save")
    world.mallory.refresh_from_db()
    assert world.mallory.tags == {"Team": "red", "Cost": ""}
    page = html(world.client.post(path, {"tag_key": ["Team", "Cost"], "tag_value": ["red", ""], "go": "remove:0"}))
    assert page.count('name="tag_key"') == 1
    world.post(path, tag_key=["Team"], tag_value=["blue"], go="save")
    world.mallory.refresh_from_db()
    assert world.mallory.tags == {"Team": "blue"}
    assert "Team blue" in words(world.get("/identities/users/mallory/?tab=tags"))
    status, sentence = world.refused(path, tag_key=["a", "A"], tag_value=["", ""], go="save")
    assert status == 422 and "Another row has this tag key." in sentence
    status, sentence = world.refused(path, tag_key=["aws:x"], tag_value=[""], go="save")
    assert status == 400 and "reserved" in sentence
    assert world.client.get("/identities/groups/none/tags/").status_code == 404


# Roles


def test_a_role_is_created_for_this_account_another_one_and_by_a_policy(world: World) -> None:
    path = "/identities/create-role/"
    world.post(path, name="Mine", description="For tests", max_session="7200", trust="account")
    mine = Role.objects.get(account=world.account, name="Mine")
    assert (mine.description, mine.max_session_seconds) == ("For tests", 7200)
    assert f"arn:aws:iam::{world.account}:root" in mine.trust_policy
    status, sentence = world.refused(path, name="Other", max_session="3600", trust="other", account="12")
    assert status == 422 and "Enter a valid account ID." in sentence
    other = new_account()
    Account.objects.create(account_id=other, created_at=clock.now())
    world.post(path, name="Other", max_session="3600", trust="other", account=f"{other[:4]}-{other[4:8]}-{other[8:]}")
    assert f"arn:aws:iam::{other}:root" in Role.objects.get(account=world.account, name="Other").trust_policy
    trust = json.dumps(
        {
            "Version": "2012-10-17",
            "Statement": [{"Effect": "Allow", "Principal": {"AWS": world.alice.arn}, "Action": "sts:AssumeRole"}],
        }
    )
    world.post(path, name="Own", max_session="3600", trust="policy", policy=trust)
    status, sentence = world.refused(path, name="Bad", max_session="1", trust="policy", policy="{")
    assert status == 422 and "Choose a duration" in sentence and "Line 1" in sentence
    page = words(world.get("/identities/roles/"))
    assert f"Own / {world.alice.arn}" in page and f"Mine / arn:aws:iam::{world.account}:root For tests" in page


def test_a_role_shows_and_changes_its_trust_policy(world: World) -> None:
    world.post("/identities/create-role/", name="Mine", max_session="3600", trust="account")
    page = world.get("/identities/roles/Mine/")
    assert "1 hour" in page and f"/role-switch/?account={world.account}&roleName=Mine" in page
    assert "sts:AssumeRole" in world.get("/identities/roles/Mine/?tab=trust")
    path = "/identities/roles/Mine/trust/"
    assert "sts:AssumeRole" in world.get(path)
    status, sentence = world.refused(path, policy='{"Version": "2012-10-17"}')
    assert status == 422 and "Statement" in sentence
    unknown = policy(
        {
            "Effect": "Allow",
            "Principal": {"AWS": f"arn:aws:iam::{world.account}:user/nobody"},
            "Action": "sts:AssumeRole",
        }
    )
    status, sentence = world.refused(path, policy=unknown)
    assert status == 400 and "Invalid principal in policy" in sentence
    world.post(path, policy=unknown.replace("nobody", "alice"))
    assert "user/alice" in Role.objects.get(account=world.account).trust_policy
    world.post("/identities/roles/Mine/edit/", description="Changed", max_session="43200")
    assert "12 hours" in world.get("/identities/roles/Mine/")


# Policies


def test_a_policy_has_versions_of_which_one_is_in_force(world: World) -> None:
    arn = world.policy_arn("Mine", "/deep/delete/")
    answer = world.post(
        "/identities/create-policy/", name="Mine", path="/deep/delete/", description="For tests", policy=policy()
    )
    assert answer.request["PATH_INFO"] == f"/identities/policies/{arn}/"
    deny = policy({"Effect": "Deny", "Action": "kms:*", "Resource": "*"})
    assert '"Action": "*"' in world.get(f"/identities/policies/edit/{arn}/")
    world.post(f"/identities/policies/edit/{arn}/", policy=deny, is_default="on")
    assert "Deny" in world.get(f"/identities/policies/{arn}/")
    old = world.get(f"/identities/policies/{arn}/?version=v1")
    assert "Version v1 is not in force." in old and "Deny" not in old
    world.post(f"/identities/policies/v1/default/{arn}/")
    assert ManagedPolicy.objects.get(account=world.account).versions.get(is_default=True).number == 1
    for _ in range(3):
        world.post(f"/identities/policies/edit/{arn}/", policy=deny)
    status, sentence = world.refused(f"/identities/policies/edit/{arn}/", policy=deny)
    assert status == 400 and "LimitExceededException" in sentence
    world.post(f"/identities/policies/v2/delete/{arn}/", confirm="Mine")
    versions = words(world.get(f"/identities/policies/{arn}/?tab=versions"))
    assert "v1 Default" in versions and "v5" in versions and " v2 " not in versions


def test_a_policy_with_an_error_is_not_created(world: World) -> None:
    answer = world.client.post("/identities/create-policy/", {"name": "", "policy": "{\n  x\n}"})
    assert answer.status_code == 422
    assert "Policy name is required." in alert(answer) and "Line 2, column 3" in alert(answer)
    assert not ManagedPolicy.objects.filter(account=world.account).exists()


def test_an_aws_managed_policy_is_shown_and_offers_no_change(world: World) -> None:
    arn = "arn:aws:iam::aws:policy/AdministratorAccess"
    page = world.get(f"/identities/policies/{arn}/")
    assert "AWS managed" in page and "Edit policy" not in page


# Who may not


DENIED_PAGES = {
    "/identities/users/alice/": "iam:GetUser",
    "/identities/users/alice/tags/": "iam:GetUser",
    "/identities/users/alice/inline/Given0/edit/": "iam:GetUserPolicy",
    "/identities/groups/Readers/": "iam:GetGroup",
    "/identities/roles/None/": "iam:GetRole",
    "/identities/roles/None/trust/": "iam:GetRole",
    "/identities/policies/arn:aws:iam::aws:policy/AdministratorAccess/": "iam:GetPolicy",
}


@pytest.mark.parametrize(("path", "action"), DENIED_PAGES.items(), ids=DENIED_PAGES)
def test_a_page_that_the_person_may_not_see_says_what_is_missing(world: World, path: str, action: str) -> None:
    answer = world.stranger.get(path)
    assert answer.status_code == 403 and '<h1 class="container-title">Access denied</h1>' in html(answer)
    assert f"{DENIED}{action}" in alert(answer)
    assert f"No policy of user/mallory allows {action}" in html(answer)
    assert "Why?" not in html(answer), "it is not about a key"


DENIED_POSTS = {
    "/identities/create-user/": "iam:CreateUser",
    "/identities/create-group/": "iam:CreateGroup",
    "/identities/users/alice/attach/": "iam:AttachUserPolicy",
    "/identities/users/alice/delete/": "iam:DeleteUser",
    "/identities/users/alice/access-keys/create/": "iam:CreateAccessKey",
    "/identities/users/alice/password/": "iam:UpdateLoginProfile",
    "/identities/users/alice/groups/add/": "iam:AddUserToGroup",
    "/identities/users/alice/boundary/": "iam:PutUserPermissionsBoundary",
    "/identities/users/alice/inline/create/": "iam:PutUserPolicy",
    "/identities/create-policy/": "iam:CreatePolicy",
    "/identities/create-role/": "iam:CreateRole",
}


@pytest.mark.parametrize(("path", "action"), DENIED_POSTS.items(), ids=DENIED_POSTS)
def test_what_the_person_may_not_do_is_refused_in_the_form(world: World, path: str, action: str) -> None:
    fields = {
        "name": "dave",
        "policy": policy() if "policy/" in path or "inline" in path else world.policy_arn("Any"),
        "policy_name": "Mine",
        "confirm": "alice",
        "password": GOOD_PASSWORD,
        "password_again": GOOD_PASSWORD,
        "chosen": "Readers",
        "max_session": "3600",
    }
    answer = world.stranger.post(path, fields)
    assert answer.status_code == 403
    assert f"{DENIED}{action}" in alert(answer)


def test_parts_that_the_person_may_not_see_say_so_and_the_rest_is_there(world: World) -> None:
    let(world.mallory, "iam:GetUser", "iam:ListUserPolicies")
    page = words(world.get("/identities/users/alice/", world.stranger))
    assert "You can't see all of these policies" in page and "iam:ListAttachedUserPolicies" in page
    assert "Given0 Customer inline" in page
    page = words(world.get("/identities/users/alice/?tab=security-credentials", world.stranger))
    assert "iam:GetLoginProfile" in page and "iam:ListAccessKeys" in page
    page = words(world.get("/identities/users/alice/?tab=groups", world.stranger))
    assert "iam:ListGroupsForUser" in page
