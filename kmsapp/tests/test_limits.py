"""I7: the largest that AWS takes is taken, and what is larger by one is refused by AWS's name."""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from django.db import connection

from hsmapp import clock, epochs
from kmsapp import demo, dispatch
from kmsapp.errors import KmsError, LimitExceededException
from kmsapp.models import KmsKey
from kmsapp.operations import grants, key_creation
from kmsapp.tests.people import ALICE, BOB, call, encrypt

KEY = demo.KEY_ID
ROOT = f"arn:aws:iam::{demo.ACCOUNT}:root"
INVALID, LIMIT = "ValidationException", "LimitExceededException"
LONGER, GREATER = "Member must have length less than or equal to {}", "Member must have value less than or equal to {}"


class Bound(NamedTuple):
    """A call that grows, the largest that is taken, and how the next is refused."""

    operation: str
    params: Callable[[int], dict[str, Any]]  # of the size
    most: int
    code: str = INVALID
    message: str = LONGER


def policy(size: int) -> str:
    """A key policy of so many bytes."""
    own = {"Effect": "Allow", "Principal": {"AWS": ROOT}, "Action": "kms:*", "Resource": "*"}
    text = json.dumps({"Version": "2012-10-17", "Id": "", "Statement": [own]})
    return text.replace('"Id": ""', f'"Id": "{"x" * (size - len(text))}"')


def context(size: int) -> dict[str, str]:
    return {"k": "v" * (size - len('{"k":""}'))}


def on_key(**params: Any) -> dict[str, Any]:
    return {"KeyId": KEY, **params}


def bounds() -> dict[str, Bound]:
    """https://docs.aws.amazon.com/kms/latest/developerguide/resource-limits.html, and shapes of the API Reference."""
    token = call("CreateGrant", **on_key(GranteePrincipal=BOB.principal_arn, Operations=["Encrypt"]))["GrantToken"]
    too_large = "The encryption context has {} bytes as JSON. It can have 8192 bytes at most."
    return {
        "plaintext": Bound("Encrypt", lambda size: on_key(Plaintext=b"x" * size), 4096),
        "bytes of a data key": Bound("GenerateDataKey", lambda size: on_key(NumberOfBytes=size), 1024, message=GREATER),
        "random bytes": Bound("GenerateRandom", lambda size: {"NumberOfBytes": size}, 1024, message=GREATER),
        "encryption context": Bound(
            "Encrypt",
            lambda size: on_key(Plaintext=b"x", EncryptionContext=context(size)),
            8192,
            message=too_large,
        ),
        "grant tokens": Bound("Encrypt", lambda size: on_key(Plaintext=b"x", GrantTokens=[token] * size), 10),
        "description": Bound("UpdateKeyDescription", lambda size: on_key(Description="x" * size), 8192),
        "key policy": Bound("PutKeyPolicy", lambda size: on_key(Policy=policy(size)), 32_768, LIMIT, "32768"),
        "alias name": Bound("CreateAlias", _alias, 256),
        "tag key": Bound("TagResource", lambda size: on_key(Tags=[{"TagKey": "k" * size, "TagValue": ""}]), 128),
        "tag value": Bound("TagResource", lambda size: on_key(Tags=[{"TagKey": "k", "TagValue": "v" * size}]), 256),
        "grant name": Bound("CreateGrant", lambda size: _grant(Name="n" * size), 256),
        "page of keys": Bound("ListKeys", lambda size: {"Limit": size}, 1000, message=GREATER),
        "page of policies": Bound("ListKeyPolicies", lambda size: on_key(Limit=size), 1000, message=GREATER),
    }


def _alias(size: int) -> dict[str, Any]:
    return {"AliasName": "alias/" + "x" * (size - len("alias/")), "TargetKeyId": KEY}


def _grant(**params: Any) -> dict[str, Any]:
    return on_key(GranteePrincipal=BOB.principal_arn, Operations=["Decrypt"], **params)


