"""Editing a key's policy: what is saved, what is marked, what KMS refuses."""

from __future__ import annotations

import json

import pytest

from console.testing import key_store, kms_key, let
from console.tests.identity_world import DENIED, World, alert, html
from kmsapp.models import KmsKey

pytestmark = pytest.mark.django_db


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    return World(monkeypatch)


@pytest.fixture
def key(world: World) -> KmsKey:
    return kms_key(key_store(world.account), alias="edited")


def policy_of(*statements: dict[str, object]) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": list(statements)}, indent=2)


def allow(principal: str, *actions: str) -> dict[str, object]:
    return {"Effect": "Allow", "Principal": {"AWS": principal}, "Action": list(actions) or "kms:*", "Resource": "*"}


def test_a_policy_is_edited(world: World, key: KmsKey) -> None:
    path = f"/keys/{key.key_id}/policy/"
    assert f"arn:aws:iam::{world.account}:root" in world.get(path)
    root = f"arn:aws:iam::{world.account}:root"
    changed = policy_of(allow(root), allow(world.mallory.arn, "kms:Decrypt"))
    answer = world.post(path, policy=changed.replace("\n", "\r\n"))
    assert answer.request["PATH_INFO"] == f"/keys/{key.key_id}/" and "The key policy was saved." in html(answer)
    key.refresh_from_db()
    assert json.loads(key.policy) == json.loads(changed)


WRONG = {
    "no JSON": ("{\n  x", "Line 2, column 3"),
    "no principal": (policy_of({"Effect": "Allow", "Action": "kms:*", "Resource": "*"}), "with no principal"),
    "no action": (
        policy_of({"Effect": "Allow", "Principal": {"AWS": "*"}, "Resource": "*"}),
        "Line 4, column 5: Statement 1 has no Action",
    ),
    "empty": ("  ", "Enter a key policy."),
}


@pytest.mark.parametrize(("text", "sentence"), WRONG.values(), ids=WRONG)
def test_a_policy_with_an_error_is_marked_and_kept_in_the_editor(
    world: World, key: KmsKey, text: str, sentence: str
) -> None:
    before = key.policy
    answer = world.client.post(f"/keys/{key.key_id}/policy/", {"policy": text})
    assert answer.status_code == 422 and sentence in alert(answer)
    key.refresh_from_db()
    assert key.policy == before


def test_a_lockout_is_refused_unless_the_check_is_bypassed(world: World, key: KmsKey) -> None:
    path, locked = f"/keys/{key.key_id}/policy/", policy_of(allow(world.mallory.arn))
    status, sentence = world.refused(path, policy=locked)
    assert status == 400
    assert "The new key policy will not allow you to update the key policy in the future." in sentence
    assert "can become unmanageable" in html(world.client.get(path))
    world.client.post(path, {"policy": locked, "bypass": "on"})
    key.refresh_from_db()
    assert json.loads(key.policy) == json.loads(locked)


def test_a_principal_that_does_not_exist_is_refused_in_aws_words(world: World, key: KmsKey) -> None:
    root = f"arn:aws:iam::{world.account}:root"
    text = policy_of(allow(root), allow(f"arn:aws:iam::{world.account}:user/nobody"))
    status, sentence = world.refused(f"/keys/{key.key_id}/policy/", policy=text)
    assert status == 400 and "one or more invalid principals" in sentence


def test_bypassing_the_check_asks_for_a_password_that_was_not_proved_lately(world: World, key: KmsKey) -> None:
    session = world.client.session
    session["proved_at"] = 0
    session.save()
    locked = policy_of(allow(world.mallory.arn))
    answer = world.client.post(f"/keys/{key.key_id}/policy/", {"policy": locked, "bypass": "on"})
    assert answer.status_code == 422 and "Your password" in html(answer)
    key.refresh_from_db()
    assert world.mallory.arn not in key.policy


def test_who_may_not_see_or_change_it_reads_why(world: World, key: KmsKey) -> None:
    answer = world.stranger.get(f"/keys/{key.key_id}/policy/")
    assert answer.status_code == 403 and f"{DENIED}kms:GetKeyPolicy" in alert(answer)
    let(world.mallory, "kms:GetKeyPolicy")
    assert world.stranger.get(f"/keys/{key.key_id}/policy/").status_code == 200
    answer = world.stranger.post(f"/keys/{key.key_id}/policy/", {"policy": key.policy})
    assert f"{DENIED}kms:PutKeyPolicy" in alert(answer) and "Why?" in html(answer)
