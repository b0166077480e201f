"""CreateGrant: what it takes and refuses, and when it makes a grant anew."""

from __future__ import annotations

import threading
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection

from hsmapp import clock, epochs
from kmsapp import demo
from kmsapp.errors import (
    DisabledException,
    DryRunOperationException,
    InvalidArnException,
    InvalidGrantTokenException,
    KmsError,
    KMSInvalidStateException,
    NotFoundException,
)
from kmsapp.errors import ValidationException as Invalid
from kmsapp.models import Grant, KmsKey
from kmsapp.tests.grant_world import (
    ACCOUNT,
    ARN,
    KEY,
    ROLE,
    SERVICE,
    SESSION,
    TOPIC,
    create,
    listed,
    recreate_bob,
    rows,
)
from kmsapp.tests.people import BOB, CAROL, call

__all__ = ["rows"]
pytestmark = pytest.mark.usefixtures("rows")


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
