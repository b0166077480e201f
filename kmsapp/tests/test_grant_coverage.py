"""Which grant covers a call, and what policies say of whom a grant names."""

from __future__ import annotations

from typing import Any

import pytest

from hsmapp import epochs
from kmsapp import demo
from kmsapp.caller import Caller
from kmsapp.errors import AccessDeniedException
from kmsapp.models import Role, User
from kmsapp.tests.grant_world import (
    ACCOUNT,
    ARN,
    CAROLS_ACCOUNT,
    KEY,
    ROLE,
    SESSION,
    covered,
    create,
    give_policy,
    listed,
    recreate_bob,
    rows,
    take_policies,
)
from kmsapp.tests.people import BOB, CAROL, MALLORY, call

__all__ = ["rows"]
pytestmark = pytest.mark.usefixtures("rows")


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
