"""Choosing from a table, renaming, tags of policies, and deleting with what is left; by pages, without a browser."""

from __future__ import annotations

import re

import pytest

from console.testing import let, person, signed_in_client
from console.tests.identity_world import DENIED, World, alert, html, policy, words
from kmsapp.models import AccessKey, Group, ManagedPolicy, Role, User

pytestmark = pytest.mark.django_db
GOOD_PASSWORD = "Correct-horse-7"


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    return World(monkeypatch)


def ticked(page: str) -> dict[str, list[str]]:
    """What is ticked in the table and below it."""
    table, _, below = page.partition("</table>")
    boxes = r'<input type="(?:checkbox|radio)" name="(?:chosen|policy)" value="([^"]+)"[^>]* checked>'
    return {"table": re.findall(boxes, table), "below": re.findall(boxes, below)}


# Choosing from a table


def test_what_is_ticked_stays_ticked_on_other_pages_and_by_another_filter(world: World) -> None:
    world.post("/identities/create-group/", name="Readers")
    for number in range(22):
        person(f"user{number:02}", account=world.account, actions=())
    path = "/identities/groups/Readers/users/add/"
    assert "(<span data-selected>0</span>/24)" in world.get(path)
    page = html(world.client.post(path, {"chosen": ["alice", "user03"], "q": "", "go": "page:2"}))
    assert ticked(page) == {"table": [], "below": ["alice", "user03"]} and "user19" in page
    assert "(<span data-selected>2</span>/24)" in page
    found = html(world.client.post(path, {"chosen": ["alice", "user03", "user19"], "q": "USER0", "go": "find"}))
    assert ticked(found) == {"table": ["user03"], "below": ["alice", "user19"]} and "10 matches" in found
    assert "Select user10" not in found
    nothing = html(world.client.post(path, {"chosen": ["alice"], "q": "no such", "go": "find"}))
    assert ticked(nothing) == {"table": [], "below": ["alice"]} and "No matches" in nothing
    assert not Group.objects.get(account=world.account, name="Readers").users.exists(), "a page was turned, no more"
    world.post(path, chosen=["alice", "user19"], q="USER0")
    members = Group.objects.get(account=world.account, name="Readers").users.values_list("user_name", flat=True)
    assert sorted(members) == ["alice", "user19"]


def test_policies_are_chosen_the_same_way_and_a_boundary_alone(world: World) -> None:
    for number in range(21):
        world.post("/identities/create-policy/", name=f"Mine{number:02}", policy=policy())
    first, last = world.policy_arn("Mine00"), world.policy_arn("Mine20")
    attach, boundary = ("/identities/users/mallory/" + page for page in ("attach/", "boundary/"))
    page = html(world.client.post(attach, {"policy": [first], "go": "page:2"}))
    assert ticked(page) == {"table": [], "below": [first]}
    world.post(attach, policy=[first, last])
    assert set(world.mallory.managed_policies.values_list("name", flat=True)) == {"Mine00", "Mine20"}
    page = html(world.client.post(boundary, {"policy": last, "q": "Mine00", "go": "find"}))
    assert ticked(page) == {"table": [], "below": [last]}
    status, sentence = world.refused(attach, policy=[world.policy_arn(f"Mine{number:02}") for number in range(21)])
    assert status == 422 and "Select up to 20 policies." in sentence


def test_a_page_number_that_is_none_and_a_table_that_may_not_be_seen(world: World) -> None:
    path = "/identities/users/mallory/groups/add/"
    for go in ("page:", "page:x", "page:0", "page:99999999", "find:3"):
        assert world.client.post(path, {"go": go}).status_code == 200, go
    answer = world.stranger.get(path)
    assert f"{DENIED}iam:ListGroups" in alert(answer) and '<button class="button primary">' not in html(answer)


# Renaming


def test_a_user_gets_another_name_and_path_and_keeps_everything_else(world: World) -> None:
    world.post("/identities/users/mallory/inline/create/", policy_name="Mine", policy=policy())
    page = world.get("/identities/users/mallory/edit/")
    assert 'name="name" value="mallory"' in page and 'name="path" value="/"' in page
    answer = world.post("/identities/users/mallory/edit/", name="malory", path="/staff/")
    assert answer.request["PATH_INFO"] == "/identities/users/malory/" and "User malory was saved." in html(answer)
    world.mallory.refresh_from_db()
    assert (world.mallory.user_name, world.mallory.path) == ("malory", "/staff/")
    assert f"arn:aws:iam::{world.account}:user/staff/malory" in html(answer) and "Mine" in html(answer)
    assert world.stranger.get("/keys/").status_code == 200, "the session goes on, with the permissions"


WRONG_NAMES = {
    "a space": ({"name": "a b"}, 422, "has a character that isn't allowed"),
    "a path without slashes": ({"name": "dave", "path": "staff"}, 422, "Begin and end the path with a slash"),
    "a name that is taken": ({"name": "ALICE"}, 409, "(EntityAlreadyExistsException)"),
}


