"""carol, of another account, comes to a key in a browser: by a role of its account, when both accounts let her."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, expect

from console.tests import walk
from console.tests.test_browser_roles import switch, who
from console.tests.test_browser_walk import open_page
from kmsapp.testing import Casemate
from kmsapp.tests.wire_world import ACCOUNT, OTHER_ACCOUNT, ROOT, World, allow, document, key_policy, to, trust

OTHER_ROOT = f"arn:aws:iam::{OTHER_ACCOUNT}:root"
POLICY = "SwitchToTheGuests"


@pytest.fixture(params=[True, False], ids=["with JavaScript", "without JavaScript"])
def watched(request: pytest.FixtureRequest, browser: Browser, casemate: Casemate) -> Iterator[walk.Watched]:
    yield from open_page(browser, casemate, java_script=request.param)


@pytest.fixture
def world(casemate: Casemate) -> Iterator[World]:
    world = World.of(casemate)
    yield world
    if POLICY in world.iam_of_other.list_user_policies(UserName="carol")["PolicyNames"]:
        world.iam_of_other.delete_user_policy(UserName="carol", PolicyName=POLICY)


def sign_in(watched: walk.Watched, casemate: Casemate) -> None:
    watched.goto("/")
    watched.page.get_by_label("Account ID").fill(OTHER_ACCOUNT)
    watched.page.get_by_label("User name").fill("carol")
    watched.page.get_by_label("Password").fill(casemate.person("carol").password)
    walk.press(watched, "Sign in")
    expect(who(watched)).to_have_text(f"carol @ {OTHER_ACCOUNT}")


def require_refused(watched: walk.Watched, role: str) -> None:
    switch(watched, ACCOUNT, role)
    refusal = watched.page.get_by_role("alert").filter(has_text="You can't switch to this role")
    expect(refusal).to_contain_text("is not authorized to perform: sts:AssumeRole")
    expect(who(watched)).to_have_text(f"carol @ {OTHER_ACCOUNT}")


def allow_carol_to_switch(world: World, role_arn: str) -> None:
    own = document(allow("sts:AssumeRole", role_arn))
    world.iam_of_other.put_user_policy(UserName="carol", PolicyName=POLICY, PolicyDocument=own)


def test_carol_comes_to_a_key_of_the_other_account_when_both_let_her(
    watched: walk.Watched, casemate: Casemate, world: World
) -> None:
    role, role_arn = world.role()
    key_arn = world.key()
    path = f"/keys/{key_arn.rpartition('/')[2]}/"
    sign_in(watched, casemate)
    require_refused(watched, role)  # neither account has said so
    allow_carol_to_switch(world, role_arn)
    require_refused(watched, role)  # hers alone
    world.iam_of_other.delete_user_policy(UserName="carol", PolicyName=POLICY)
    world.iam.update_assume_role_policy(RoleName=role, PolicyDocument=trust(ROOT, OTHER_ROOT))
    require_refused(watched, role)  # the other one alone
    allow_carol_to_switch(world, role_arn)
    switch(watched, ACCOUNT, role)
    expect(who(watched)).to_have_text(f"{role} / {ACCOUNT}")

    watched.goto(path)
    expect(watched.page.get_by_role("main")).to_contain_text("is not authorized to perform: kms:DescribeKey")
    world.kms.put_key_policy(
        KeyId=key_arn, Policy=key_policy(to(role_arn, ["kms:DescribeKey", "kms:GetKeyPolicy", "kms:PutKeyPolicy"]))
    )
    watched.goto(path)
    expect(watched.page.get_by_role("main")).to_contain_text(key_arn)
    watched.goto(f"{path}policy/")
    editor = watched.page.get_by_label("Key policy JSON")
    editor.fill(editor.input_value().replace('"kms:GetKeyPolicy"', '"kms:Get*"'))
    walk.press(watched, "Save changes")
    expect(watched.page.get_by_role("list", name="Notifications")).to_contain_text("The key policy was saved.")
    assert '"kms:Get*"' in world.kms.get_key_policy(KeyId=key_arn)["Policy"]
