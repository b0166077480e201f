"""The policy simulator's page: its address, what it draws, what it says to whom."""

from __future__ import annotations

import re
from typing import Any
from xml.etree import ElementTree

import pytest
from django.http import QueryDict
from django.template.loader import render_to_string

from console import decision_picture, explanations, simulation
from console.lookups import Lookups
from console.simulation import Question
from console.testing import key_store, kms_key, let
from console.tests.identity_world import DENIED, World, alert, html, policy, words
from kmsapp import dispatch
from kmsapp.caller import Caller
from kmsapp.models import InlinePolicy, KmsKey

KEY_ARN = "arn:aws:kms:us-west-2:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab"
BOB = "arn:aws:iam::111122223333:user/bob"
CALLER = Caller("111122223333", "us-west-2", BOB, "AIDABOB", "bob")


def step(kind: str, state: str) -> dict[str, Any]:
    return {
        "Kind": kind,
        "State": state,
        "Sentence": "So it is.",
        "Policy": "default",
        "StatementNumber": 1,
        "Sid": "",
        "Line": 3,
        "Statement": '{"Effect": "Allow"}',
    }


def answer(outcome: str, **states: str) -> dict[str, Any]:
    steps = [step(kind, states.get(kind, "notNeeded")) for kind in decision_picture.TITLES]
    return {"Outcome": outcome, "Message": "", "Steps": steps, "KeyArn": KEY_ARN, "PrincipalArn": BOB, "Action": "x"}


# The address


def test_a_question_is_read_from_its_address_and_asked() -> None:
    query = QueryDict(
        f"principal={BOB}&action=kms:Encrypt&context_key=a&context_value=1&context_key=&context_value=x&source_ip=10.0.0.1"
        "&secure=no&time=2026-01-02T03:04&condition_key=aws:CalledVia&condition_value=p&condition_key=aws:CalledVia"
        "&condition_value=q&condition_key=kms:ViaService&condition_value=s3"
    )
    question = Question.of(query, is_secure=True)
    assert question.problems() == {}
    assert question.parameters("k") == {
        "KeyId": "k",
        "PrincipalArn": BOB,
        "Action": "kms:Encrypt",
        "EncryptionContext": {"a": "1"},
        "SecureTransport": False,
        "SourceIp": "10.0.0.1",
        "CurrentTime": "2026-01-02T03:04:00+00:00",
        "MoreContext": {"aws:CalledVia": ["p", "q"], "kms:ViaService": "s3"},
    }


def test_an_arn_that_is_typed_counts_instead_of_the_list() -> None:
    other = "arn:aws:sts::444455556666:assumed-role/Reader/carol"
    assert Question.of(QueryDict(f"principal={BOB}&arn={other}"), is_secure=True).principal == other


WRONG = {
    "nobody": ("principal=", "id_principal"),
    "a group": ("principal=arn:aws:iam::111122223333:group/x", "id_principal"),
    "an operation without a key": (f"principal={BOB}&action=kms:CreateKey", "id_action"),
    "no address": (f"principal={BOB}&source_ip=here", "id_source_ip"),
    "no time": (f"principal={BOB}&time=soon", "id_time"),
}


@pytest.mark.parametrize(("query", "field"), WRONG.values(), ids=WRONG)
def test_a_wrong_question_names_its_field(query: str, field: str) -> None:
    assert list(Question.of(QueryDict(query), is_secure=True).problems()) == [field]


def test_the_operations_are_those_that_take_a_key() -> None:
    offered = simulation.actions()
    assert {"kms:Decrypt", "kms:ReEncryptFrom", "kms:ReEncryptTo", "kms:CreateAlias", "kms:PutKeyPolicy"} <= set(
        offered
    )
    for other in ("kms:CreateKey", "kms:ListKeys", "kms:ReEncrypt", "kms:ConnectCustomKeyStore", "kms:GenerateRandom"):
        assert other not in offered
    assert offered == sorted(offered)


# From a denial


def denial(resource: str, ending: str = "because no identity-based policy allows the kms:Decrypt action") -> str:
    return f"User: {BOB} {DENIED}kms:Decrypt on resource: {resource} {ending}"


