"""UpdateAlias, DeleteAlias, UntagResource, UpdateKeyDescription, ListKeyPolicies: what they change, and for whom."""

from __future__ import annotations

import datetime
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from hsmapp import clock, epochs
from kmsapp import demo, key_facts
from kmsapp.condition_keys import ALIASES_PER_KEY
from kmsapp.errors import (
    AccessDeniedException,
    InvalidMarkerException,
    KmsError,
    KMSInvalidStateException,
    LimitExceededException,
    NotAuthorizedException,
    NotFoundException,
    ValidationException,
)
from kmsapp.models import Alias, AuditEvent, KmsKey
from kmsapp.tests.people import ALICE, BOB, ELSEWHERE, MALLORY, call

KEY = demo.KEY_ID
ABSENT = "00000000-1111-2222-3333-444444444444"
NAME = "alias/payments"
ROOT = f"arn:aws:iam::{demo.ACCOUNT}:root"


def arn(resource: str) -> str:
    return f"arn:aws:kms:{demo.REGION}:{demo.ACCOUNT}:{resource if '/' in resource else f'key/{resource}'}"


def further_key(**fields: Any) -> str:
    """Another key like the demo's, without material: what is done here needs none."""
    key = KmsKey.objects.get(key_id=KEY)
    key.pk, key.material, key.key_id = None, None, f"{KmsKey.objects.count():08x}-0000-4000-8000-000000000000"
    for name, value in fields.items():
        setattr(key, name, value)
    key.save(force_insert=True)
    epochs.raise_epoch(demo.ACCOUNT)
    return key.key_id


def put(key_id: str, *actions: str) -> None:
    """Let bob do the actions to the key, and nobody but the account anything else."""
    own = {"Effect": "Allow", "Principal": {"AWS": ROOT}, "Action": "kms:*", "Resource": "*"}
    his = {"Effect": "Allow", "Principal": {"AWS": BOB.principal_arn}, "Action": list(actions), "Resource": "*"}
    policy = {"Version": "2012-10-17", "Statement": [own, his] if actions else [own]}
    call("PutKeyPolicy", KeyId=key_id, Policy=json.dumps(policy))


def let_bob(action: str, *resources: str) -> None:
    """His own policy about aliases."""
    statement = {"Effect": "Allow", "Action": action, "Resource": list(resources)}
    document = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    call("iam:PutUserPolicy", UserName="bob", PolicyName="aliases", PolicyDocument=document)


def target(name: str = NAME) -> str:
    return str(call("DescribeKey", KeyId=name)["KeyMetadata"]["KeyId"])


def test_an_alias_is_moved_to_another_key_and_at_once_everywhere(rows: Path) -> None:
    other = further_key()
    call("CreateAlias", AliasName=NAME, TargetKeyId=KEY)
    assert target() == KEY and key_facts.by_alias(demo.ACCOUNT, demo.REGION, NAME) is not None
    before = Alias.objects.get(name=NAME)
    for to in (other, other, KEY, arn(other)):
        assert call("UpdateAlias", AliasName=NAME, TargetKeyId=to) == {}
        assert target() == to.rpartition("/")[2]
        found = key_facts.by_alias(demo.ACCOUNT, demo.REGION, NAME)
        assert found is not None and found.key_id == to.rpartition("/")[2]
    after = Alias.objects.get(name=NAME)
    assert (after.pk, after.created_at) == (before.pk, before.created_at) and after.updated_at > before.updated_at
    event = AuditEvent.objects.filter(event_name="UpdateAlias").latest("id").event
    assert event["requestParameters"] == {"aliasName": NAME, "targetKeyId": arn(other)}
    assert event["responseElements"] == {"keyId": arn(other)}
    assert [resource["ARN"] for resource in event["resources"]] == [arn(other), arn(KEY), arn(NAME)]


def test_an_alias_that_was_deleted_is_gone_at_once_and_its_name_is_free(rows: Path) -> None:
    call("CreateAlias", AliasName=NAME, TargetKeyId=KEY)
    assert call("DeleteAlias", AliasName=NAME) == {}
    assert key_facts.by_alias(demo.ACCOUNT, demo.REGION, NAME) is None
    event = AuditEvent.objects.filter(event_name="DeleteAlias").latest("id").event
    assert (event["requestParameters"], event["readOnly"]) == ({"aliasName": NAME}, False)
    assert [resource["ARN"] for resource in event["resources"]] == [arn(KEY), arn(NAME)]
    with pytest.raises(NotFoundException, match=f"Alias {arn(NAME)} is not found."):
        call("DeleteAlias", AliasName=NAME)
    call("CreateAlias", AliasName=NAME, TargetKeyId=KEY)
    assert target() == KEY


