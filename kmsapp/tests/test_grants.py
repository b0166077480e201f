"""Grants by dispatch: what CreateGrant takes and refuses, tokens, lists, retiring and revoking, and their records."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.db import connection

from hsmapp import clock, epochs, sealing
from hsmapp.testing import load_database
from kmsapp import audit, audit_reading, demo, dispatch, grants, ids, key_facts, service_models
from kmsapp.call import Call
from kmsapp.caller import Caller
from kmsapp.errors import (
    AccessDeniedException,
    DisabledException,
    DryRunOperationException,
    InvalidArnException,
    InvalidGrantIdException,
    InvalidGrantTokenException,
    KmsError,
    KMSInvalidStateException,
    NotFoundException,
)
from kmsapp.errors import ValidationException as Invalid
from kmsapp.models import AuditEvent, Grant, InlinePolicy, KmsKey, Role, User
from kmsapp.tests.installations import DATABASE_COPY
from kmsapp.tests.people import ALICE, BOB, CAROL, MALLORY, call

KEY = demo.KEY_ID
ARN = f"arn:aws:kms:{demo.REGION}:{demo.ACCOUNT}:key/{KEY}"
ACCOUNT = f"arn:aws:iam::{demo.ACCOUNT}"
ROLE = f"{ACCOUNT}:role/ExampleRole"
SESSION = f"arn:aws:sts::{demo.ACCOUNT}:assumed-role/ExampleRole/one"
TOPIC = f"arn:aws:sns:{demo.REGION}:{demo.ACCOUNT}:topic"
SERVICE: dict[str, Any] = {
    "GranteePrincipal": None,
    "GranteeServicePrincipal": "sns.amazonaws.com",
    "Constraints": {"SourceArn": TOPIC},
    "RetiringServicePrincipal": "sns.amazonaws.com",
}


@pytest.fixture
def rows(
    transactional_db: None, installation_template: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[None]:
    """The demo's database without its HSMs, which no grant asks."""
    load_database(installation_template / DATABASE_COPY)
    monkeypatch.setattr(settings, "DATA", tmp_path)
    monkeypatch.setattr(settings, "MASTER_KEY_FILE", tmp_path / "master.key")
    sealing.make_master_key(settings.MASTER_KEY_FILE)
    sealing.keyring.cache_clear()
    epochs.forget_all()
    audit.close_file()
    yield
    audit.close_file()
    sealing.keyring.cache_clear()


pytestmark = pytest.mark.usefixtures("rows")


def create(caller: Caller = ALICE, **changed: Any) -> dict[str, Any]:
    """CreateGrant for bob; a parameter that is None is left out."""
    asked = {"KeyId": KEY, "GranteePrincipal": BOB.principal_arn, "Operations": ["Decrypt"], **changed}
    return call("CreateGrant", caller, **{name: value for name, value in asked.items() if value is not None})


def listed(**asked: Any) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = call("ListGrants", **{"KeyId": KEY, **asked})["Grants"]
    return found


def covered(caller: Caller, action: str, *, iam_allows: bool = False, **params: Any) -> str:
    """The grant that covers such a call."""
    key = key_facts.by_id(demo.ACCOUNT, demo.REGION, KEY)
    assert key is not None
    asked = Call(caller, "kms", action, params, "", read_only=True)
    return grants.covering(asked, key, f"kms:{action}", iam_allows=iam_allows)


def last_event(name: str) -> dict[str, Any]:
    audit_reading.read_in(clock.now())
    event: dict[str, Any] = AuditEvent.objects.filter(event_name=name).latest("pk").event
    return event


# CreateGrant


def test_a_grant_is_listed_with_all_that_was_asked_for() -> None:
    constraints = {"EncryptionContextSubset": {"Department": "IT"}, "SourceArn": TOPIC}
    made = create(
        KeyId=ARN,
        RetiringPrincipal=f"{ACCOUNT}:role/KMSAdminRole",
        Operations=["Decrypt", "Encrypt", "Decrypt"],
        Constraints={**constraints, "EncryptionContextEquals": None},
        Name="for/bob:1_2-3",
    )
    assert len(made["GrantId"]) == 64 and int(made["GrantId"], 16)
    (entry,) = listed()
    assert clock.now() - entry.pop("CreationDate") < timedelta(minutes=5)
    assert entry == {
        "KeyId": ARN,
        "GrantId": made["GrantId"],
        "Name": "for/bob:1_2-3",
        "GranteePrincipal": BOB.principal_arn,
        "RetiringPrincipal": f"{ACCOUNT}:role/KMSAdminRole",
        "IssuingAccount": f"{ACCOUNT}:root",
        "Operations": ["Decrypt", "Encrypt"],
        "Constraints": constraints,
    }


