"""The wizard's Finish: one key with its alias or neither, recorded as the calls that AWS's console makes."""

from __future__ import annotations

import datetime
import threading
from pathlib import Path
from typing import Any

import pytest
from django.db import IntegrityError, connection

from hsmapp import clock, key_creation
from hsmapp.models import KeyIntent, MaskedKey
from kmsapp import demo
from kmsapp.audit_reading import read_in
from kmsapp.errors import AlreadyExistsException, DependencyTimeoutException, KmsError
from kmsapp.models import Alias, AuditEvent, CustomKeyStore, KmsKey
from kmsapp.operations import aliases, tags
from kmsapp.tests.one_hsm import FIRST, SECOND, labels
from kmsapp.tests.people import call, finish


def test_two_finishes_with_one_alias_make_one_key(installation: Path) -> None:
    answers: list[object] = []

    def race(draft: str) -> None:
        try:
            answers.append(finish(alias="one", draft=draft))
        except KmsError as error:
            answers.append(error)
        finally:
            connection.close()

    before = KmsKey.objects.count()
    threads = [threading.Thread(target=race, args=(f"draft-{number}",)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    refused = [answer for answer in answers if isinstance(answer, AlreadyExistsException)]
    assert len(answers) == 4 and len(refused) == 3, answers
    assert KmsKey.objects.count() == before + 1
    assert Alias.objects.filter(name="alias/one").count() == 1
    for hsm_id in (FIRST, SECOND):
        assert labels(hsm_id) == set(MaskedKey.objects.values_list("label", flat=True))


def test_a_repeated_finish_of_one_draft_gives_the_same_key(installation: Path) -> None:
    first = finish(alias="again", draft="draft-1")
    second = finish(alias="again", draft="draft-1")
    assert first["KeyMetadata"]["KeyId"] == second["KeyMetadata"]["KeyId"]
    assert KmsKey.objects.filter(aliases__name="alias/again").count() == 1


def test_a_finish_after_a_crash_shows_the_key_it_made_whatever_happened_since(installation: Path) -> None:
    first = finish(alias="one", draft="draft-1")
    call("DisconnectCustomKeyStore", CustomKeyStoreId=demo.KEY_STORE_ID)
    again = finish(alias="two", draft="draft-1")
    assert again["KeyMetadata"]["KeyId"] == first["KeyMetadata"]["KeyId"]
    assert again["AliasName"] == "alias/one"


def open_intent(*, alias: str, draft: str) -> KeyIntent:
    """What a worker leaves that is killed right after it has begun to make a key."""
    now = clock.now()
    return KeyIntent.objects.create(
        cluster=CustomKeyStore.objects.get(custom_key_store_id=demo.KEY_STORE_ID).cluster,
        label=f"arn:aws:kms:{demo.REGION}:{demo.ACCOUNT}:key/99999999-9999-4999-8999-999999999999",
        backing_key_id="ab" * 32,
        reserves=f"arn:aws:kms:{demo.REGION}:{demo.ACCOUNT}:alias/{alias}",
        requested_by=draft,
        created_at=now,
        deadline=now + datetime.timedelta(seconds=30),
    )


def test_a_finish_after_a_killed_one_is_not_kept_from_its_own_alias(installation: Path) -> None:
    left = open_intent(alias="mine", draft="draft-1")
    with pytest.raises(AlreadyExistsException):
        finish(alias="mine", draft="draft-1")
    KeyIntent.objects.filter(pk=left.pk).update(deadline=clock.now())
    assert finish(alias="mine", draft="draft-1")["AliasName"] == "alias/mine"


def last_event() -> dict[str, Any]:
    """The event that was recorded last."""
    read_in(clock.now())
    row = AuditEvent.objects.order_by("-id").first()
    assert row is not None
    event: dict[str, Any] = row.event
    return event


TAG = {"TagKey": "team", "TagValue": "ledger"}
# What the wizard sends -> AWS's name of the call that is refused, and the error.
REFUSED: dict[str, tuple[dict[str, Any], str, str]] = {
    "alias taken": ({"alias": "taken"}, "CreateAlias", "AlreadyExistsException"),
    "alias being taken by another key": ({"alias": "reserved"}, "CreateAlias", "AlreadyExistsException"),
    "AWS's own prefix": ({"alias": "aws/x"}, "CreateAlias", "NotAuthorizedException"),
    "a character that no alias has": ({"alias": "x y"}, "CreateAlias", "ValidationException"),
    "a colon": ({"alias": "x:y"}, "CreateAlias", "ValidationException"),
    "no such store": ({"CustomKeyStoreId": "cks-00000000000000000"}, "CreateKey", "CustomKeyStoreNotFoundException"),
    "description too long": ({"Description": "x" * 8193}, "CreateKey", "ValidationException"),
    "a tag twice": ({"Tags": [TAG, TAG]}, "CreateKey", "TagException"),
    "policy that is not JSON": ({"Policy": "{"}, "CreateKey", "MalformedPolicyDocumentException"),
    "another origin": (
        {"Origin": "EXTERNAL", "CustomKeyStoreId": None},
        "CreateKey",
        "UnsupportedOperationException",
    ),
}


def test_a_refused_finish_is_recorded_as_the_call_that_was_refused(installation: Path) -> None:
    """AWS's console makes two calls, and the record of AWS knows no third one. Tags are part of CreateKey."""
    call("CreateAlias", AliasName="alias/taken", TargetKeyId=demo.KEY_ID)
    open_intent(alias="reserved", draft="somebody else's")
    for name, (params, event_name, code) in REFUSED.items():
        with pytest.raises(KmsError):
            finish(**{"alias": "mine", "draft": "draft-1", **params})
        event = last_event()
        assert (event["eventName"], event["errorCode"]) == (event_name, code), name
        assert event["eventSource"] == "kms.amazonaws.com" and event["resources"] == [], name
        shown = event["requestParameters"]
        assert ("aliasName" in shown) == (event_name == "CreateAlias") == ("origin" not in shown), (name, shown)
    print(f"{len(REFUSED)} refusals of Finish, each recorded by AWS's name")


def test_a_finish_is_recorded_as_both_calls_and_a_repeated_one_as_a_look_at_the_key(installation: Path) -> None:
    before = AuditEvent.objects.count()
    made = finish(alias="mine", draft="draft-1", Tags=[TAG])["KeyMetadata"]
    events = [row.event for row in AuditEvent.objects.order_by("id")[before:]]
    assert [event["eventName"] for event in events] == ["CreateKey", "CreateAlias"]
    assert events[0]["requestParameters"]["tags"] == [{"tagKey": "team", "tagValue": "ledger"}]
    assert "backingKeyId" in events[0]["additionalEventData"]["backingKey"]
    assert events[1]["requestParameters"] == {"aliasName": "alias/mine", "targetKeyId": made["KeyId"]}
    assert "additionalEventData" not in events[1]
    finish(alias="mine", draft="draft-1")
    again = last_event()
    assert (again["eventName"], again["readOnly"]) == ("DescribeKey", True)
    assert again["requestParameters"] == {"keyId": made["KeyId"]}


def test_an_alias_that_is_taken_while_the_key_is_made_is_refused_as_create_alias(
    installation: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody writes the alias after it was found free. It is the alias that is refused, and no key remains."""
    require_free = aliases.require_free

    def then_taken(account: str, region: str, alias_name: str) -> None:
        require_free(account, region, alias_name)
        aliases.write(KmsKey.objects.get(key_id=demo.KEY_ID), alias_name)

    before = (KmsKey.objects.count(), labels(FIRST), labels(SECOND))
    monkeypatch.setattr(aliases, "require_free", then_taken)
    with pytest.raises(AlreadyExistsException, match="alias/mine already exists"):
        finish(alias="mine", draft="draft-1")
    event = last_event()
    assert (event["eventName"], event["errorCode"]) == ("CreateAlias", "AlreadyExistsException")
    assert event["resources"] == [] and "additionalEventData" not in event
    assert (KmsKey.objects.count(), labels(FIRST), labels(SECOND)) == before


def test_another_row_that_is_there_already_is_not_called_a_taken_alias(
    installation: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only the alias's own uniqueness says that the alias is taken; anything else is a fault of ours."""
    monkeypatch.setattr(tags, "require_valid", lambda given: None)
    with pytest.raises(IntegrityError):
        finish(alias="mine", draft="draft-1", Tags=[TAG, TAG])
    event = last_event()
    assert (event["eventName"], event["errorCode"]) == ("CreateKey", "KMSInternalException")


def test_a_key_that_is_not_made_in_time_is_a_timeout_of_the_cluster(
    installation: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = (labels(FIRST), labels(SECOND))
    monkeypatch.setattr(key_creation, "INTENT_SECONDS", 0)
    with pytest.raises(DependencyTimeoutException):
        finish(alias="mine", draft="draft-1")
    assert last_event()["eventName"] == "CreateKey"
    assert (labels(FIRST), labels(SECOND)) == before