REFUSED: dict[str, tuple[str, dict[str, Any], type[KmsError], str]] = {
    "no such alias": ("UpdateAlias", {"AliasName": "alias/none"}, NotFoundException, "alias/none is not found."),
    "no such alias to delete": ("DeleteAlias", {"AliasName": "alias/none"}, NotFoundException, "is not found."),
    "a name in other letters": ("DeleteAlias", {"AliasName": "alias/Payments"}, NotFoundException, "is not found."),
    "no such key": ("UpdateAlias", {"TargetKeyId": ABSENT}, NotFoundException, "does not exist"),
    "an alias as its target": ("UpdateAlias", {"TargetKeyId": "alias/ExampleKey"}, ValidationException, "Not aliases"),
    "an alias ARN as its target": (
        *("UpdateAlias", {"TargetKeyId": arn("alias/ExampleKey")}, ValidationException, "Not aliases"),
    ),
    "another account's key": (
        "UpdateAlias",
        {"TargetKeyId": arn(KEY).replace(demo.ACCOUNT, demo.OTHER_ACCOUNT)},
        AccessDeniedException,
        "is not authorized to perform: kms:UpdateAlias",
    ),
    "AWS's prefix": ("UpdateAlias", {"AliasName": "alias/aws/s3"}, NotAuthorizedException, "^$"),
    "AWS's prefix to delete": ("DeleteAlias", {"AliasName": "alias/aws/s3"}, NotAuthorizedException, "^$"),
    "no prefix": ("UpdateAlias", {"AliasName": "payments"}, ValidationException, "must start with the prefix"),
    "no prefix to delete": ("DeleteAlias", {"AliasName": "payments"}, ValidationException, "must start with the"),
    "an ARN to delete": ("DeleteAlias", {"AliasName": arn(NAME)}, ValidationException, "must start with the prefix"),
    "a character that aliases have not": ("DeleteAlias", {"AliasName": "alias/a:b"}, ValidationException, "invalid"),
}


def test_what_can_not_be_changed_is_refused_by_name(rows: Path) -> None:
    call("CreateAlias", AliasName=NAME, TargetKeyId=KEY)
    for name, (operation, params, error, message) in REFUSED.items():
        given = {"AliasName": NAME, **({"TargetKeyId": KEY} if operation == "UpdateAlias" else {}), **params}
        with pytest.raises(error, match=message):
            call(operation, **given)
            pytest.fail(name)
    for spec, usage in (("RSA_2048", "ENCRYPT_DECRYPT"), ("RSA_2048", "SIGN_VERIFY"), ("HMAC_256", "MAC")):
        with pytest.raises(ValidationException, match="same type and usage"):
            call("UpdateAlias", AliasName=NAME, TargetKeyId=further_key(key_spec=spec, key_usage=usage))
    for caller in (ELSEWHERE, replace(ALICE, region="eu-central-1")):
        with pytest.raises(NotFoundException):
            call("DeleteAlias", caller, AliasName=NAME)
    assert target() == KEY
    print(f"{len(REFUSED) + 5} refusals")


def test_an_alias_leaves_a_key_in_any_state_and_comes_to_none_that_is_pending_deletion(rows: Path) -> None:
    """Notes of AWS's table of key states."""
    keys = {state: further_key(key_state=state) for state in ("Enabled", "Disabled", "PendingDeletion")}
    for number, (state, key_id) in enumerate(keys.items()):
        Alias.objects.create(
            account=demo.ACCOUNT,
            region=demo.REGION,
            name=f"alias/{number}",
            key=KmsKey.objects.get(key_id=key_id),
            created_at=clock.now(),
            updated_at=clock.now(),
        )
        call("UpdateAlias", AliasName=f"alias/{number}", TargetKeyId=KEY)
        if state != "PendingDeletion":
            call("UpdateAlias", AliasName=f"alias/{number}", TargetKeyId=key_id)
            call("DeleteAlias", AliasName=f"alias/{number}")
            continue
        with pytest.raises(KMSInvalidStateException, match=f"{arn(key_id)} is pending deletion."):
            call("UpdateAlias", AliasName=f"alias/{number}", TargetKeyId=key_id)