def test_every_kind_of_principal_can_be_named() -> None:
    federated = f"arn:aws:sts::{demo.ACCOUNT}:federated-user/fay"
    for principal in (BOB.principal_arn, ROLE, SESSION, federated, f"{ACCOUNT}:root", CAROL.principal_arn):
        create(GranteePrincipal=principal, RetiringPrincipal=principal)
        (entry,) = listed(GranteePrincipal=principal)
        assert (entry["GranteePrincipal"], entry["RetiringPrincipal"]) == (principal, principal)
    create(**SERVICE)
    assert len(listed()) == 7
    (entry,) = [entry for entry in listed() if "GranteeServicePrincipal" in entry]
    assert "GranteePrincipal" not in entry and entry["RetiringServicePrincipal"] == "sns.amazonaws.com"


REFUSED: dict[str, tuple[dict[str, Any], type[KmsError]]] = {
    "no grantee": ({"GranteePrincipal": None}, Invalid),
    "two grantees": ({"GranteeServicePrincipal": "sns.amazonaws.com"}, Invalid),
    "two who retire": (
        {"RetiringPrincipal": ROLE, "RetiringServicePrincipal": "sns.amazonaws.com"},
        Invalid,
    ),
    "a service without a source": ({**SERVICE, "Constraints": None}, Invalid),
    "a service that nobody retires": ({**SERVICE, "RetiringServicePrincipal": None}, Invalid),
    "a service as a principal": ({"GranteePrincipal": "sns.amazonaws.com"}, InvalidArnException),
    "a user who is not there": ({"GranteePrincipal": f"{ACCOUNT}:user/nobody"}, InvalidArnException),
    "a user by another case": ({"GranteePrincipal": f"{ACCOUNT}:user/Bob"}, InvalidArnException),
    "a user by another path": ({"GranteePrincipal": f"{ACCOUNT}:user/x/bob"}, InvalidArnException),
    "a role that is not there": ({"GranteePrincipal": f"{ACCOUNT}:role/bob"}, InvalidArnException),
    "a session of no role": (
        {"GranteePrincipal": SESSION.replace("ExampleRole", "NoRole")},
        InvalidArnException,
    ),
    "a session without a name": ({"GranteePrincipal": SESSION.rpartition("/")[0]}, InvalidArnException),
    "a group": ({"GranteePrincipal": f"{ACCOUNT}:group/KeyUsers"}, InvalidArnException),
    "an account that is not there": ({"GranteePrincipal": "arn:aws:iam::999999999999:root"}, InvalidArnException),
    "an account by its number": ({"GranteePrincipal": demo.ACCOUNT}, InvalidArnException),
    "a unique id": ({"GranteePrincipal": BOB.principal_id}, InvalidArnException),
    "everybody": ({"GranteePrincipal": f"{ACCOUNT}:*"}, Invalid),
    "a key": ({"GranteePrincipal": ARN}, InvalidArnException),
    "another partition": ({"GranteePrincipal": "arn:aws-cn:iam::111122223333:root"}, InvalidArnException),
    "nobody who retires": ({"RetiringPrincipal": f"{ACCOUNT}:user/nobody"}, InvalidArnException),
    "no operations": ({"Operations": []}, Invalid),
    "no list of operations": ({"Operations": None}, Invalid),
    "an operation that grants do not have": ({"Operations": ["ReEncrypt"]}, Invalid),
    "an operation of other keys": ({"Operations": ["Decrypt", "Sign"]}, Invalid),
    "an operation that key stores do not have": ({"Operations": ["GenerateDataKeyPair"]}, Invalid),
    "CreateGrant alone": ({"Operations": ["CreateGrant"]}, Invalid),
    "both constraints": (
        {"Constraints": {"EncryptionContextEquals": {"a": "b"}, "EncryptionContextSubset": {"a": "b"}}},
        Invalid,
    ),
    "nine pairs": ({"Constraints": {"EncryptionContextEquals": {f"{n}": "x" for n in range(9)}}}, Invalid),
    "a value of 385 characters": ({"Constraints": {"EncryptionContextSubset": {"a": "x" * 385}}}, Invalid),
    "a key that no context can have": ({"Constraints": {"EncryptionContextSubset": {"x" * 8200: "a"}}}, Invalid),
    "a source that is no ARN": ({"Constraints": {"SourceArn": "x" * 20}}, Invalid),
    "a name with a space": ({"Name": "my grant"}, Invalid),
    "a name of 257 characters": ({"Name": "x" * 257}, Invalid),
    "an alias": ({"KeyId": "alias/ExampleKey"}, NotFoundException),
    "no such key": ({"KeyId": KEY.replace("1", "2")}, NotFoundException),
    "a token that is none": ({"GrantTokens": ["x"]}, InvalidGrantTokenException),
    "a dry run": ({"DryRun": True}, DryRunOperationException),
    "a dry run that would fail": ({"DryRun": True, "Operations": ["Sign"]}, Invalid),
}


@pytest.mark.parametrize(("asked", "error"), REFUSED.values(), ids=REFUSED)
def test_what_is_refused_makes_no_grant(asked: dict[str, Any], error: type[KmsError]) -> None:
    with pytest.raises(error):
        create(**asked)
    assert not Grant.objects.exists()


def test_the_largest_constraint_is_kept_as_it_is() -> None:
    constraints = {"EncryptionContextEquals": {f"Schlüssel {number}": "x" * 384 for number in range(8)}}
    create(Constraints=constraints)
    assert listed()[0]["Constraints"] == constraints


