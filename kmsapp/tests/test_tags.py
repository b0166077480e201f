"""Tags: what TagResource writes, how often, and what it refuses without writing any of it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from kmsapp import demo
from kmsapp.errors import AccessDeniedException, InvalidArnException, KmsError, NotFoundException, TagException
from kmsapp.errors import ValidationException as Invalid
from kmsapp.models import AuditEvent
from kmsapp.operations.tags import TAGS_PER_KEY
from kmsapp.tests.people import ELSEWHERE, call, create_key

KEY = demo.KEY_ID
ARN = f"arn:aws:kms:{demo.REGION}:{demo.ACCOUNT}:key/{KEY}"


@pytest.fixture
def key(installation: Path) -> Iterator[str]:
    """A key with one tag."""
    call("TagResource", KeyId=KEY, Tags=[tag("team", "ledger")])
    yield KEY


def tag(key: str, value: str = "") -> dict[str, str]:
    return {"TagKey": key, "TagValue": value}


def tags(key_id: str = KEY) -> dict[str, str]:
    return {entry["TagKey"]: entry["TagValue"] for entry in call("ListResourceTags", KeyId=key_id)["Tags"]}


def test_tags_are_added_and_replaced_by_key_id_and_by_arn(key: str) -> None:
    assert call("TagResource", KeyId=key, Tags=[tag("cost center", "17"), tag("Team", "other case")]) == {}
    assert tags() == {"team": "ledger", "cost center": "17", "Team": "other case"}
    call("TagResource", KeyId=ARN, Tags=[tag("team", "payments"), tag("empty")])
    assert tags(ARN) == {"team": "payments", "cost center": "17", "Team": "other case", "empty": ""}


def test_every_allowed_character_and_length_is_kept_as_it_is(key: str) -> None:
    wanted = {
        "a" * 128: "b" * 256,
        "_.:/=+-@ 09": "_.:/=+-@ 09",
        "Schlüssel": "密钥",
        "\u0645\u0641\u062a\u0627\u062d": "Ключ",
        "notaws:x": "aws:may be a value",
    }
    call("TagResource", KeyId=key, Tags=[tag(name, value) for name, value in wanted.items()])
    assert tags() == {"team": "ledger", **wanted}


def test_the_fiftieth_tag_is_the_last(key: str) -> None:
    call("TagResource", KeyId=key, Tags=[tag(f"tag {number}") for number in range(TAGS_PER_KEY - 1)])
    assert len(tags()) == TAGS_PER_KEY
    with pytest.raises(TagException, match="Too many tags"):
        call("TagResource", KeyId=key, Tags=[tag("team", "not even this one"), tag("one more")])
    assert len(tags()) == TAGS_PER_KEY and tags()["team"] == "ledger"
    call("TagResource", KeyId=key, Tags=[tag("team", "a full key still takes new values")])
    assert tags()["team"] == "a full key still takes new values"


REFUSED: dict[str, tuple[dict[str, Any], type[KmsError]]] = {
    "51 tags at once": ({"Tags": [tag(f"tag {number}") for number in range(51)]}, TagException),
    "a key twice": ({"Tags": [tag("twice", "a"), tag("twice", "b")]}, TagException),
    "AWS's own prefix": ({"Tags": [tag("good"), tag("aws:x")]}, TagException),
    "AWS's own prefix in capitals": ({"Tags": [tag("good"), tag("AWS:x")]}, TagException),
    "a character not allowed in a key": ({"Tags": [tag("good"), tag("a;b")]}, TagException),
    "a character not allowed in a value": ({"Tags": [tag("good"), tag("a", "b;c")]}, TagException),
    "a newline in a key": ({"Tags": [tag("good"), tag("a\nb")]}, TagException),
    "a newline at the end of a value": ({"Tags": [tag("good"), tag("a", "b\n")]}, TagException),
    "an empty key": ({"Tags": [tag("good"), tag("")]}, Invalid),
    "a key of 129 characters": ({"Tags": [tag("good"), tag("a" * 129)]}, Invalid),
    "a value of 257 characters": ({"Tags": [tag("good"), tag("a", "b" * 257)]}, Invalid),
    "a NUL": ({"Tags": [tag("good"), tag("a\0b")]}, Invalid),
    "a tag without a value": ({"Tags": [{"TagKey": "a"}]}, Invalid),
    "no list": ({}, Invalid),
    "an alias": ({"KeyId": "alias/ExampleKey", "Tags": [tag("good")]}, NotFoundException),
    "no key": ({"KeyId": "00000000-0000-4000-8000-000000000000", "Tags": [tag("good")]}, NotFoundException),
    "no ARN": ({"KeyId": "arn:aws:kms", "Tags": [tag("good")]}, InvalidArnException),
}


def test_what_is_refused_leaves_no_tag(key: str) -> None:
    changes = AuditEvent.objects.filter(event_name="TagResource").count()
    for sentence, (asked, error) in REFUSED.items():
        with pytest.raises(error):
            call("TagResource", **{"KeyId": key, **asked})
            pytest.fail(sentence)
    assert tags() == {"team": "ledger"}
    assert AuditEvent.objects.filter(event_name="TagResource").count() == changes
    print(f"{len(REFUSED)} refusals, no tag left")


def test_no_tags_change_nothing(key: str) -> None:
    call("TagResource", KeyId=key, Tags=[])
    assert tags() == {"team": "ledger"}


def test_another_account_tags_nothing(key: str) -> None:
    with pytest.raises(NotFoundException):
        call("TagResource", ELSEWHERE, KeyId=KEY, Tags=[tag("mine")])
    with pytest.raises(AccessDeniedException):
        call("TagResource", ELSEWHERE, KeyId=ARN, Tags=[tag("mine")])
    assert tags() == {"team": "ledger"}


def test_a_change_of_tags_is_recorded_with_them(key: str) -> None:
    event = AuditEvent.objects.filter(event_name="TagResource").latest("id").event
    assert event["requestParameters"] == {"keyId": KEY, "tags": [{"tagKey": "team", "tagValue": "ledger"}]}
    assert (event["readOnly"], event["resources"][0]["ARN"]) == (False, ARN)


def test_tags_of_one_key_are_not_anothers(key: str) -> None:
    other = create_key(Tags=[tag("team", "sales")])
    assert (tags(), tags(other)) == ({"team": "ledger"}, {"team": "sales"})
