"""A call on another account's key is an event in both accounts.

sharedEventID in https://docs.aws.amazon.com/awscloudtrail/latest/userguide/cloudtrail-event-reference-record-contents.html
"""

from __future__ import annotations

from typing import Any

import pytest

from hsmapp import clock
from kmsapp import audit_reading, demo
from kmsapp.errors import AccessDeniedException, KMSInvalidStateException
from kmsapp.models import AuditEvent, KmsKey
from kmsapp.tests.grant_world import ARN, CAROLS_ACCOUNT, KEY, create, give_policy, rows
from kmsapp.tests.people import BOB, CAROL, call

__all__ = ["rows"]
pytestmark = pytest.mark.usefixtures("rows")

ACCOUNTS = (demo.OTHER_ACCOUNT, demo.ACCOUNT)  # the caller's, the owner's


def events(name: str) -> list[dict[str, Any]]:
    """Those of the caller's account and of the owner's, in this order."""
    audit_reading.read_in(clock.now())
    found = {row.account: row.event for row in AuditEvent.objects.filter(event_name=name)}
    assert len(found) == AuditEvent.objects.filter(event_name=name).count()
    return [found[account] for account in ACCOUNTS if account in found]


def let_carol_in() -> dict[str, Any]:
    made = create(GranteePrincipal=CAROLS_ACCOUNT, RetiringPrincipal=CAROL.principal_arn, Operations=["DescribeKey"])
    give_policy(CAROL, "Allow", "kms:*")
    return made


def require_alike(own: dict[str, Any], owners: dict[str, Any]) -> None:
    """Two events of one call; the owner is told who called by account and unique id alone."""
    assert (own["recipientAccountId"], owners["recipientAccountId"]) == ACCOUNTS
    assert own["sharedEventID"] == owners["sharedEventID"] and own["eventID"] != owners["eventID"]
    assert owners["userIdentity"] == {
        "type": "AWSAccount",
        "principalId": CAROL.principal_id,
        "accountId": demo.OTHER_ACCOUNT,
    }
    differing = ("eventID", "recipientAccountId", "userIdentity")
    assert {**owners, **{name: own[name] for name in differing}} == own


def test_a_call_is_read_in_both_accounts() -> None:
    let_carol_in()
    call("DescribeKey", CAROL, KeyId=ARN)
    own, owners = events("DescribeKey")
    require_alike(own, owners)
    assert owners["resources"] == [{"accountId": demo.ACCOUNT, "type": "AWS::KMS::Key", "ARN": ARN}]
    assert AuditEvent.objects.get(account=demo.ACCOUNT, event_name="DescribeKey").principal == CAROL.principal_id


def test_a_change_is_read_in_both_accounts() -> None:
    made = let_carol_in()
    call("RetireGrant", CAROL, KeyId=ARN, GrantId=made["GrantId"])
    require_alike(*events("RetireGrant"))


def test_a_refusal_of_the_key_s_own_is_read_in_both_accounts() -> None:
    create(GranteePrincipal=CAROLS_ACCOUNT, Operations=["Encrypt"])
    give_policy(CAROL, "Allow", "kms:*")
    KmsKey.objects.filter(key_id=KEY).update(key_state="PendingDeletion")
    with pytest.raises(KMSInvalidStateException):
        call("Encrypt", CAROL, KeyId=ARN, Plaintext=b"x")
    own, owners = events("Encrypt")
    require_alike(own, owners)
    assert owners["errorCode"] == "KMSInvalidStateException"


def test_whom_the_key_does_not_let_in_the_owner_does_not_hear_of() -> None:
    with pytest.raises(AccessDeniedException):
        call("DescribeKey", CAROL, KeyId=ARN)
    (own,) = events("DescribeKey")
    assert own["recipientAccountId"] == demo.OTHER_ACCOUNT and "sharedEventID" not in own


def test_a_call_within_an_account_is_one_event() -> None:
    call("DescribeKey", BOB, KeyId=ARN)
    (own,) = events("DescribeKey")
    assert own["recipientAccountId"] == demo.ACCOUNT and "sharedEventID" not in own