def test_a_denial_about_an_own_key_of_the_region_leads_to_the_simulator() -> None:
    address = simulation.address_of(denial(KEY_ARN), CALLER)
    assert address.startswith("/keys/1234abcd-12ab-34cd-56ef-1234567890ab/simulator/?principal=arn%3Aaws%3Aiam")
    assert address.endswith("&action=kms%3ADecrypt")


NOT_EXPLAINED = {
    "no denial": "The key is disabled.",
    "no resource": denial("*"),
    "another account's key": denial(KEY_ARN.replace("111122223333", "444455556666")),
    "a key of another Region": denial(KEY_ARN.replace("us-west-2", "eu-central-1")),
    "an alias": denial("arn:aws:kms:us-west-2:111122223333:alias/x"),
    "a user": denial("arn:aws:iam::111122223333:user/alice"),
    "a bare id": denial("1234abcd-12ab-34cd-56ef-1234567890ab"),
}


@pytest.mark.parametrize("sentence", NOT_EXPLAINED.values(), ids=NOT_EXPLAINED)
def test_other_denials_lead_nowhere(sentence: str) -> None:
    assert simulation.address_of(sentence, CALLER) == ""


ENDINGS = {
    "with an explicit deny in a resource-based policy": "The key policy has a statement that denies kms:Decrypt",
    "with an explicit deny in an identity-based policy": "A policy of user/bob (or of its groups) denies kms:Decrypt",
    "with an explicit deny in a permissions boundary": "The permissions boundary of user/bob denies",
    "with an explicit deny in a session policy": "A policy that came with the session",
    "because no resource-based policy allows the kms:Decrypt action": "The key policy of key/1234abcd",
    "because no identity-based policy allows the kms:Decrypt action": "No policy of user/bob allows kms:Decrypt on",
    "because no permissions boundary allows the kms:Decrypt action": "outside of the permissions boundary of user/bob",
    "because no session policy allows the kms:Decrypt action": "none of the policies that came with the session",
}


@pytest.mark.parametrize(("ending", "words_"), ENDINGS.items(), ids=ENDINGS)
def test_a_denial_is_said_in_other_words(ending: str, words_: str) -> None:
    assert words_ in explanations.explained(denial(KEY_ARN, ending))


def test_another_sentence_is_not_explained() -> None:
    assert explanations.explained("The old password was incorrect.") == ""


# The picture


@pytest.mark.parametrize("outcome", decision_picture.VERDICTS)
def test_the_picture_has_a_box_for_each_step_and_the_verdict_side_by_side_or_one_below_the_other(outcome: str) -> None:
    drawn = answer(outcome, keyPolicy="failed", delegation="passed", identityPolicies="denied", grants="skipped")
    wide, tall = decision_picture.wide(drawn), decision_picture.tall(drawn)
    for picture in (wide, tall):
        assert len(picture.boxes) == 7 and len(picture.arrows) == 6
        assert picture.boxes[-1].is_verdict
        assert all(box.x >= 0 and box.right <= picture.width for box in picture.boxes)
        assert all(box.y >= 0 and box.bottom <= picture.height for box in picture.boxes)
    assert all(one.right < two.x for one, two in zip(wide.boxes, wide.boxes[1:], strict=False))
    assert all(one.bottom < two.y for one, two in zip(tall.boxes, tall.boxes[1:], strict=False))
    assert tall.width <= 310, "it fits into a container of a page 400 wide"


def test_states_differ_in_word_and_sign_not_in_colour_alone() -> None:
    for table in (decision_picture.STATES, decision_picture.VERDICTS):
        assert len({(word, sign) for word, sign, _ in table.values()}) == len(table)


@pytest.mark.parametrize("layout", [decision_picture.wide, decision_picture.tall], ids=["wide", "tall"])
def test_the_picture_is_well_formed_and_has_no_style_of_its_own(layout: Any) -> None:
    drawn = answer("explicitDeny", keyPolicy="denied")
    context = {"picture": layout(drawn), "in_words": decision_picture.in_words(drawn)}
    svg = render_to_string("console/keys/_decision.html", context)
    root = ElementTree.fromstring(svg.strip())  # noqa: S314 # our own drawing
    assert root.attrib["role"] == "img"
    text = "".join(root.itertext())
    assert "Key policy: denies, then Delegation to the account: not needed" in text
    assert "The verdict: denied." in text
    assert "style=" not in svg and "<style" not in svg


