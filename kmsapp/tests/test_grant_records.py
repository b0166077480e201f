"""What a change of grants leaves behind: epochs and the audit record."""

from __future__ import annotations

import pytest

from hsmapp import epochs
from kmsapp import demo
from kmsapp.models import AuditEvent
from kmsapp.tests.grant_world import ARN, KEY, ROLE, covered, create, last_event, rows
from kmsapp.tests.people import BOB, CAROL, call

__all__ = ["rows"]
pytestmark = pytest.mark.usefixtures("rows")


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
    events = [row.event for row in AuditEvent.objects.filter(event_name="RetireGrant")]
    assert {event["recipientAccountId"] for event in events} == {demo.ACCOUNT, demo.OTHER_ACCOUNT}
    assert all(event["resources"][0]["accountId"] == demo.ACCOUNT for event in events)