def test_the_fiftieth_alias_of_a_key_is_the_last_however_it_comes(rows: Path) -> None:
    other = further_key()
    for number in range(ALIASES_PER_KEY):
        call("CreateAlias", AliasName=f"alias/{number}", TargetKeyId=other)
    call("CreateAlias", AliasName=NAME, TargetKeyId=KEY)
    for operation, name in (("CreateAlias", "alias/51"), ("UpdateAlias", NAME)):
        with pytest.raises(LimitExceededException, match=f"has {ALIASES_PER_KEY} aliases"):
            call(operation, AliasName=name, TargetKeyId=other)
    call("UpdateAlias", AliasName="alias/7", TargetKeyId=other)  # which it has already
    call("UpdateAlias", AliasName="alias/7", TargetKeyId=KEY)
    call("UpdateAlias", AliasName=NAME, TargetKeyId=other)
    assert Alias.objects.filter(key__key_id=other).count() == ALIASES_PER_KEY


def test_permission_is_needed_on_the_alias_and_on_every_key_it_points_to(rows: Path) -> None:
    """On the alias by his own policy, on keys by theirs; who lacks one of them changes nothing."""
    other = further_key()
    call("CreateAlias", AliasName=NAME, TargetKeyId=KEY)
    update = {"AliasName": NAME, "TargetKeyId": other}
    # His policy's resources, what he may do to the current key and to the other one, ARN that the denial names.
    cases: list[tuple[str, dict[str, Any], list[str], list[str], list[str], str]] = [
        ("UpdateAlias", update, [], ["kms:UpdateAlias"], ["kms:UpdateAlias"], arn(NAME)),
        ("UpdateAlias", update, [arn("alias/other")], ["kms:*"], ["kms:*"], arn(NAME)),
        ("UpdateAlias", update, [arn(NAME)], [], ["kms:UpdateAlias"], arn(KEY)),
        ("UpdateAlias", update, [arn(NAME)], ["kms:CreateAlias"], ["kms:UpdateAlias"], arn(KEY)),
        ("UpdateAlias", update, [arn(NAME)], ["kms:UpdateAlias"], [], arn(other)),
        ("UpdateAlias", update, [arn("alias/*")], ["kms:UpdateAlias"], ["kms:UpdateAlias"], ""),
        ("DeleteAlias", {"AliasName": NAME}, [], ["kms:*"], ["kms:DeleteAlias"], arn(NAME)),
        ("DeleteAlias", {"AliasName": NAME}, [arn(NAME)], ["kms:DeleteAlias"], [], arn(other)),
        ("DeleteAlias", {"AliasName": NAME}, [arn(NAME)], [], ["kms:DeleteAlias"], ""),
    ]
    for operation, params, resources, of_current, of_other, denied in cases:
        let_bob(f"kms:{operation}", *(resources or ["arn:aws:kms:*:*:alias/none"]))
        put(KEY, *of_current)
        put(other, *of_other)
        before = list(Alias.objects.order_by("pk").values())
        if not denied:
            call(operation, BOB, **params)
            assert list(Alias.objects.order_by("pk").values()) != before
            continue
        with pytest.raises(AccessDeniedException, match=rf"perform: kms:{operation} on resource: {denied} because"):
            call(operation, BOB, **params)
        assert list(Alias.objects.order_by("pk").values()) == before
    with pytest.raises(AccessDeniedException):
        call("DeleteAlias", MALLORY, AliasName="alias/none")
    print(f"{len(cases)} combinations of permissions on alias and keys")


def test_tags_are_taken_off_at_once_and_those_that_are_not_there_are_passed_over(rows: Path) -> None:
    tags = {"team": "ledger", "Team": "other letters", "cost": "17"}
    call("TagResource", KeyId=KEY, Tags=[{"TagKey": key, "TagValue": value} for key, value in tags.items()])
    found = key_facts.by_id(demo.ACCOUNT, demo.REGION, KEY)
    assert found is not None and found.tags == tags
    assert call("UntagResource", KeyId=arn(KEY), TagKeys=["team", "absent", "team"]) == {}
    found = key_facts.by_id(demo.ACCOUNT, demo.REGION, KEY)
    assert found is not None and found.tags == {"Team": "other letters", "cost": "17"}
    assert call("UntagResource", KeyId=KEY, TagKeys=["absent"]) == call("UntagResource", KeyId=KEY, TagKeys=[]) == {}
    event = AuditEvent.objects.filter(event_name="UntagResource").earliest("id").event
    assert event["requestParameters"] == {"keyId": arn(KEY), "tagKeys": ["team", "absent", "team"]}
    assert event["responseElements"] == {"keyId": arn(KEY)}
    other = further_key()
    call("TagResource", KeyId=other, Tags=[{"TagKey": "cost", "TagValue": "1"}])
    call("UntagResource", KeyId=KEY, TagKeys=["cost", "Team"])
    assert call("ListResourceTags", KeyId=KEY)["Tags"] == []
    assert call("ListResourceTags", KeyId=other)["Tags"] == [{"TagKey": "cost", "TagValue": "1"}]
    with pytest.raises(ValidationException, match=r"at .tagKeys\.1\.member. failed"):
        call("UntagResource", KeyId=KEY, TagKeys=["k" * 129])