# The page


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch, db: None) -> World:
    return World(monkeypatch)


@pytest.fixture
def key(world: World) -> KmsKey:
    return kms_key(key_store(world.account), alias="simulated")


def test_the_form_offers_principals_and_operations_and_asks_nothing_yet(world: World, key: KmsKey) -> None:
    page = world.get(f"/keys/{key.key_id}/simulator/")
    assert f'<option value="{world.mallory.arn}">mallory</option>' in page
    assert f'value="arn:aws:iam::{world.account}:root"' in page and "<option selected>kms:Decrypt</option>" in page
    assert "How it is decided" not in page
    more = world.get(f"/keys/{key.key_id}/simulator/?context_key=a&context_value=1&add=context")
    assert more.count('name="context_key"') == 2 and 'value="a"' in more


def test_a_wrong_question_is_marked(world: World, key: KmsKey) -> None:
    page = world.client.get(f"/keys/{key.key_id}/simulator/?ask=1")
    assert page.status_code == 422 and "Choose a user or role" in alert(page)


def test_who_may_not_list_people_can_enter_an_arn(world: World, key: KmsKey) -> None:
    page = world.stranger.get(f"/keys/{key.key_id}/simulator/")
    assert f"{DENIED}iam:ListUsers" in words(html(page)) and 'name="arn"' in html(page)


def test_an_answer_names_the_steps_and_their_statements(world: World, key: KmsKey) -> None:
    page = world.get(f"/keys/{key.key_id}/simulator/?principal={world.alice.arn}&action=kms:Decrypt")
    assert "would be allowed to call kms:Decrypt" in page
    assert len(re.findall('<svg class="decision', page)) == 2
    let(world.mallory, "kms:Encrypt")
    page = world.get(f"/keys/{key.key_id}/simulator/?principal={world.mallory.arn}&action=kms:Decrypt")
    assert "would not be allowed to call kms:Decrypt" in page
    assert f"{DENIED}kms:Decrypt on resource: {key.arn} because no identity-based policy" in words(page)
    assert "Identity policies" in words(page) and "Does not allow" in words(page)


def test_a_grant_whose_constraint_failed_says_so(world: World, key: KmsKey) -> None:
    alice = Caller(world.account, key.region, world.alice.arn, world.alice.user_id, "alice")
    grant = {
        "GranteePrincipal": world.mallory.arn,
        "Operations": ["Decrypt"],
        "Constraints": {"EncryptionContextSubset": {"stage": "prod"}},
    }
    dispatch.call(alice, "kms:CreateGrant", {"KeyId": key.key_id, **grant})
    path = f"/keys/{key.key_id}/simulator/?principal={world.mallory.arn}&action=kms:Decrypt"
    page = words(world.get(path))
    assert "allows Decrypt, but only with an encryption context that has stage = prod." in page
    page = words(world.get(f"{path}&context_key=stage&context_value=prod"))
    assert "would be allowed to call kms:Decrypt" in page


def test_who_may_not_ask_gets_an_address_for_somebody_who_may(world: World, key: KmsKey) -> None:
    path = f"/keys/{key.key_id}/simulator/?principal={world.mallory.arn}&action=kms:Decrypt"
    page = world.stranger.get(path)
    assert page.status_code == 403
    assert "You may not ask this" in words(html(page))
    assert f"http://testserver{path}" in html(page)


def test_a_denial_on_the_key_page_offers_the_simulator(world: World, key: KmsKey) -> None:
    page = world.stranger.get(f"/keys/{key.key_id}/")
    assert page.status_code == 403 and "Access denied" in html(page)
    assert re.search(rf'href="/keys/{key.key_id}/simulator/\?principal=[^"]+DescribeKey">Why\?</a>', html(page))
    assert f"No policy of user/mallory allows kms:DescribeKey on key/{key.key_id}" in html(page)


