"""Making what a seed file says: everything in it, once, whatever the run was cut short by."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from kmsapp import demo, dispatch
from kmsapp.caller import Caller
from kmsapp.iam import credentials as access_keys
from kmsapp.iam import passwords
from kmsapp.models import AccessKey, AuditEvent, Grant, KmsKey, Role, User
from kmsapp.seed_file import seed
from kmsapp.seed_file.entries import Entry, members_of
from kmsapp.seed_file.file_entries import SeedFile
from kmsapp.seeding import drawing, making
from kmsapp.testing import ROOT
from kmsapp.tests.installations import in_folder
from kmsapp.tests.rows import rows

EXAMPLE = ROOT / "docs" / "seed-example.yaml"
ACCOUNT, OTHER_ACCOUNT = "012345678901", "999988887777"
DORA = f"arn:aws:iam::{ACCOUNT}:user/people/dora"
KEY = f"arn:aws:kms:eu-central-1:{ACCOUNT}:key/0d990263-018e-4e65-a703-eff731de951e"
MOST_CALLS_AT_ONCE = 9  # more than one transaction holds


class CutShortError(Exception):
    """In place of the signal that no test of its own process survives."""


@pytest.fixture
def nothing(transactional_db: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An installation that has nothing yet, with a supervisor; yields its data folder."""
    with in_folder(tmp_path, monkeypatch):
        yield tmp_path


def example() -> SeedFile:
    return seed.read(EXAMPLE.read_bytes())


def test_the_example_uses_every_member() -> None:
    used: dict[type[Entry], set[str]] = {}

    def note(entry: Entry) -> None:
        used.setdefault(type(entry), set()).update(entry.places)
        for name in members_of(type(entry)):
            value = getattr(entry, name)
            for part in value if isinstance(value, list) else [value]:
                if isinstance(part, Entry):
                    note(part)

    note(example())
    unused = {
        f"{kind.__name__}.{name}" for kind, names in used.items() for name in members_of(kind) if name not in names
    }
    assert not unused
    print(f"{sum(map(len, used.values()))} members of {len(used)} kinds of entries")


