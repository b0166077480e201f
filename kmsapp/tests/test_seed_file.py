"""Reading seed files that are right: what YAML makes of them, and that the page about them says what the code does."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
import yaml

from kmsapp.seed_file import reference, seed
from kmsapp.seed_file.entries import Entry, Member, members_of
from kmsapp.seed_file.file_entries import SeedFile
from kmsapp.seed_file.kinds import At, File
from kmsapp.seed_file.places import Problems

PAGE = reference.PAGE.read_text()
BLOCKS = re.findall(r"^```yaml\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


def read(text: str) -> SeedFile:
    return seed.read(text.encode())


def members() -> list[tuple[str, Member]]:
    """Every member of every kind of entry, with a name for the test."""
    kinds: list[type[Entry]] = [SeedFile]
    for kind in kinds:
        inner = [reference.entry_of(member.kind) for member in members_of(kind).values()]
        kinds += [one for one in inner if one is not None and one not in kinds]
    return [(f"{kind.__name__}.{member.name}", member) for kind in kinds for member in members_of(kind).values()]


def test_the_reference_has_every_member_as_it_is() -> None:
    assert reference.up_to_date(PAGE) == PAGE, "run python -m kmsapp.seed_file.reference"
    named = re.findall(r"^\| `(\w+)` \|", PAGE, re.MULTILINE)
    assert len(named) == len(members()) > 80
    print(f"{len(named)} members")


@pytest.mark.parametrize("member", [member for _, member in members()], ids=[name for name, _ in members()])
def test_the_example_of_a_member_is_right(member: Member) -> None:
    problems = Problems()
    node = yaml.compose(member.example, Loader=yaml.SafeLoader)
    assert node is not None
    assert member.kind.read(At(node, member.name, File([member.example], problems))) is not None
    problems.require_none()


@pytest.mark.parametrize("block", BLOCKS, ids=range(len(BLOCKS)))
def test_the_examples_of_the_page_are_seed_files(block: str) -> None:
    assert read(block).accounts


def test_a_text_is_what_is_written() -> None:
    """What YAML 1.1 takes for octal numbers, truth values, dates, times and nothing."""
    words = ["012345670123", "on", "yes", "No", "1.10", "2026-11-29", "12:30:45", "0x1f", "1_000", ".inf", "=", "1e3"]
    tags = ", ".join(f"k{index}: {word}" for index, word in enumerate(words))
    found = read(f"accounts: [{{id: 012345670123, name: off}}]\nusers: [{{name: yes, tags: {{{tags}}}}}]\n")
    assert (found.accounts[0].id, found.accounts[0].name, found.users[0].name) == ("012345670123", "off", "yes")
    assert list(found.users[0].tags.values()) == words
    assert found.users[0].account == "012345670123"


IN_A_POLICY: dict[str, Any] = {
    "2012-10-17": "2012-10-17",
    "012345670123": "012345670123",
    "111122223333": "111122223333",
    "7": 7,
    "-3": -3,
    "0.5": 0.5,
    "007": "007",
    "0x1f": "0x1f",
    "12:30:45": "12:30:45",
    "true": True,
    "false": False,
    '"true"': "true",
    '"7"': "7",
    '"yes"': "yes",
    "kms:*": "kms:*",
}


@pytest.mark.parametrize(("written", "value"), IN_A_POLICY.items(), ids=IN_A_POLICY)
def test_a_value_of_a_policy_is_what_json_has_for_it(written: str, value: Any) -> None:
    text = (
        'accounts: [{id: "111122223333"}]\n'
        "policies: [{name: one, document: {Version: 2012-10-17, Statement: {Effect: Allow, Action: '*', Resource: '*', "
        f"Condition: {{StringEquals: {{aws:PrincipalTag/a: {written}}}}}}}}}}}]\n"
    )
    policy = read(text).policies[0].document
    assert policy is not None
    found = json.loads(policy.text)
    assert found["Version"] == "2012-10-17"
    shown = found["Statement"]["Condition"]["StringEquals"]["aws:PrincipalTag/a"]
    assert shown == value and type(shown) is type(value)


def test_anchors_aliases_and_merge_keys_are_yamls_own() -> None:
    found = read(
        """
x-own: &own {staff: true, path: /own/}
x-more: &more {path: /more/, console_access: false}
accounts: [&first {id: "111122223333"}]
groups: [{name: &group staff}]
users:
  - {<<: *own, name: alice}
  - {<<: [*own, *more], name: bob}
  - {<<: *more, name: carol, path: /carol/, groups: [*group]}
"""
    )
    assert [(user.path, user.staff, user.console_access) for user in found.users] == [
        ("/own/", True, True),
        ("/own/", True, False),
        ("/carol/", False, False),
    ]
    assert found.users[2].groups == ["staff"]


def test_what_is_left_out_is_the_only_one_that_it_can_be() -> None:
    found = read(
        """
region: eu-west-1
accounts: [{id: "111122223333"}, {id: "444455556666"}]
clusters: [{}, {region: us-east-1, hsm_count: 3}, {account: "444455556666"}]
custom_key_stores: [{name: A}, {name: B, region: us-east-1}, {name: C, account: "444455556666"}]
keys: [{}, {region: us-east-1}, {account: "444455556666"}]
"""
    )
    assert [store.its_cluster for store in found.custom_key_stores] == found.clusters
    assert [key.its_store for key in found.keys] == found.custom_key_stores
    assert [(key.account, key.region) for key in found.keys] == [
        ("111122223333", "eu-west-1"),
        ("111122223333", "us-east-1"),
        ("444455556666", "eu-west-1"),
    ]
    assert [found.clusters[1].zone_of(position) for position in range(3)] == ["us-east-1a", "us-east-1b", "us-east-1c"]
    assert found.in_numbers() == "2 accounts, 3 clusters with 7 HSMs, 3 key stores, 3 keys"