def test_aws_says_who_is_no_principal() -> None:
    nobody = f"{ACCOUNT}:user/nobody"
    with pytest.raises(InvalidArnException, match=f"ARN does not refer to a valid principal: {nobody}"):
        create(GranteePrincipal=nobody)
    with pytest.raises(Invalid, match=r"Grants must not contain only the CreateGrant operation\."):
        create(Operations=["CreateGrant", "CreateGrant"])


STATES: dict[str, type[KmsError] | None] = {
    "Enabled": None,
    "Disabled": DisabledException,
    "PendingDeletion": KMSInvalidStateException,
    "Unavailable": None,
}


@pytest.mark.parametrize("state", STATES)
def test_grants_in_each_key_state(state: str) -> None:
    made, other = create(RetiringPrincipal=BOB.principal_arn), create()
    if state == "Unavailable":
        call("DisconnectCustomKeyStore", CustomKeyStoreId=demo.KEY_STORE_ID)
    else:
        KmsKey.objects.filter(key_id=KEY).update(key_state=state)
        epochs.raise_epoch(demo.ACCOUNT)
    error = STATES[state]
    if error is None:
        create()
    else:
        with pytest.raises(error):
            create()
    assert len(listed()) == (2 if error else 3)
    assert len(call("ListRetirableGrants", RetiringPrincipal=BOB.principal_arn)["Grants"]) == 1
    call("RetireGrant", BOB, KeyId=ARN, GrantId=made["GrantId"])
    call("RevokeGrant", KeyId=KEY, GrantId=other["GrantId"])
    assert len(listed()) == (0 if error else 1)


def test_a_named_grant_is_made_once_and_only_for_the_same_properties() -> None:
    first = create(Name="once", Operations=["Decrypt", "Encrypt"])
    again = create(Name="once", Operations=["Encrypt", "Decrypt"])
    assert first["GrantId"] == again["GrantId"] and first["GrantToken"] != again["GrantToken"]
    changes: list[dict[str, Any]] = [
        {"Name": "twice"},
        {"Operations": ["Decrypt"]},
        {"GranteePrincipal": ROLE},
        {"RetiringPrincipal": ROLE},
        {"Constraints": {"EncryptionContextEquals": {"a": "b"}}},
        {"Constraints": {"EncryptionContextSubset": {"a": "b"}}},
        {"Name": None},
        {"Name": None},
    ]
    made = {create(**{"Name": "once", "Operations": ["Decrypt", "Encrypt"], **change})["GrantId"] for change in changes}
    assert len(made | {first["GrantId"]}) == Grant.objects.count() == len(changes) + 1
    call("RevokeGrant", KeyId=KEY, GrantId=first["GrantId"])
    assert create(Name="once", Operations=["Decrypt", "Encrypt"])["GrantId"] not in made | {first["GrantId"]}


def test_a_namesake_gets_a_grant_of_its_own_by_the_same_call() -> None:
    first = create(Name="once")
    recreate_bob()
    assert create(Name="once")["GrantId"] != first["GrantId"]