def refusal(operation: str, params: dict[str, Any]) -> KmsError:
    with pytest.raises(KmsError) as refused:
        dispatch.call(ALICE, f"kms:{operation}", params)
    return refused.value


def test_what_is_as_large_as_can_be_is_taken_and_one_more_is_refused(installation: Path) -> None:
    for name, bound in bounds().items():
        dispatch.call(ALICE, f"kms:{bound.operation}", bound.params(bound.most))
        error = refusal(bound.operation, bound.params(bound.most + 1))
        assert error.code == bound.code, name
        size = bound.most + 1 if "as JSON" in bound.message else bound.most
        assert bound.message.format(size) in error.message, (name, error.message)
    blob = refusal("Decrypt", {"CiphertextBlob": b"x" * 6145})
    assert blob.code == INVALID and LONGER.format(6144) in blob.message
    assert refusal("Decrypt", {"CiphertextBlob": b"x" * 6144}).code == "InvalidCiphertextException"
    largest = encrypt(KEY, b"x" * 4096, EncryptionContext=context(8192))
    assert len(largest) < 6144, "what Encrypt gives Decrypt takes"
    print(f"{len(bounds()) + 1} sizes, each at its limit and one beyond")
    _assert_things_are_counted()


def _assert_things_are_counted() -> None:
    """Tags and aliases of a key are counted with those it has; of a grant's name, one is enough."""
    for number in range(len(call("ListResourceTags", KeyId=KEY)["Tags"]), 50):
        call("TagResource", KeyId=KEY, Tags=[{"TagKey": f"t{number}", "TagValue": ""}])
    assert refusal("TagResource", on_key(Tags=[{"TagKey": "one more", "TagValue": ""}])).message == "Too many tags"
    for number in range(KmsKey.objects.get(key_id=KEY).aliases.count(), 50):
        call("CreateAlias", AliasName=f"alias/n{number}", TargetKeyId=KEY)
    error = refusal("CreateAlias", {"AliasName": "alias/one-more", "TargetKeyId": KEY})
    assert (error.code, "has 50 aliases" in error.message) == (LIMIT, True)


def test_the_last_grant_of_a_key_and_the_last_key_of_an_account_are_made_once(
    installation: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The limits themselves are too large to be met here."""
    assert (grants.GRANTS_PER_KEY, key_creation.KEYS_PER_REGION) == (50_000, 100_000)
    before = KmsKey.objects.count()
    monkeypatch.setattr(key_creation, "KEYS_PER_REGION", before + 1)
    in_store: dict[str, Any] = {"Origin": "AWS_CLOUDHSM", "CustomKeyStoreId": demo.KEY_STORE_ID}
    outcomes = at_once(4, "CreateKey", in_store)
    assert outcomes == {"": 1, LIMIT: 3}
    assert KmsKey.objects.count() == before + 1
    other = KmsKey.objects.order_by("-pk").first()
    assert other is not None
    KmsKey.objects.filter(pk=other.pk).update(key_state="PendingDeletion", deletion_date=clock.now())
    epochs.raise_epoch(demo.ACCOUNT)
    with pytest.raises(LimitExceededException, match="Keys that are pending deletion count until they are deleted"):
        call("CreateKey", **in_store)
    KmsKey.objects.filter(pk=other.pk).update(region="eu-central-1")
    call("CreateKey", **in_store)  # each Region has its own
    monkeypatch.setattr(grants, "GRANTS_PER_KEY", 1)
    outcomes = at_once(4, "CreateGrant", _grant())
    assert outcomes == {"": 1, LIMIT: 3}
    print("4 callers at once for the last key, and 4 for the last grant: one each")


def at_once(callers: int, operation: str, params: dict[str, Any]) -> Counter[str]:
    """How several calls at the same time came out: codes of errors, "" for none."""
    codes: Counter[str] = Counter()

    def one() -> None:
        try:
            dispatch.call(ALICE, f"kms:{operation}", params)
            codes[""] += 1
        except KmsError as error:
            codes[error.code] += 1
        finally:
            connection.close()

    threads = [threading.Thread(target=one) for _ in range(callers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return codes