@pytest.mark.parametrize(("fields", "status", "sentence"), WRONG_NAMES.values(), ids=WRONG_NAMES)
def test_a_wrong_name_is_refused_and_stays_in_the_form(
    world: World, fields: dict[str, str], status: int, sentence: str
) -> None:
    answer = world.client.post("/identities/users/mallory/edit/", fields)
    assert answer.status_code == status and sentence in alert(answer)
    assert f'value="{fields["name"]}"' in html(answer)
    world.mallory.refresh_from_db()
    assert (world.mallory.user_name, world.mallory.path) == ("mallory", "/")


def test_a_group_is_renamed_and_a_role_is_not(world: World) -> None:
    world.post("/identities/create-group/", name="Readers")
    world.post("/identities/groups/Readers/edit/", name="Writers", path="/team/")
    group = Group.objects.get(account=world.account)
    assert (group.name, group.path) == ("Writers", "/team/")
    world.post("/identities/create-role/", name="Reader", max_session="3600", trust="account")
    assert "Maximum session duration" in world.get("/identities/roles/Reader/edit/"), "a page of its own"


# Tags of policies


def test_a_policy_has_tags_and_an_aws_managed_one_none(world: World) -> None:
    world.post("/identities/create-policy/", name="Mine", policy=policy())
    arn = world.policy_arn("Mine")
    tab = f"/identities/policies/{arn}/?tab=tags"
    assert "No tags" in world.get(tab)
    path = f"/identities/policies/tags/{arn}/"
    answer = world.post(path, tag_key=["Team", "Cost"], tag_value=["red", ""], go="save")
    assert "The tags of policy Mine were saved." in html(answer) and "Team red" in words(world.get(tab))
    world.post(path, tag_key=["Team"], tag_value=["blue"], go="save")
    assert ManagedPolicy.objects.get(account=world.account).tags == {"Team": "blue"}
    status, sentence = world.refused(path, tag_key=["aws:x"], tag_value=[""], go="save")
    assert status == 400 and "reserved" in sentence
    administrator = "/identities/policies/arn:aws:iam::aws:policy/AdministratorAccess/"
    assert "?tab=tags" in world.get(tab) and "?tab=tags" not in world.get(administrator)
    assert world.client.get(f"/identities/policies/tags/{world.policy_arn('None')}/").status_code == 404


# Disabling


def test_a_user_is_disabled_and_enabled_again(world: World) -> None:
    assert "alice Enabled / " in words(world.get("/identities/users/"))
    page = words(world.get("/identities/users/mallory/disable/"))
    assert "Disable user mallory ?" in page and "mallory is signed out" in page
    answer = world.post("/identities/users/mallory/disable/")
    assert "User mallory was disabled." in html(answer) and "Status Disabled" in words(html(answer))
    assert world.stranger.get("/keys/").headers["Location"].startswith("/sign-in/"), "at once"
    assert "mallory Disabled / " in words(world.get("/identities/users/"))
    page = world.get("/identities/users/mallory/")
    assert "/mallory/enable/" in page and "/mallory/disable/" not in page
    assert "User mallory was enabled." in html(world.post("/identities/users/mallory/enable/"))
    world.mallory.refresh_from_db()
    assert world.mallory.is_active and "/mallory/disable/" in world.get("/identities/users/mallory/")


def test_nobody_disables_themselves_and_an_old_sign_in_is_asked_for_the_password(world: World) -> None:
    assert "/alice/disable/" not in world.get("/identities/users/alice/")
    status, sentence = world.refused("/identities/users/alice/disable/")
    assert status == 400 and "You can't disable alice: that is you." in sentence
    session = world.client.session
    session["proved_at"] = 0
    session.save()
    status, _ = world.refused("/identities/users/mallory/disable/")
    assert status == 422 and User.objects.get(pk=world.mallory.pk).is_active
    world.post("/identities/users/mallory/enable/")  # stops nobody


# Deletion


def make_user_with_everything(world: World) -> None:
    world.post("/identities/create-group/", name="Readers")
    world.post("/identities/groups/Readers/users/add/", chosen="mallory")
    world.post("/identities/create-policy/", name="Mine", policy=policy())
    world.post("/identities/users/mallory/attach/", policy=world.policy_arn("Mine"))
    world.post("/identities/users/mallory/boundary/", policy=world.policy_arn("Mine"))
    world.post("/identities/users/mallory/inline/create/", policy_name="Own", policy=policy())
    world.post("/identities/users/mallory/password/", password=GOOD_PASSWORD, password_again=GOOD_PASSWORD)
    world.client.post("/identities/users/mallory/access-keys/create/")


