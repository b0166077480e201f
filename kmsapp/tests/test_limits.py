"""I7: as much as AWS allows is done, and one more is refused by AWS's name. CASEMATE_KEYS sets the length of the list.

https://docs.aws.amazon.com/kms/latest/developerguide/resource-limits.html and the models.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.db import connection

from kmsapp import demo
from kmsapp.errors import KmsError, LimitExceededException, TagException, ValidationException
from kmsapp.models import KmsKey
from kmsapp.tests.grant_world import rows
from kmsapp.tests.people import BOB, call

__all__ = ["rows"]

KEYS = int(os.environ.get("CASEMATE_KEYS", "20000"))
KEY: dict[str, Any] = {"KeyId": demo.KEY_ID}
STATEMENT = {"Effect": "Allow", "Principal": {"AWS": f"arn:aws:iam::{demo.ACCOUNT}:root"}, "Action": "kms:*"}


def tags(count: int) -> list[dict[str, str]]:
    return [{"TagKey": f"tag {number}", "TagValue": ""} for number in range(count)]


def policy_of(size: int) -> str:
    """A key policy of that many bytes."""
    document = {"Version": "2012-10-17", "Id": "", "Statement": [{**STATEMENT, "Resource": "*"}]}
    return json.dumps({**document, "Id": "x" * (size - len(json.dumps(document)))})


def context_of(size: int) -> dict[str, str]:
    """An encryption context of that many bytes as JSON."""
    return {"a": "x" * (size - len('{"a":""}'))}


def grant(**constraints: Any) -> dict[str, Any]:
    return {**KEY, "GranteePrincipal": BOB.principal_arn, "Operations": ["Decrypt"], "Constraints": constraints}


def pairs(count: int, *, length: int = 1) -> dict[str, dict[str, str]]:
    return {"EncryptionContextSubset": {f"name {number}": "x" * length for number in range(count)}}


# What is counted: the operation, its parameters for a number, the largest number, the error for one more.
LIMITS: dict[str, tuple[str, Callable[[int], dict[str, Any]], int, type[KmsError]]] = {
    "bytes of a plaintext": ("Encrypt", lambda n: {**KEY, "Plaintext": b"x" * n}, 4096, ValidationException),
    "bytes of an encryption context": (
        "Encrypt",
        lambda n: {**KEY, "Plaintext": b"x", "EncryptionContext": context_of(n)},
        8192,
        ValidationException,
    ),
    "bytes of a data key": ("GenerateDataKey", lambda n: {**KEY, "NumberOfBytes": n}, 1024, ValidationException),
    "bytes of a key policy": (
        "PutKeyPolicy",
        lambda n: {**KEY, "Policy": policy_of(n), "BypassPolicyLockoutSafetyCheck": True},
        32_768,
        LimitExceededException,
    ),
    "tags at once": ("TagResource", lambda n: {**KEY, "Tags": tags(n)}, 50, TagException),
    "characters of a tag's key": (
        "TagResource",
        lambda n: {**KEY, "Tags": [{"TagKey": "t" * n, "TagValue": ""}]},
        128,
        ValidationException,
    ),
    "characters of a tag's value": (
        "TagResource",
        lambda n: {**KEY, "Tags": [{"TagKey": "tag 0", "TagValue": "v" * n}]},
        256,
        ValidationException,
    ),
    "characters of an alias": (
        "CreateAlias",
        lambda n: {"AliasName": "alias/".ljust(n, "a"), "TargetKeyId": demo.KEY_ID},
        256,
        ValidationException,
    ),
    "characters of a grant's name": ("CreateGrant", lambda n: {**grant(), "Name": "n" * n}, 256, ValidationException),
    "pairs of a constraint": ("CreateGrant", lambda n: grant(**pairs(n)), 8, ValidationException),
    "characters of a pair's value": ("CreateGrant", lambda n: grant(**pairs(1, length=n)), 384, ValidationException),
    "characters of a store's name": (
        "UpdateCustomKeyStore",
        lambda n: {"CustomKeyStoreId": demo.KEY_STORE_ID, "NewCustomKeyStoreName": "\U0001f511" * n},
        256,
        ValidationException,
    ),
    "entries of a page": ("ListKeys", lambda n: {"Limit": n}, 1000, ValidationException),
}


def test_as_much_as_aws_allows_and_not_one_more(installation: Path) -> None:
    for name, (operation, params, most, error) in LIMITS.items():
        if operation == "TagResource":
            call("TagResource", **KEY, Tags=tags(1))
            _take_tags_away()
        assert call(operation, **params(most)) is not None, name
        with pytest.raises(error) as refused:
            call(operation, **params(most + 1))
        assert refused.value.message, name
    print(f"I7: {len(LIMITS)} limits: reached, and not passed")


def _take_tags_away() -> None:
    KmsKey.objects.get(key_id=demo.KEY_ID).tags.all().delete()


@pytest.mark.usefixtures("rows")
def test_a_key_has_fifty_tags_and_fifty_aliases_however_they_came() -> None:
    for first in range(0, 50, 10):
        call("TagResource", **KEY, Tags=tags(50)[first : first + 10])
    with pytest.raises(TagException):
        call("TagResource", **KEY, Tags=[{"TagKey": "one more", "TagValue": ""}])
    call("TagResource", **KEY, Tags=[{"TagKey": "tag 0", "TagValue": "another value of the same"}])
    had = KmsKey.objects.get(key_id=demo.KEY_ID).aliases.count()
    for number in range(had, 50):
        call("CreateAlias", AliasName=f"alias/limit-{number}", TargetKeyId=demo.KEY_ID)
    with pytest.raises(LimitExceededException):
        call("CreateAlias", AliasName="alias/limit-50", TargetKeyId=demo.KEY_ID)
    assert len(call("ListResourceTags", **KEY)["Tags"]) == len(call("ListAliases", Limit=100)["Aliases"]) == 50


@pytest.mark.usefixtures("rows")
def test_a_request_has_ten_grant_tokens() -> None:
    tokens = [call("CreateGrant", **grant())["GrantToken"] for _ in range(11)]
    assert call("DescribeKey", **KEY, GrantTokens=tokens[:10])
    with pytest.raises(ValidationException, match="less than or equal to 10"):
        call("DescribeKey", **KEY, GrantTokens=tokens)


# Rows like the demo's key, by the database alone: their ids differ in their first digits.
_MORE_KEYS = """
INSERT INTO kmsapp_kmskey ({columns}, key_id, material_id)
WITH RECURSIVE number(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM number WHERE n < %s)
SELECT {columns}, printf('%%08x-0000-4000-8000-000000000000', n), NULL
FROM number, (SELECT * FROM kmsapp_kmskey WHERE key_id = %s)
"""


@pytest.mark.usefixtures("rows")
def test_many_keys_are_listed_in_pages() -> None:
    """Each once, in order; a page takes as many queries whichever it is, and the last no longer than the first."""
    others = ("id", "key_id", "material_id")
    columns = ", ".join(name for field in KmsKey._meta.concrete_fields if (name := field.attname) not in others)
    with connection.cursor() as cursor:
        cursor.execute(_MORE_KEYS.format(columns=columns), [KEYS - 1, demo.KEY_ID])
    seconds, found = [], list[str]()
    marker: dict[str, Any] = {}
    while True:
        began = time.monotonic()
        page = call("ListKeys", Limit=1000, **marker)
        seconds.append(time.monotonic() - began)
        found += [key["KeyId"] for key in page["Keys"]]
        if not page["Truncated"]:
            break
        marker = {"Marker": page["NextMarker"]}
    assert len(found) == len(set(found)) == KEYS
    assert found == sorted(found)
    first, last = min(seconds[:10]), min(seconds[-10:])
    print(f"I7: {KEYS:,} keys in {len(seconds)} pages; the first {first * 1000:.0f} ms, the last {last * 1000:.0f} ms")
    assert last < 3 * first, "a page must not cost more for what lies before it"