def test_a_policy_may_ask_which_tags_are_taken_off(rows: Path) -> None:
    for tag in ("team", "cost"):
        call("TagResource", KeyId=KEY, Tags=[{"TagKey": tag, "TagValue": "x"}])
    own = {"Effect": "Allow", "Principal": {"AWS": ROOT}, "Action": "kms:*", "Resource": "*"}
    his = {**own, "Principal": {"AWS": BOB.principal_arn}, "Action": "kms:UntagResource"}
    his["Condition"] = {"ForAllValues:StringEquals": {"aws:TagKeys": ["team"]}}
    policy = json.dumps({"Version": "2012-10-17", "Statement": [own, his]})
    call("PutKeyPolicy", KeyId=KEY, Policy=policy)
    with pytest.raises(AccessDeniedException):
        call("UntagResource", BOB, KeyId=KEY, TagKeys=["team", "cost"])
    call("UntagResource", BOB, KeyId=KEY, TagKeys=["team"])
    assert [tag["TagKey"] for tag in call("ListResourceTags", KeyId=KEY)["Tags"]] == ["cost"]


def test_a_description_is_replaced_whatever_its_characters(rows: Path) -> None:
    def description() -> str:
        return str(call("DescribeKey", KeyId=KEY)["KeyMetadata"]["Description"])

    for text in ("ledger", "", "x" * 8192, "Schlüssel 密钥 🔑 e\u0301", "<script>\r\n\t'\"%s\\"):
        assert call("UpdateKeyDescription", KeyId=KEY, Description=text) == {}
        assert description() == text
    for text in ("x" * 8193, "a\0b", "\ud800"):
        with pytest.raises(ValidationException):
            call("UpdateKeyDescription", KeyId=KEY, Description=text)
    with pytest.raises(ValidationException, match=r"at .description. failed .* must not be null"):
        call("UpdateKeyDescription", KeyId=KEY)
    event = AuditEvent.objects.filter(event_name="UpdateKeyDescription").earliest("id").event
    assert event["requestParameters"] == {"keyId": KEY, "description": "ledger"}


@pytest.mark.parametrize(
    "use",
    [
        lambda key_id: call("UntagResource", KeyId=key_id, TagKeys=["team"]),
        lambda key_id: call("UpdateKeyDescription", KeyId=key_id, Description="x"),
    ],
    ids=["UntagResource", "UpdateKeyDescription"],
)
def test_only_a_key_that_is_pending_deletion_keeps_its_tags_and_description(
    rows: Path, use: Callable[[str], object]
) -> None:
    use(further_key(key_state="Disabled"))
    day = clock.now() + datetime.timedelta(days=7)
    pending = further_key(key_state="PendingDeletion", deletion_date=day, deletion_scheduled_at=clock.now())
    with pytest.raises(KMSInvalidStateException, match=f"{arn(pending)} is pending deletion."):
        use(pending)


def test_a_key_has_one_policy_and_its_list_no_second_page(rows: Path) -> None:
    asked: tuple[dict[str, Any], ...] = ({}, {"Limit": 1}, {"Limit": 1000})
    for params in asked:
        assert call("ListKeyPolicies", KeyId=KEY, **params) == {"PolicyNames": ["default"], "Truncated": False}
    further_key()
    foreign = call("ListKeys", Limit=1)["NextMarker"]
    for marker in ("x", "é", foreign):
        with pytest.raises(InvalidMarkerException):
            call("ListKeyPolicies", KeyId=KEY, Marker=marker)
    for limit in (0, 1001):
        with pytest.raises(ValidationException):
            call("ListKeyPolicies", KeyId=KEY, Limit=limit)
    pending = further_key(key_state="PendingDeletion")
    assert call("ListKeyPolicies", KeyId=pending)["PolicyNames"] == ["default"]
