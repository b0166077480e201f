"""Who may come in and what they see: other accounts, and people who were switched off."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from hsmapp import clock, epochs
from kmsapp import access, arns, demo, denials, ids
from kmsapp.audit_reading import read_in
from kmsapp.caller import Caller
from kmsapp.errors import AccessDeniedException, InvalidArnException, NotFoundException, ValidationException
from kmsapp.models import AuditEvent, InlinePolicy, KmsKey, User
from kmsapp.policy import defaults
from kmsapp.tests.people import ALICE, BOB, CAROL, ELSEWHERE, MALLORY, call, create_key, encrypt

KEY_ARN = arns.key_arn(demo.REGION, demo.ACCOUNT, demo.KEY_ID)


def test_the_caller_of_another_account_sees_nothing(installation: Path) -> None:
    assert call("ListKeys", ELSEWHERE)["Keys"] == []
    assert len(call("ListKeys", ALICE)["Keys"]) == 1


def test_whoever_switches_a_person_off_switches_their_access_keys_off(installation: Path) -> None:
    from kmsapp.iam import credentials as access_keys
    from kmsapp.models import AccessKey, User

    access_key = AccessKey.objects.select_related("user").get(user__user_name="bob")
    found = access_keys.find(access_key.access_key_id)
    assert found is not None and found.active
    person = User.objects.get(pk=access_key.user.pk)
    person.is_active = False
    person.save()
    found = access_keys.find(access_key.access_key_id)
    assert found is not None and not found.active
    access_key.delete()
    assert access_keys.find(access_key.access_key_id) is None


def test_a_key_that_was_described_is_described_without_a_query_until_something_changes(installation: Path) -> None:
    key_id = create_key()
    with epochs.one_reading():
        call("DescribeKey", KeyId=key_id)
    with CaptureQueriesContext(connection) as queries, epochs.one_reading():
        call("DescribeKey", KeyId=key_id)
    assert queries.captured_queries == []
    call("DisconnectCustomKeyStore", CustomKeyStoreId=demo.KEY_STORE_ID)
    described = call("DescribeKey", KeyId=key_id)["KeyMetadata"]
    assert (described["KeyState"], described["Enabled"]) == ("Unavailable", False)
    described["KeyState"] = "changed by a caller"
    assert call("DescribeKey", KeyId=key_id)["KeyMetadata"]["KeyState"] == "Unavailable"


def test_an_arn_of_another_partition_names_nothing(installation: Path) -> None:
    arn = call("DescribeKey", KeyId=demo.KEY_ID)["KeyMetadata"]["Arn"]
    for partition in ("aws-cn", "aws-us-gov", "", "AWS"):
        with pytest.raises(InvalidArnException):
            call("DescribeKey", KeyId=arn.replace("arn:aws:", f"arn:{partition}:"))


def test_no_key_is_shared_by_other_accounts(installation: Path) -> None:
    assert len(call("ListKeys", ResourceOwners=["SELF", "OTHER_ACCOUNTS_VIA_RAM"])["Keys"]) == 1
    assert call("ListKeys", ResourceOwners=["OTHER_ACCOUNTS_VIA_RAM"]) == {"Keys": [], "Truncated": False}


# Who may do what: the sentence says what was missing


def denial(operation: str, caller: Caller, **params: Any) -> str:
    with pytest.raises(AccessDeniedException) as refused:
        call(operation, caller, **params)
    return refused.value.message


def beginning(caller: Caller, action: str, resource: str) -> str:
    return f"User: {caller.principal_arn} is not authorized to perform: {action} on resource: {resource}"


def let(user_name: str, **statement: Any) -> None:
    """Give a user one more inline policy."""
    user = User.objects.get(user_name=user_name)
    document = json.dumps({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Resource": "*", **statement}]})
    InlinePolicy.objects.create(user=user, name=f"More{user.inline_policies.count()}", document=document)


def test_a_key_that_leaves_it_to_the_account_needs_an_identity_policy(installation: Path) -> None:
    action = "kms:DescribeKey"
    assert denial("DescribeKey", MALLORY, KeyId=demo.KEY_ID) == (
        f"{beginning(MALLORY, action, KEY_ARN)} because no identity-based policy allows the {action} action"
    )
    let("mallory", Action="kms:Describe*")
    assert call("DescribeKey", MALLORY, KeyId=demo.KEY_ID)["KeyMetadata"]["Arn"] == KEY_ARN


def test_a_key_policy_lets_a_user_use_the_key_without_a_policy_of_their_own(installation: Path) -> None:
    blob = encrypt(demo.KEY_ID, b"for bob")
    assert call("Decrypt", BOB, CiphertextBlob=blob)["Plaintext"] == b"for bob"
    assert "kms:GetKeyPolicy" in denial("GetKeyPolicy", BOB, KeyId=demo.KEY_ID)


def test_a_deny_ends_it_wherever_it_stands(installation: Path) -> None:
    let("bob", Effect="Deny", Action="kms:Encrypt")
    assert denial("Encrypt", BOB, KeyId=demo.KEY_ID, Plaintext=b"x") == (
        f"{beginning(BOB, 'kms:Encrypt', KEY_ARN)} with an explicit deny in an identity-based policy"
    )
    let("alice", Effect="Deny", Action="kms:List*")
    assert denial("ListKeys", ALICE).endswith("on resource: * with an explicit deny in an identity-based policy")


def test_a_missing_key_is_said_to_be_missing_before_anybody_is_asked(installation: Path) -> None:
    with pytest.raises(NotFoundException):
        call("DescribeKey", MALLORY, KeyId=ids.new_key_id())


def test_a_ciphertext_tells_nothing_to_who_may_not_open_it(installation: Path) -> None:
    blob = encrypt(demo.KEY_ID, b"x")
    for caller in (MALLORY, CAROL):
        assert denial("Decrypt", caller, CiphertextBlob=blob) == access.CIPHERTEXT_DENIED


def test_both_accounts_must_allow_the_use_of_a_key(installation: Path) -> None:
    use = {"KeyId": KEY_ARN, "Plaintext": b"x"}
    missing = (
        f"{beginning(CAROL, 'kms:Encrypt', KEY_ARN)} because no resource-based policy allows the kms:Encrypt action"
    )
    assert denial("Encrypt", CAROL, **use) == missing
    policy = json.loads(call("GetKeyPolicy", KeyId=demo.KEY_ID)["Policy"])
    policy["Statement"].append(
        {"Effect": "Allow", "Principal": {"AWS": demo.OTHER_ACCOUNT}, "Action": "kms:*", "Resource": "*"}
    )
    call("PutKeyPolicy", KeyId=demo.KEY_ID, Policy=json.dumps(policy))
    assert call("Encrypt", CAROL, **use)["KeyId"] == KEY_ARN
    assert '"arn:aws:iam::444455556666:root"' in call("GetKeyPolicy", KeyId=demo.KEY_ID)["Policy"], "as AWS shows it"
    # What AWS does not let other accounts do stays refused, whatever the policies say.
    assert "kms:GetKeyPolicy" in denial("GetKeyPolicy", ELSEWHERE, KeyId=KEY_ARN)
    User.objects.get(user_name="carol").inline_policies.all().delete()
    epochs.raise_epoch(demo.OTHER_ACCOUNT)
    assert denial("Encrypt", CAROL, **use).endswith("because no identity-based policy allows the kms:Encrypt action")


def test_tags_of_a_new_key_need_their_own_permission(installation: Path) -> None:
    let("mallory", Action="kms:CreateKey")
    tags = [{"TagKey": "a", "TagValue": "b"}]
    params = {"Origin": "AWS_CLOUDHSM", "CustomKeyStoreId": demo.KEY_STORE_ID, "Tags": tags}
    assert denial("CreateKey", MALLORY, **params) == (
        f"User: {MALLORY.principal_arn} is not authorized to perform: kms:TagResource because no identity-based policy "
        "allows the kms:TagResource action"
    )
    let("mallory", Action="kms:TagResource", Resource=f"arn:aws:kms:*:{demo.ACCOUNT}:key/*")
    assert call("CreateKey", MALLORY, **params)["KeyMetadata"]["Enabled"]


def test_a_page_shows_what_its_reader_may_see_and_says_what_not(installation: Path) -> None:
    page = call("console:DescribeKey", BOB, KeyId=demo.KEY_ID)
    assert page["Policy"] == "" and page["Tags"] == [] and page["Aliases"]
    assert set(page["Denied"]) == {"Policy", "Tags"}
    assert "kms:GetKeyPolicy" in page["Denied"]["Policy"]
    assert call("console:DescribeKey", ALICE, KeyId=demo.KEY_ID)["Denied"] == {}


def test_a_stored_key_policy_that_cannot_be_read_can_be_replaced_and_allows_nothing_else(installation: Path) -> None:
    KmsKey.objects.filter(key_id=demo.KEY_ID).update(policy="{", policy_principals={})
    epochs.raise_epoch(demo.ACCOUNT)
    assert "kms:Encrypt" in denial("Encrypt", ALICE, KeyId=demo.KEY_ID, Plaintext=b"x")
    call("PutKeyPolicy", KeyId=demo.KEY_ID, Policy=defaults.default_policy(demo.ACCOUNT))
    assert encrypt(demo.KEY_ID, b"x")


def test_the_record_of_a_denied_decryption_names_the_key_to_its_account_alone(installation: Path) -> None:
    blob = encrypt(demo.KEY_ID, b"x", EncryptionContext={"a": "1"})
    for caller in (MALLORY, CAROL):
        denial("Decrypt", caller, CiphertextBlob=blob, EncryptionContext={"a": "1"})
    read_in(clock.now())
    theirs, own = (row.event for row in AuditEvent.objects.filter(event_name="Decrypt", error_code="AccessDenied"))
    assert theirs["resources"] == [] and denials.of_event(theirs) is None
    assert denials.of_event(own) == denials.Denied(
        MALLORY.principal_arn, "kms:Decrypt", KEY_ARN, encryption_context={"a": "1"}
    )


def simulate(arn: str, action: str, **params: Any) -> dict[str, Any]:
    return call("console:SimulateKeyAccess", KeyId=demo.KEY_ID, PrincipalArn=arn, Action=f"kms:{action}", **params)


def test_the_simulator_knows_grants_of_grants_and_the_contexts_of_both_ends(installation: Path) -> None:
    constraints = {"EncryptionContextSubset": {"a": "1"}}
    operations = ["ReEncryptFrom", "CreateGrant"]
    arn = MALLORY.principal_arn
    call("CreateGrant", KeyId=demo.KEY_ID, GranteePrincipal=arn, Operations=operations, Constraints=constraints)
    assert simulate(arn, "ReEncryptFrom", EncryptionContext={"a": "1"})["Outcome"] == "allow"
    assert simulate(arn, "ReEncryptFrom", EncryptionContext={"a": "2"})["Outcome"] == "implicitDeny"
    assert simulate(arn, "CreateGrant")["Steps"][-1]["Kind"] == "grants"


NO_PRINCIPALS = (
    f"arn:aws:sts::{demo.ACCOUNT}:assumed-role/ExampleRole",
    f"arn:aws:sts::{demo.ACCOUNT}:assumed-role/ExampleRole/",
    f"arn:aws:iam::{demo.ACCOUNT}:assumed-role/ExampleRole/one",
    f"arn:aws:sts::{demo.ACCOUNT}:role/ExampleRole",
    f"arn:aws:sts::{demo.ACCOUNT}:federated-user/fay",
    f"arn:aws:iam::{demo.ACCOUNT}:user/",
    f"arn:aws:iam::{demo.ACCOUNT}:group/KeyUsers",
    f"arn:aws:iam::{demo.ACCOUNT}:root/x",
    "arn:aws:iam::1:root",
    "bob",
)


def test_the_simulator_takes_principals_that_could_call(installation: Path) -> None:
    for arn in NO_PRINCIPALS:
        with pytest.raises(ValidationException, match="is not the ARN of a user, a role, a session"):
            simulate(arn, "Decrypt")
    session = f"arn:aws:sts::{demo.ACCOUNT}:assumed-role/ExampleRole/one"
    for arn in (session, f"arn:aws:iam::{demo.ACCOUNT}:role/ExampleRole", f"arn:aws:iam::{demo.ACCOUNT}:root"):
        assert simulate(arn, "Decrypt")["PrincipalArn"] == arn


def test_the_simulator_does_not_read_another_accounts_policies(installation: Path) -> None:
    answer = simulate(CAROL.principal_arn, "Encrypt")
    assert answer["Outcome"] == "implicitDeny"
    (unread,) = (step for step in answer["Steps"] if step["State"] == "unread")
    assert unread["Kind"] == "identityPolicies" and "another account" in unread["Sentence"]