PARTS = {"policy": "kms:GetKeyPolicy", "tags": "kms:ListResourceTags", "aliases": "kms:ListAliases"}


@pytest.mark.parametrize(("tab", "action"), PARTS.items(), ids=PARTS)
def test_a_part_of_the_key_page_that_is_denied_says_so(world: World, key: KmsKey, tab: str, action: str) -> None:
    let(world.mallory, "kms:DescribeKey")
    page = world.get(f"/keys/{key.key_id}/?tab={tab}", world.stranger)
    assert f"{DENIED}{action}" in words(page)
    assert ("Why?" in page) == (action != "kms:ListAliases"), "aliases are a list of the account"


def test_the_wizard_goes_on_for_who_may_not_list_people(world: World) -> None:
    caller = Caller(world.account, "us-west-2", world.mallory.arn, world.mallory.user_id, "mallory")
    lookups = Lookups(caller)
    assert lookups.principals == [] and f"{DENIED}iam:ListUsers" in lookups.principals_denied
    (named,) = lookups.principals_of([f"arn:aws:iam::{world.account}:role/deep/er/Reader"])
    assert (named["Name"], named["Path"], named["Type"]) == ("Reader", "/deep/er/", "Role")
    page = render_to_string(
        "console/create_key/_principals.html", {"principals_denied": lookups.principals_denied, "label": "Key users"}
    )
    assert "iam:ListUsers" in page and "<table" not in page


def test_conditions_of_the_request_and_the_encryption_context_count(world: World, key: KmsKey) -> None:
    condition = {"IpAddress": {"aws:SourceIp": "203.0.113.0/24"}, "StringEquals": {"kms:EncryptionContext:team": "red"}}
    statement = {"Effect": "Allow", "Action": "kms:Decrypt", "Resource": "*", "Condition": condition}
    InlinePolicy.objects.create(user=world.mallory, name="FromThere", document=policy(statement))
    path = f"/keys/{key.key_id}/simulator/?principal={world.mallory.arn}&action=kms:Decrypt"
    from_there = f"{path}&source_ip=203.0.113.7&context_key=team&context_value=red"
    page = words(world.get(from_there))
    assert "would be allowed to call kms:Decrypt" in page and "FromThere, statement 1" in page
    for other in (path, from_there.replace("203.0.113.7", "198.51.100.1"), from_there.replace("=red", "=blue")):
        assert "would not be allowed to call kms:Decrypt" in world.get(other)


def test_an_explicit_denial_is_shown_as_one(world: World, key: KmsKey) -> None:
    root = {"Effect": "Allow", "Principal": {"AWS": f"arn:aws:iam::{world.account}:root"}, "Action": "kms:*"}
    no = {"Sid": "NotMe", "Effect": "Deny", "Principal": {"AWS": world.alice.arn}, "Action": "kms:Decrypt"}
    world.post(f"/keys/{key.key_id}/policy/", policy=policy({**root, "Resource": "*"}, {**no, "Resource": "*"}))
    page = words(world.get(f"/keys/{key.key_id}/simulator/?principal={world.alice.arn}&action=kms:Decrypt"))
    assert "would be explicitly denied to call kms:Decrypt" in page
    assert "with an explicit deny in a resource-based policy" in page
    assert "1. Key policy Denies" in page and "default, statement 2 (NotMe)" in page


def test_a_principal_that_does_not_exist_is_said_to(world: World, key: KmsKey) -> None:
    page = world.client.get(
        f"/keys/{key.key_id}/simulator/?arn=arn:aws:iam::{world.account}:user/nobody&action=kms:Decrypt"
    )
    assert page.status_code == 404 and "The user with name nobody cannot be found." in alert(page)


def test_a_question_that_does_not_say_how_the_call_comes_means_this_server() -> None:
    query = QueryDict(f"principal={BOB}")
    assert [Question.of(query, is_secure=secure).secure for secure in (True, False)] == [True, False]
    assert Question.of(QueryDict(f"principal={BOB}&secure=yes"), is_secure=False).secure