def test_eight_at_once_make_one_named_grant() -> None:
    start, made, failed = threading.Barrier(8), list[str](), list[BaseException]()

    def make() -> None:
        try:
            start.wait()
            made.append(create(Name="race")["GrantId"])
        except BaseException as error:
            failed.append(error)
        finally:
            connection.close()

    for _ in range(10):
        threads = [threading.Thread(target=make) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not failed and len(made) == 8 and len(set(made)) == 1
        assert [entry["GrantId"] for entry in listed()] == made[:1]
        call("RevokeGrant", KeyId=KEY, GrantId=made[0])
        made.clear()
    print("10 races of 8 callers")


def recreate_bob() -> Caller:
    """Delete bob and make another user of his name."""
    bob = User.objects.get(user_name="bob")
    account = bob.account
    bob.delete()
    User.objects.create(account=account, user_name="bob", user_id=ids.new_user_id(), created_at=clock.now())
    new = User.objects.get(user_name="bob")
    return Caller(demo.ACCOUNT, demo.REGION, new.arn, new.user_id, "bob")


# Which grant covers a call


def test_a_grant_covers_at_once_what_it_lists_for_whom_it_names() -> None:
    assert covered(BOB, "Decrypt") == ""
    made = create(Constraints={"EncryptionContextEquals": {"a": "b"}})
    assert covered(BOB, "Decrypt", EncryptionContext={"A": "b"}) == made["GrantId"]
    assert covered(BOB, "Decrypt", EncryptionContext={"a": "B"}) == ""
    assert covered(BOB, "Decrypt") == covered(BOB, "Encrypt", EncryptionContext={"a": "b"}) == ""
    assert covered(MALLORY, "Decrypt", EncryptionContext={"a": "b"}) == ""
    assert covered(BOB, "CreateAlias") == ""
    call("RevokeGrant", KeyId=KEY, GrantId=made["GrantId"])
    assert covered(BOB, "Decrypt", EncryptionContext={"a": "b"}) == ""


def test_reencrypt_is_two_operations_each_with_a_context_of_its_own() -> None:
    source = create(Operations=["ReEncryptFrom"], Constraints={"EncryptionContextEquals": {"a": "b"}})["GrantId"]
    target = create(Operations=["ReEncryptTo"], Constraints={"EncryptionContextEquals": {"c": "d"}})["GrantId"]
    contexts: dict[str, Any] = {"SourceEncryptionContext": {"a": "b"}, "DestinationEncryptionContext": {"c": "d"}}
    assert covered(BOB, "ReEncryptFrom", **contexts) == source
    assert covered(BOB, "ReEncryptTo", **contexts) == target
    swapped: dict[str, Any] = {"SourceEncryptionContext": {"c": "d"}, "DestinationEncryptionContext": {"a": "b"}}
    assert covered(BOB, "ReEncryptFrom", **swapped) == covered(BOB, "ReEncryptTo", **swapped) == ""


def test_create_grant_is_covered_for_what_its_grant_holds() -> None:
    narrow = create(Operations=["CreateGrant", "Decrypt"], Constraints={"EncryptionContextSubset": {"a": "b"}})
    wide = create(Operations=["CreateGrant", "Encrypt", "Decrypt"], Constraints={"EncryptionContextEquals": {"c": "d"}})
    asked: list[tuple[list[str], dict[str, Any], str]] = [
        (["Decrypt"], {"EncryptionContextSubset": {"a": "b", "x": "y"}}, narrow["GrantId"]),
        (["Encrypt"], {"EncryptionContextEquals": {"c": "d"}}, wide["GrantId"]),
        (["Encrypt"], {"EncryptionContextSubset": {"a": "b"}}, ""),
        (["Decrypt"], {}, ""),
        (["DescribeKey"], {"EncryptionContextEquals": {"c": "d"}}, ""),
    ]
    for operations, constraints, by in asked:
        assert covered(BOB, "CreateGrant", Operations=operations, Constraints=constraints) == by


def test_a_namesake_has_nothing_by_a_grant_and_is_not_shown_as_its_grantee() -> None:
    made = create(RetiringPrincipal=BOB.principal_arn)
    assert covered(BOB, "Decrypt") == made["GrantId"]
    namesake = recreate_bob()
    assert namesake.principal_arn == BOB.principal_arn
    assert covered(namesake, "Decrypt") == ""
    (entry,) = listed()
    assert entry["GranteePrincipal"] == entry["RetiringPrincipal"] == BOB.principal_id
    assert listed(GranteePrincipal=namesake.principal_arn) == []
    assert listed(GranteePrincipal=BOB.principal_id) == [entry]
    assert call("ListRetirableGrants", RetiringPrincipal=namesake.principal_arn)["Grants"] == []


def test_a_user_who_is_renamed_keeps_grants() -> None:
    made = create()
    User.objects.filter(user_name="bob").update(user_name="robert")
    epochs.raise_epoch(demo.ACCOUNT)
    robert = Caller(demo.ACCOUNT, demo.REGION, f"{ACCOUNT}:user/robert", BOB.principal_id, "robert")
    assert covered(robert, "Decrypt") == made["GrantId"]
    assert [entry["GranteePrincipal"] for entry in listed(GranteePrincipal=robert.principal_arn)] == [
        robert.principal_arn
    ]


def test_a_role_s_grants_are_those_of_its_sessions_and_a_session_s_its_own() -> None:
    role_id = Role.objects.get(name="ExampleRole").role_id

    def session(name: str) -> Caller:
        arn = SESSION.replace("/one", f"/{name}")
        return Caller(demo.ACCOUNT, demo.REGION, arn, f"{role_id}:{name}", role_arn=ROLE)

    for_all = create(GranteePrincipal=ROLE, Operations=["Encrypt"])["GrantId"]
    for_one = create(GranteePrincipal=SESSION, Operations=["Decrypt"])["GrantId"]
    assert [covered(session(name), "Encrypt") for name in ("one", "two")] == [for_all, for_all]
    assert [covered(session(name), "Decrypt") for name in ("one", "two")] == [for_one, ""]
    assert [entry["GrantId"] for entry in listed(GranteePrincipal=ROLE)] == [for_all]
    assert [entry["GrantId"] for entry in listed(GranteePrincipal=SESSION)] == [for_one]


def test_a_grant_to_an_account_is_for_those_whom_its_policies_allow() -> None:
    made = create(GranteePrincipal=f"arn:aws:iam::{demo.OTHER_ACCOUNT}:root")["GrantId"]
    assert covered(CAROL, "Decrypt") == ""
    assert covered(CAROL, "Decrypt", iam_allows=True) == made
    root = Caller(demo.OTHER_ACCOUNT, demo.REGION, f"arn:aws:iam::{demo.OTHER_ACCOUNT}:root", demo.OTHER_ACCOUNT)
    assert covered(root, "Decrypt") == made
    assert covered(BOB, "Decrypt", iam_allows=True) == ""


# Tokens


def takes_tokens() -> dict[str, dict[str, Any]]:
    """Every operation that is built and takes grant tokens, with parameters that are enough for it to be asked."""
    kms = service_models.service("kms")
    return {
        name: {member: least(kms.operation(name).input.parts[member]) for member in kms.operation(name).input.required}
        for name in kms.operation_names
        if "GrantTokens" in kms.operation(name).input.parts and dispatch.is_built(f"kms:{name}")
    }


def least(shape: service_models.Shape) -> Any:
    """A value that such a member can have."""
    if shape.kind == "list":
        return [least(shape.parts["member"])]
    return b"x" if shape.kind == "blob" else (shape.enum or (KEY,))[0]


def bad_tokens() -> dict[str, str]:
    good = create()["GrantToken"]
    sealed = bytearray(base64.b64decode(good))
    sealed[-1] ^= 1
    revoked, retired = create(), create(RetiringPrincipal=BOB.principal_arn)
    call("RevokeGrant", KeyId=KEY, GrantId=revoked["GrantId"])
    call("RetireGrant", BOB, GrantToken=retired["GrantToken"])
    return {
        "no base64": "never a token",
        "no ASCII": "Schlüssel",
        "base64 of nothing of ours": base64.b64encode(b"nothing of ours").decode(),
        "a part": good[: len(good) // 8 * 4],
        "one bit changed": base64.b64encode(sealed).decode(),
        "revoked": revoked["GrantToken"],
        "retired": retired["GrantToken"],
        "of another Region": grants.new_token(demo.ACCOUNT, "eu-west-1", listed()[0]["GrantId"]),
        "of no grant": grants.new_token(demo.ACCOUNT, demo.REGION, ids.new_grant_id()),
        "sealed for something else": base64.b64encode(
            sealing.keyring().seal(b"x", purpose=sealing.ACCESS_KEY, table="", row="")
        ).decode(),
    }


def test_a_bad_token_is_refused_by_every_operation_that_takes_tokens() -> None:
    bad, good = bad_tokens(), create()["GrantToken"]
    operations = takes_tokens()
    assert {"Encrypt", "Decrypt", "GenerateDataKey", "DescribeKey", "CreateGrant"} <= set(operations)
    for operation, params in operations.items():
        for sentence, token in bad.items():
            with pytest.raises(InvalidGrantTokenException):
                call(operation, **params, GrantTokens=[good, token])
                pytest.fail(f"{operation}: {sentence}")
    for sentence, token in bad.items():
        with pytest.raises(InvalidGrantTokenException):
            call("RetireGrant", BOB, GrantToken=token)
            pytest.fail(sentence)
    print(f"{len(bad)} bad tokens, {len(operations) + 1} operations")


def test_ten_good_tokens_are_taken_eleven_are_not() -> None:
    tokens = [create()["GrantToken"] for _ in range(11)]
    assert call("DescribeKey", KeyId=KEY, GrantTokens=tokens[:10])["KeyMetadata"]["Arn"] == ARN
    with pytest.raises(Invalid):
        call("DescribeKey", KeyId=KEY, GrantTokens=tokens)


def test_an_operation_without_grant_tokens_ignores_them() -> None:
    made = create()
    assert call("RevokeGrant", KeyId=KEY, GrantId=made["GrantId"], GrantTokens=["x"]) == {}


def test_a_token_tells_nothing_and_is_another_each_time() -> None:
    first, again = create(Name="once"), create(Name="once")
    for made in (first, again):
        raw = base64.b64decode(made["GrantToken"], validate=True)
        for secret in (made["GrantId"].encode(), bytes.fromhex(made["GrantId"]), KEY.encode(), demo.ACCOUNT.encode()):
            assert secret not in raw
    assert first["GrantToken"] != again["GrantToken"]
    call("RetireGrant", GrantToken=first["GrantToken"])
    with pytest.raises(InvalidGrantTokenException):
        call("RetireGrant", GrantToken=again["GrantToken"])


# Lists


def test_pages_have_each_grant_once_and_a_hundred_at_most() -> None:
    made = sorted(create()["GrantId"] for _ in range(103))
    assert [len(listed()), len(listed(Limit=1000)), len(listed(Limit=7))] == [50, 100, 7]
    found: list[str] = []
    asked: dict[str, Any] = {"KeyId": KEY, "Limit": 40}
    while True:
        page = call("ListGrants", **asked)
        found += [entry["GrantId"] for entry in page["Grants"]]
        assert page["Truncated"] is ("NextMarker" in page)
        if not page["Truncated"]:
            break
        asked["Marker"] = page["NextMarker"]
    assert found == made


def test_filters() -> None:
    mine, theirs = create(), create(GranteePrincipal=ROLE, RetiringPrincipal=BOB.principal_arn)
    assert [entry["GrantId"] for entry in listed(GrantId=mine["GrantId"])] == [mine["GrantId"]]
    assert [entry["GrantId"] for entry in listed(GranteePrincipal=ROLE)] == [theirs["GrantId"]]
    assert listed(GrantId=mine["GrantId"], GranteePrincipal=ROLE) == []
    assert listed(GrantId=ids.new_grant_id()) == []
    retirable = call("ListRetirableGrants", RetiringPrincipal=BOB.principal_arn)
    assert [entry["GrantId"] for entry in retirable["Grants"]] == [theirs["GrantId"]]
    assert call("ListRetirableGrants", RetiringPrincipal=ROLE) == {"Grants": [], "Truncated": False}


REFUSED_LISTS: dict[str, tuple[str, dict[str, Any], type[KmsError]]] = {
    "no grant id": ("ListGrants", {"KeyId": KEY, "GrantId": "x"}, InvalidGrantIdException),
    "nobody": ("ListGrants", {"KeyId": KEY, "GranteePrincipal": f"{ACCOUNT}:user/nobody"}, InvalidArnException),
    "two filters": (
        "ListGrants",
        {"KeyId": KEY, "GranteePrincipal": ROLE, "GranteeServicePrincipal": "sns.amazonaws.com"},
        Invalid,
    ),
    "a service's filter": ("ListGrants", {"KeyId": KEY, "GranteeServicePrincipal": "sns.amazonaws.com"}, Invalid),
    "no key": ("ListGrants", {}, Invalid),
    "nobody who retires": ("ListRetirableGrants", {}, Invalid),
    "no such user": ("ListRetirableGrants", {"RetiringPrincipal": f"{ACCOUNT}:user/nobody"}, InvalidArnException),
    "another account's user": (
        "ListRetirableGrants",
        {"RetiringPrincipal": CAROL.principal_arn},
        AccessDeniedException,
    ),
    "another account's nobody": (
        "ListRetirableGrants",
        {"RetiringPrincipal": CAROL.principal_arn.replace("carol", "nobody")},
        AccessDeniedException,
    ),
    "a service": ("ListRetirableGrants", {"RetiringServicePrincipal": "sns.amazonaws.com"}, Invalid),
}


@pytest.mark.parametrize(("operation", "asked", "error"), REFUSED_LISTS.values(), ids=REFUSED_LISTS)
def test_lists_that_are_refused(operation: str, asked: dict[str, Any], error: type[KmsError]) -> None:
    with pytest.raises(error):
        call(operation, **asked)


def test_a_marker_is_of_one_list() -> None:
    for _ in range(3):
        create(RetiringPrincipal=BOB.principal_arn)
    marker = call("ListGrants", KeyId=KEY, Limit=1)["NextMarker"]
    with pytest.raises(KmsError, match="marker"):
        call("ListGrants", KeyId=KEY, Limit=1, Marker=marker, GranteePrincipal=BOB.principal_arn)
    with pytest.raises(KmsError, match="marker"):
        call("ListRetirableGrants", RetiringPrincipal=BOB.principal_arn, Marker=marker)


# Retiring and revoking


CAROLS_ACCOUNT = f"arn:aws:iam::{demo.OTHER_ACCOUNT}:root"
BY_GRANT = {"GranteePrincipal": CAROL.principal_arn, "RetiringPrincipal": CAROL.principal_arn}
AS_GRANTEE = {"GranteePrincipal": CAROL.principal_arn, "Operations": ["Decrypt", "RetireGrant"]}
TO_ACCOUNT = {"RetiringPrincipal": CAROLS_ACCOUNT}
OWN_ROOT = Caller(demo.ACCOUNT, demo.REGION, f"{ACCOUNT}:root", demo.ACCOUNT, principal_type="Root")
CAROLS_ROOT = Caller(demo.OTHER_ACCOUNT, demo.REGION, CAROLS_ACCOUNT, demo.OTHER_ACCOUNT, principal_type="Root")
# who asks, the grant, the Effect of an IAM policy of theirs about kms:RetireGrant, whether they may
RETIRERS: dict[str, tuple[Caller, dict[str, Any], str, bool]] = {
    "the retiring principal": (CAROL, {"RetiringPrincipal": CAROL.principal_arn}, "", True),
    "the retiring principal, denied by IAM": (CAROL, {"RetiringPrincipal": CAROL.principal_arn}, "Deny", False),
    "the grantee with RetireGrant": (CAROL, AS_GRANTEE, "", True),
    "the grantee with RetireGrant, denied by IAM": (CAROL, AS_GRANTEE, "Deny", False),
    "the grantee without": (CAROL, {"GranteePrincipal": CAROL.principal_arn}, "Allow", False),
    "another account": (CAROL, {}, "Allow", False),
    "another account's root user": (CAROLS_ROOT, {}, "", False),
    "root of the issuing account": (OWN_ROOT, BY_GRANT, "", True),
    "somebody of the issuing account": (MALLORY, BY_GRANT, "", False),
    "somebody of the issuing account, by IAM": (MALLORY, BY_GRANT, "Allow", True),
    "root of a named account": (CAROLS_ROOT, TO_ACCOUNT, "", True),
    "somebody of a named account": (CAROL, TO_ACCOUNT, "", False),
    "somebody of a named account, by IAM": (CAROL, TO_ACCOUNT, "Allow", True),
}


@pytest.mark.parametrize("how", ["pair", "token"])
@pytest.mark.parametrize(("caller", "asked", "effect", "allowed"), RETIRERS.values(), ids=RETIRERS)
def test_who_retires_a_grant(caller: Caller, asked: dict[str, Any], effect: str, allowed: bool, how: str) -> None:
    made = create(**asked)
    if effect:
        give_policy(caller, effect, "kms:RetireGrant")
    given = {"KeyId": ARN, "GrantId": made["GrantId"]} if how == "pair" else {"GrantToken": made["GrantToken"]}
    if allowed:
        assert call("RetireGrant", caller, **given) == {}
    else:
        with pytest.raises(AccessDeniedException):
            call("RetireGrant", caller, **given)
    assert Grant.objects.exists() is not allowed


def give_policy(caller: Caller, effect: str, *actions: str) -> None:
    """Give a user an IAM policy of one statement on all keys."""
    document = {"Version": "2012-10-17", "Statement": [{"Effect": effect, "Action": actions, "Resource": "*"}]}
    user = User.objects.get(user_id=caller.principal_id)
    InlinePolicy.objects.create(user=user, name="given", document=json.dumps(document))


def take_policies(caller: Caller) -> None:
    """Leave a user without any policy."""
    user = User.objects.get(user_id=caller.principal_id)
    user.managed_policies.clear()
    user.inline_policies.all().delete()
    user.groups.clear()
    epochs.raise_epoch(caller.account)


def test_a_grant_to_another_account_is_used_by_whom_that_account_allows() -> None:
    take_policies(CAROL)
    for grantee in (CAROL.principal_arn, CAROLS_ACCOUNT):
        made = create(GranteePrincipal=grantee, Operations=["DescribeKey"])
        with pytest.raises(AccessDeniedException):
            call("DescribeKey", CAROL, KeyId=ARN)
        give_policy(CAROL, "Allow", "kms:DescribeKey")
        assert call("DescribeKey", CAROL, KeyId=ARN)["KeyMetadata"]["Arn"] == ARN
        call("RevokeGrant", KeyId=KEY, GrantId=made["GrantId"])
        with pytest.raises(AccessDeniedException):
            call("DescribeKey", CAROL, KeyId=ARN)
        take_policies(CAROL)


def test_a_policy_that_denies_is_stronger_than_a_grant() -> None:
    create(GranteePrincipal=MALLORY.principal_arn, Operations=["DescribeKey"])
    assert call("DescribeKey", MALLORY, KeyId=ARN)["KeyMetadata"]["Arn"] == ARN
    give_policy(MALLORY, "Deny", "kms:Describe*")
    with pytest.raises(AccessDeniedException, match="explicit deny"):
        call("DescribeKey", MALLORY, KeyId=ARN)


def test_grants_are_made_listed_and_revoked_by_whom_policies_allow() -> None:
    made = create(GranteePrincipal=MALLORY.principal_arn)
    for operation, params in (
        ("CreateGrant", {"GranteePrincipal": MALLORY.principal_arn, "Operations": ["Decrypt"]}),
        ("ListGrants", {}),
        ("RevokeGrant", {"GrantId": made["GrantId"]}),
        ("RevokeGrant", {"GrantId": "0" * 64}),
    ):
        with pytest.raises(AccessDeniedException):
            call(operation, MALLORY, KeyId=ARN, **params)
    with pytest.raises(AccessDeniedException):
        call("ListRetirableGrants", MALLORY, RetiringPrincipal=MALLORY.principal_arn)
    give_policy(MALLORY, "Allow", "kms:ListRetirableGrants")
    assert call("ListRetirableGrants", MALLORY, RetiringPrincipal=MALLORY.principal_arn)["Grants"] == []


def test_another_account_is_not_told_which_keys_and_grants_there_are() -> None:
    made, texts = create(), set()
    for key, grant_id in (
        (ARN, made["GrantId"]),
        (ARN, ids.new_grant_id()),
        (ARN.replace("1234abcd", "00000000"), made["GrantId"]),
    ):
        with pytest.raises(AccessDeniedException) as raised:
            call("RetireGrant", CAROL, KeyId=key, GrantId=grant_id)
        texts.add(raised.value.message.replace(key, "<key>"))
    assert len(texts) == 1 and Grant.objects.count() == 1


REFUSED_ENDS: dict[str, tuple[str, dict[str, Any], type[KmsError]]] = {
    "no such grant": ("RevokeGrant", {"KeyId": KEY, "GrantId": "0" * 64}, NotFoundException),
    "no grant id": ("RevokeGrant", {"KeyId": KEY, "GrantId": "0" * 63}, InvalidGrantIdException),
    "a grant id in capitals": ("RevokeGrant", {"KeyId": KEY, "GrantId": "A" * 64}, InvalidGrantIdException),
    "no key": ("RevokeGrant", {"KeyId": KEY.replace("1", "2"), "GrantId": "0" * 64}, NotFoundException),
    "an alias": ("RevokeGrant", {"KeyId": "alias/ExampleKey", "GrantId": "0" * 64}, NotFoundException),
    "nothing to retire": ("RetireGrant", {}, Invalid),
    "no grant to retire": ("RetireGrant", {"KeyId": ARN}, Invalid),
    "no key to retire on": ("RetireGrant", {"GrantId": "0" * 64}, Invalid),
    "token and pair": ("RetireGrant", {"KeyId": ARN, "GrantId": "0" * 64, "GrantToken": "x"}, Invalid),
    "no such grant to retire": ("RetireGrant", {"KeyId": ARN, "GrantId": "0" * 64}, NotFoundException),
    "no grant id to retire": ("RetireGrant", {"KeyId": ARN, "GrantId": "x"}, InvalidGrantIdException),
    "no ARN": ("RetireGrant", {"KeyId": "arn:aws:kms", "GrantId": "0" * 64}, InvalidArnException),
    "another Region": (
        "RetireGrant",
        {"KeyId": ARN.replace(demo.REGION, "eu-west-1"), "GrantId": "0" * 64},
        NotFoundException,
    ),
}


@pytest.mark.parametrize(("operation", "asked", "error"), REFUSED_ENDS.values(), ids=REFUSED_ENDS)
def test_ends_that_are_refused_end_nothing(operation: str, asked: dict[str, Any], error: type[KmsError]) -> None:
    create()
    with pytest.raises(error):
        call(operation, **asked)
    assert len(listed()) == 1


def test_a_dry_run_ends_nothing() -> None:
    made = create()
    pair = {"KeyId": ARN, "GrantId": made["GrantId"], "DryRun": True}
    for operation, asked in (
        ("RevokeGrant", pair),
        ("RetireGrant", pair),
        ("RetireGrant", {"GrantToken": made["GrantToken"], "DryRun": True}),
    ):
        with pytest.raises(DryRunOperationException):
            call(operation, **asked)
    assert len(listed()) == 1


def test_the_grant_of_another_key_is_not_revoked() -> None:
    made, key = create(), KmsKey.objects.get(key_id=KEY)
    key.pk, key.material, key.key_id = None, None, ids.new_key_id()
    key.save(force_insert=True)
    epochs.raise_epoch(demo.ACCOUNT)
    for operation in ("RevokeGrant", "RetireGrant"):
        with pytest.raises(NotFoundException):
            call(operation, KeyId=key.key_id, GrantId=made["GrantId"])
    assert listed(KeyId=key.key_id) == [] and len(listed()) == 1


# Epochs and records


def test_every_account_that_a_change_concerns_sees_it_at_once() -> None:
    made = create(GranteePrincipal=CAROL.principal_arn, RetiringPrincipal=CAROL.principal_arn)
    before = {account: epochs.current(account) for account in (demo.ACCOUNT, demo.OTHER_ACCOUNT)}
    assert covered(CAROL, "Decrypt") == made["GrantId"]
    call("RetireGrant", CAROL, KeyId=ARN, GrantId=made["GrantId"])
    assert all(epochs.current(account) > number for account, number in before.items())
    assert covered(CAROL, "Decrypt") == ""


def test_records_are_as_cloudtrail_has_them_and_hold_no_token() -> None:
    other = create()
    made = create(
        KeyId=ARN,
        RetiringPrincipal=ROLE,
        Constraints={"EncryptionContextSubset": {"a": "b"}},
        Name="recorded",
        GrantTokens=[other["GrantToken"]],
    )
    event = last_event("CreateGrant")
    assert event["requestParameters"] == {
        "keyId": ARN,
        "granteePrincipal": BOB.principal_arn,
        "retiringPrincipal": ROLE,
        "operations": ["Decrypt"],
        "constraints": {"encryptionContextSubset": {"a": "b"}},
        "name": "recorded",
    }
    assert event["responseElements"] == {"grantId": made["GrantId"], "keyId": ARN}
    assert (event["readOnly"], event["resources"][0]["ARN"]) == (False, ARN)
    call("RetireGrant", GrantToken=made["GrantToken"])
    event = last_event("RetireGrant")
    assert (event["requestParameters"], event["responseElements"]) == (None, {"keyId": ARN})
    assert event["additionalEventData"] == {"grantId": made["GrantId"]}
    call("RevokeGrant", KeyId=KEY, GrantId=other["GrantId"])
    event = last_event("RevokeGrant")
    assert event["requestParameters"] == {"keyId": KEY, "grantId": other["GrantId"]}
    assert event["responseElements"] == {"keyId": ARN}
    everything = "".join(str(event) for event in AuditEvent.objects.values_list("event", flat=True))
    assert made["GrantToken"] not in everything and other["GrantToken"] not in everything


def test_the_resource_in_a_record_is_of_the_account_of_the_key() -> None:
    made = create(RetiringPrincipal=CAROL.principal_arn)
    call("RetireGrant", CAROL, KeyId=ARN, GrantId=made["GrantId"])
    event = last_event("RetireGrant")
    assert event["resources"][0]["accountId"] == demo.ACCOUNT and event["recipientAccountId"] == demo.OTHER_ACCOUNT