def test_everything_in_the_example_is_made_once_though_it_is_cut_short_again_and_again(
    nothing: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Cut short after one call, then after two more, and so on; each run has what was drawn for the first."""
    whole, drawn, cuts, calls = dispatch.call, drawing.draw(example()), 0, 0

    def cutting(*arguments: Any, **options: Any) -> dict[str, Any]:
        nonlocal calls
        calls += 1
        answer = whole(*arguments, **options)
        if calls > cuts % MOST_CALLS_AT_ONCE:
            raise CutShortError
        return answer

    monkeypatch.setattr(dispatch, "call", cutting)
    people: list[dict[str, str]] = []
    while not people:
        calls = 0
        try:
            people = making.make(example(), json.loads(json.dumps(drawn)))
        except CutShortError:
            cuts += 1
    monkeypatch.undo()
    assert cuts > 10
    _assert_identities_are_there(people)
    _assert_keys_are_there(nothing)
    before, recorded = rows(), AuditEvent.objects.count()
    assert making.make(example(), drawn) == people
    assert rows() == before
    assert not {"CreateKey", "CreateUser", "CreateGrant"} & set(
        AuditEvent.objects.order_by("pk")[recorded:].values_list("event_name", flat=True)
    )
    print(f"{sum(map(len, before.values()))} rows, cut short {cuts} times, the same after one run more")


def _assert_identities_are_there(people: list[dict[str, str]]) -> None:
    found = rows(without=())
    assert [row["account_id"] for row in found["Account"]] == [ACCOUNT, OTHER_ACCOUNT]
    use_keys, only_keys = (
        f"arn:aws:iam::{ACCOUNT}:policy/teams/UseKeys",
        f"arn:aws:iam::{ACCOUNT}:policy/NothingButKeys",
    )
    assert {row["arn"]: row["tags"] for row in found["ManagedPolicy"]} == {
        use_keys: {"team": "payments"},
        only_keys: {},
    }
    assert found["Group"] == [
        {"arn": f"arn:aws:iam::{ACCOUNT}:group/teams/Services", "group_id": "AGPASERVICES777777777"}
    ]
    users = {row["arn"]: row for row in found["User"]}
    assert users[DORA] == {
        "arn": DORA,
        "user_id": "AIDADORA7777777777777",
        "is_active": True,
        "is_staff": True,
        "is_root": False,
        "tags": {"team": "security", "on-call": "yes"},
        "permissions_boundary.arn": "arn:aws:iam::aws:policy/AdministratorAccess",
        "has_password": True,
    }
    service = users[f"arn:aws:iam::{ACCOUNT}:user/orders-service"]
    assert (service["has_password"], service["permissions_boundary.arn"]) == (False, only_keys)
    assert len(users) == 5  # and two root users
    auditor, on_call = Role.objects.order_by("name")
    assert (auditor.role_id, auditor.arn) == ("AROAAUDITOR7777777777", f"arn:aws:iam::{ACCOUNT}:role/audit/Auditor")
    assert (auditor.max_session_seconds, auditor.description) == (7200, "Reads, and changes nothing")
    eve = User.objects.get(user_name="eve")
    assert auditor.trust_principals == {eve.arn: eve.user_id, on_call.arn: on_call.role_id}
    assert on_call.trust_principals == {ACCOUNT: ACCOUNT, on_call.arn: on_call.role_id}
    assert found["attached"] == [
        {"to": f"arn:aws:iam::{ACCOUNT}:group/teams/Services", "policy": use_keys},
        {"to": auditor.arn, "policy": "arn:aws:iam::aws:policy/ReadOnlyAccess"},
        {"to": DORA, "policy": "arn:aws:iam::aws:policy/AdministratorAccess"},
    ]
    assert [row["user"] for row in found["members"]] == [service["arn"]]
    assert sorted(row["name"] for row in found["InlinePolicy"]) == [
        "LookAtKeys",
        "NoDeletion",
        "ReadKeys",
        "SwitchRole",
    ]
    _assert_people_get_in(people)


def _assert_people_get_in(people: list[dict[str, str]]) -> None:
    names = [(person["account"], person["user_name"]) for person in people]
    assert names == [
        (ACCOUNT, "dora"),
        (ACCOUNT, "dora"),  # of two access keys each has its own line
        (ACCOUNT, "orders-service"),
        (OTHER_ACCOUNT, "eve"),
        (ACCOUNT, "<root>"),
        (OTHER_ACCOUNT, "<root>"),
    ]
    assert (people[0]["access_key_id"], people[0]["password"]) == ("AKIAIOSFODNN7EXAMPLE", "Correct-Horse-2")
    assert people[0]["secret_access_key"] == "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
    assert [bool(person["password"]) for person in people] == [True, True, False, True, True, True]
    assert [bool(person["access_key_id"]) for person in people] == [True, True, True, True, False, True]
    for person in people:
        root_user, name = person["user_name"] == "<root>", person["user_name"]
        user = User.objects.get(
            account=person["account"], is_root=root_user, **({} if root_user else {"user_name": name})
        )
        assert not person["password"] or user.check_password(person["password"])
        if person["access_key_id"]:
            credential = access_keys.find(person["access_key_id"])
            assert credential is not None and credential.secret == person["secret_access_key"].encode()
            assert credential.principal_arn == user.arn
    assert User.objects.get(user_name="dora").password_reset_required
    assert AccessKey.objects.count() == 5


def _assert_keys_are_there(data: Path) -> None:
    found = rows()
    own, generated = sorted(found["Cluster"], key=lambda row: str(row["region"]))
    assert (own["cluster_id"], own["hsm_type"], own["vpc_id"]) == (
        "cluster-likphkxygsn",
        "hsm2m.medium",
        "vpc-1a2b3c4d",
    )
    assert (generated["region"], generated["hsm_type"], generated["state"]) == ("eu-west-1", "hsm1.medium", "ACTIVE")
    hsms = {row["availability_zone"]: row for row in found["Hsm"]}
    assert hsms["eu-central-1a"]["hsm_id"] == "hsm-dfmrbgsedwh" and hsms["eu-central-1a"]["eni_ip"] == "10.0.1.11"
    assert set(hsms) == {"eu-central-1a", "eu-central-1b", "eu-west-1a", "eu-west-1b"}
    stores = {row["name"]: row for row in found["CustomKeyStore"]}
    assert stores["Orders"]["custom_key_store_id"] == "cks-0123456789abcdef0"
    assert [stores[name]["connection_state"] for name in ("Orders", "Archive")] == ["CONNECTED", "DISCONNECTED"]
    assert (data / "demo" / "customerCA.crt").read_text().startswith("-----BEGIN CERTIFICATE-----")
    assert sorted(row["arn"].split(":", 5)[5] for row in found["Alias"]) == [
        "alias/archive",
        "alias/locked",
        "alias/old",
        "alias/orders",
        "alias/orders/2026",
        "alias/paused",
    ]
    states = dict(KmsKey.objects.exclude(key_state="Enabled").values_list("aliases__name", "key_state"))
    assert states == {"alias/paused": "Disabled", "alias/old": "PendingDeletion"}
    old = KmsKey.objects.get(key_state="PendingDeletion")
    assert old.deletion_date is not None and (old.deletion_date - old.created_at).days == 9
    _assert_the_key_is_as_it_is_written(KmsKey.objects.get(key_id=KEY.rpartition("/")[2]))


def _assert_the_key_is_as_it_is_written(key: KmsKey) -> None:
    assert (key.arn, key.description, key.key_state) == (KEY, "Seals orders", "Enabled")
    assert list(key.tags.values_list("tag_key", "tag_value")) == [("team", "payments")]
    assert set(key.policy_principals) == {DORA, f"arn:aws:iam::{ACCOUNT}:user/orders-service"}
    assert json.loads(key.policy)["Version"] == "2012-10-17"
    grants = {tuple(grant.operations): grant for grant in Grant.objects.filter(key=key)}
    auditing = grants["Decrypt", "DescribeKey"]
    assert (auditing.name, auditing.grantee_principal) == ("auditing", f"arn:aws:iam::{OTHER_ACCOUNT}:root")
    assert auditing.constraints == {"EncryptionContextSubset": {"department": "7"}}
    assert grants["Encrypt",].constraints == {"EncryptionContextEquals": {"department": "7", "year": "2026"}}
    assert grants["GenerateDataKey", "Decrypt"].grantee_principal == "dynamodb.amazonaws.com"
    assert len(grants) == 3
    dora = Caller(ACCOUNT, "eu-central-1", DORA, "AIDADORA7777777777777", "dora")
    sealed = dispatch.call(dora, "kms:Encrypt", {"KeyId": "alias/orders", "Plaintext": b"an order"})["CiphertextBlob"]
    assert dispatch.call(dora, "kms:Decrypt", {"CiphertextBlob": sealed})["Plaintext"] == b"an order"


def test_every_password_that_is_drawn_is_one_that_the_policy_takes() -> None:
    file = seed.read(demo.FILE.read_bytes())
    drawn = [value for _ in range(300) for path, value in drawing.draw(file).items() if path.endswith(".password")]
    assert len(drawn) >= 1000 and len(set(drawn)) == len(drawn)
    assert {passwords.problem(password, account="", user_name="") for password in drawn} == {""}