def test_a_user_is_deleted_with_everything_that_it_has(world: World) -> None:
    make_user_with_everything(world)
    key = AccessKey.objects.get(user=world.mallory).access_key_id
    page = words(world.get("/identities/users/mallory/delete/"))
    gone = (
        f"Access key {key} The console password Membership of group Readers Inline policy Own Attachment of policy Mine"
    )
    assert f"This goes with it {gone}" in page
    status, sentence = world.refused("/identities/users/mallory/delete/", confirm="Mallory")
    assert status == 422 and "Enter mallory to confirm." in sentence
    assert world.mallory.access_keys.exists()
    answer = world.post("/identities/users/mallory/delete/", confirm="mallory")
    assert answer.request["PATH_INFO"] == "/identities/users/" and "User mallory was deleted." in html(answer)
    assert not User.objects.filter(pk=world.mallory.pk).exists() and not AccessKey.objects.exists()
    assert world.client.get("/identities/users/mallory/delete/").status_code == 404
    assert Group.objects.filter(account=world.account).exists() and ManagedPolicy.objects.filter(account=world.account)


def test_roles_and_groups_are_deleted_with_their_policies_and_members(world: World) -> None:
    world.post("/identities/create-role/", name="Reader", max_session="3600", trust="account")
    world.post("/identities/roles/Reader/inline/create/", policy_name="Own", policy=policy())
    world.post("/identities/create-group/", name="Readers")
    world.post("/identities/groups/Readers/users/add/", chosen=["mallory", "alice"])
    world.post("/identities/groups/Readers/inline/create/", policy_name="Own", policy=policy())
    members = "Membership of user alice Membership of user mallory Inline policy Own"
    assert members in words(world.get("/identities/groups/Readers/delete/"))
    world.post("/identities/groups/Readers/delete/", confirm="Readers")
    world.post("/identities/roles/Reader/delete/", confirm="Reader")
    assert not Group.objects.filter(account=world.account).exists()
    assert not Role.objects.filter(account=world.account).exists()
    assert User.objects.filter(pk=world.mallory.pk).exists()


def test_a_policy_is_deleted_with_attachments_and_versions_but_not_where_it_is_a_boundary(world: World) -> None:
    world.post("/identities/create-policy/", name="Mine", policy=policy())
    arn = world.policy_arn("Mine")
    world.post(f"/identities/policies/edit/{arn}/", policy=policy({"Effect": "Deny", "Action": "*", "Resource": "*"}))
    world.post("/identities/users/mallory/attach/", policy=arn)
    world.post("/identities/users/alice/boundary/", policy=arn)
    path = f"/identities/policies/delete/{arn}/"
    status, sentence = world.refused(path, confirm="Mine")
    assert status == 409 and "is the permissions boundary of user alice" in sentence
    assert world.mallory.managed_policies.exists(), "nothing was taken away"
    world.post("/identities/users/alice/boundary/remove/")
    assert "Attachment to user mallory Version v2" in words(world.get(path))
    world.post(path, confirm="Mine")
    assert not ManagedPolicy.objects.filter(account=world.account).exists()
    assert not world.mallory.managed_policies.exists()


def test_who_may_not_delete_takes_nothing_away_and_who_may_not_take_away_is_told(world: World) -> None:
    make_user_with_everything(world)
    carl = person("carl", account=world.account, actions=("iam:List*", "iam:Get*", "iam:DeleteAccessKey"))
    client, path = signed_in_client(carl), "/identities/users/mallory/delete/"
    answer = client.post(path, {"confirm": "mallory"})
    assert answer.status_code == 403 and f"{DENIED}iam:DeleteUser" in alert(answer)
    assert world.mallory.access_keys.exists(), "the deletion itself is tried first"
    let(carl, "iam:DeleteUser")
    answer = client.post(path, {"confirm": "mallory"})
    assert answer.status_code == 403 and f"{DENIED}iam:DeleteLoginProfile" in alert(answer)
    assert "Taken away before the refusal: Access key AKIA" in html(answer)
    assert "This goes with it The console password Membership" in words(html(answer)), "what is left"
    assert User.objects.filter(pk=world.mallory.pk).exists() and not world.mallory.access_keys.exists()


def test_who_may_not_see_what_goes_with_it_is_told(world: World) -> None:
    page = words(html(world.stranger.get("/identities/users/alice/delete/")))
    assert f"What else goes with it, you can't see. User: {world.mallory.arn} {DENIED}iam:ListAccessKeys" in page


def test_nobody_deletes_themselves(world: World) -> None:
    """What goes first are the permissions to go on with it."""
    page = world.get("/identities/users/alice/")
    assert "/alice/delete/" not in page and "/mallory/delete/" in world.get("/identities/users/mallory/")
    status, sentence = world.refused("/identities/users/ALICE/delete/", confirm="ALICE")
    assert status == 400 and "You can't delete ALICE: that is you. Ask another administrator." in sentence
    assert world.alice.inline_policies.exists()
