"""Every mistake in a seed file is named with its place and with what would be right, all of them in one run."""

from __future__ import annotations

import re
import time
from pathlib import Path

import pytest
import yaml

from kmsapp.seed_file import seed, yaml_tree
from kmsapp.seed_file.places import SeedFileError

TABLE = Path(__file__).parent / "data" / "wrong_seed_files.txt"
BEHIND = {
    "+accounts": 'accounts: [{id: "111122223333"}]\n',
    "+store": "clusters: [{}]\ncustom_key_stores: [{name: Orders}]\n",
}
CASE = re.compile(r"^=== (?P<title>[^<\n]+)\n(?P<text>(?:(?!>>> |=== ).*\n)*)(?P<said>(?:>>> .*\n)+)", re.MULTILINE)
CASES = {match["title"]: (match["text"], match["said"].splitlines()) for match in CASE.finditer(TABLE.read_text())}


def said_of(content: str | bytes) -> list[str]:
    """What is said of a wrong file, without its name."""
    with pytest.raises(SeedFileError) as refused:
        seed.read(content.encode() if isinstance(content, str) else content)
    return [line.partition(":")[2] for line in refused.value.lines("seed.yaml")]


def test_the_table_has_been_read_to_its_end() -> None:
    text = TABLE.read_text()
    assert len(CASES) == text.count("\n=== ") - 1 >= 80  # but for the line that explains
    print(f"{len(CASES)} wrong files, {sum(len(said) for _, said in CASES.values())} mistakes")


@pytest.mark.parametrize(("title", "text", "said"), [(title, *case) for title, case in CASES.items()], ids=CASES)
def test_a_wrong_file_is_refused_with_place_and_sentence(title: str, text: str, said: list[str]) -> None:
    content = text.replace("%LONG%", 3000 * "x")
    content += "".join(behind for name, behind in BEHIND.items() if name in title)
    assert said_of(content) == [line.removeprefix(">>> ") for line in said]


def test_secrets_are_not_repeated() -> None:
    secrets = ["Kurz-1", "aaaa-bbbb-cccc", "hush!"]
    (password, secret, kmsuser) = secrets
    said = said_of(f"""accounts: [{{id: "111122223333", root_user: {{password: {password}}}}}]
users: [{{name: alice, password: {password}, access_keys: [{{secret: {secret}}}]}}]
clusters: [{{kmsuser_password: {kmsuser}}}]
""")
    assert len(said) == 4
    assert not [line for line in said for one in secrets if one in line]


def numbered(one: str, number: int) -> str:
    return ", ".join(one.replace("N", str(n)) for n in range(number))


# What is one too many: the file, and what is said of it.
TOO_MANY = {
    "groups of a user": (
        f"groups: [{numbered('{name: groupN}', 11)}]\nusers: [{{name: alice, groups: [{numbered('groupN', 11)}]}}]\n",
        "2:31: users[0].groups: There are 11 groups. A user can be in 10.",
    ),
    "attached policies": (
        "x-document: &any {Version: 2012-10-17, Statement: {Effect: Allow, Action: '*', Resource: '*'}}\n"
        f"policies: [{numbered('{name: policyN, document: *any}', 11)}]\n"
        f"groups: [{{name: admins, managed_policies: [{numbered('policyN', 11)}]}}]\n",
        "3:43: groups[0].managed_policies: There are 11 policies. 10 can be attached.",
    ),
    "tags of a user": (
        f"users: [{{name: alice, tags: {{{numbered('keyN: value', 51)}}}}}]\n",
        "1:29: users[0].tags: Cannot exceed quota for TagsPerResource: 50",
    ),
    "tags of a key": (
        f"keys: [{{tags: {{{numbered('keyN: value', 51)}}}}}]\n",
        "1:15: keys[0].tags: Too many tags",
    ),
    "aliases of a key": (
        f"keys: [{{aliases: [{numbered('alias/aN', 51)}]}}]\n",
        "1:18: keys[0].aliases: There are 51 aliases. A key can have 50.",
    ),
    "keys in a cluster": (
        f"keys: [{numbered('{}', 3301)}]\n",
        "1:13208: keys[3300]: A cluster of hsm1.medium holds 3,300 keys, and this is one more.",
    ),
    "characters of a trust policy": (
        "roles: [{name: one, trust_policy: {Version: 2012-10-17, Statement: {Effect: Allow, "
        f"Principal: {{AWS: '*'}}, Action: [{numbered('sts:AssumeRoleN', 150)}]}}}}}}]\n",
        "1:35: roles[0].trust_policy: The policy has 2,980 characters without white space. It can have 2,048 at most.",
    ),
}


@pytest.mark.parametrize(("text", "said"), TOO_MANY.values(), ids=TOO_MANY)
def test_what_is_one_too_many_is_named(text: str, said: str) -> None:
    assert said_of(text + "".join(BEHIND.values())) == [said]


def test_an_eleventh_key_store_of_a_region_is_named() -> None:
    ids = [f"cluster-{'abcdefghijk'[n] * 11}" for n in range(11)]
    clusters = ", ".join(f"{{id: {one}}}" for one in ids)
    stores = ", ".join(f"{{name: store{n}, cluster: {one}}}" for n, one in enumerate(ids))
    said = said_of(f"{BEHIND['+accounts']}clusters: [{clusters}]\ncustom_key_stores: [{stores}]\n")
    assert said == ["3:481: custom_key_stores[10]: Account 111122223333 can have 10 custom key stores in us-west-2."]


def test_what_is_no_text_is_refused() -> None:
    assert said_of(b"accounts:\n  - id: \xe9\n") == ["2:9: The file is not UTF-8: byte 0xe9."]
    assert said_of("accounts:\n  - id: a\x07\n") == [
        "2:10: The character U+0007 can't stand in YAML. Write it as an escape in double quotes."
    ]
    assert said_of(b"#" * (yaml_tree.MOST_BYTES + 1)) == [
        "1:1: The file has 4,194,305 bytes. A seed file can have 4,194,304 at most."
    ]


@pytest.mark.parametrize("loader", [yaml.SafeLoader, getattr(yaml, "CSafeLoader", yaml.SafeLoader)])
def test_aliases_cost_what_they_repeat_and_no_more(loader: object, monkeypatch: pytest.MonkeyPatch) -> None:
    """With PyYAML's own parser and with libyaml's."""
    monkeypatch.setattr(yaml_tree, "_LOADER", loader)
    began = time.process_time()
    bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n"
    bomb += "".join(f"a{n}: &a{n} [{', '.join(10 * [f'*a{n - 1}'])}]\n" for n in range(1, 40))
    chain = "a0: &a0 [x]\n" + "".join(f"a{n}: &a{n} [*a{n - 1}]\n" for n in range(1, 1000))
    assert said_of(bomb)[0].startswith("6:5: With what its aliases repeat, this has 1,111,111 values.")
    assert said_of(chain)[0].startswith("51:6: This is nested more than 50 levels deep.")
    assert said_of("[" * 5_000) and said_of("a: " + "{a: " * 5_000)
    assert time.process_time() - began < 10
