"""R23: each call that changes something, once more with the same parameters: as AWS's API Reference has it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from django.conf import settings

from kmsapp import demo, dispatch
from kmsapp.errors import KmsError
from kmsapp.tests.people import ALICE, BOB, call, create_key

KEY = demo.KEY_ID
STORE = demo.KEY_STORE_ID
ROOT = f"arn:aws:iam::{demo.ACCOUNT}:root"
SAME, ANOTHER = "the same answer", "another one"
POLICY = json.dumps(
    {
        "Version": "2012-10-17",
        "Statement": [{"Effect": "Allow", "Principal": {"AWS": ROOT}, "Action": "kms:*", "Resource": "*"}],
    }
)


def twice(operation: str, **params: Any) -> str:
    """What comes of the second call: SAME or ANOTHER answer, or the error's name."""
    first = dispatch.call(ALICE, f"kms:{operation}", params)
    try:
        second = dispatch.call(ALICE, f"kms:{operation}", params)
    except KmsError as error:
        return error.code
    return SAME if second == first else ANOTHER


def test_a_call_that_is_repeated_is_done_or_refused_as_aws_documents(installation: Path) -> None:
    key = create_key()
    on_key: dict[str, Any] = {"KeyId": key}
    grantee: dict[str, Any] = {"GranteePrincipal": BOB.principal_arn, "Operations": ["Decrypt"]}
    found = {
        "TagResource": twice("TagResource", **on_key, Tags=[{"TagKey": "a", "TagValue": "b"}]),
        "UntagResource": twice("UntagResource", **on_key, TagKeys=["a"]),
        "UpdateKeyDescription": twice("UpdateKeyDescription", **on_key, Description="x"),
        "PutKeyPolicy": twice("PutKeyPolicy", **on_key, Policy=POLICY),
        "CreateAlias": twice("CreateAlias", AliasName="alias/twice", TargetKeyId=key),
        "UpdateAlias": twice("UpdateAlias", AliasName="alias/twice", TargetKeyId=KEY),
        "DeleteAlias": twice("DeleteAlias", AliasName="alias/twice"),
        "DisableKey": twice("DisableKey", **on_key),
        "EnableKey": twice("EnableKey", **on_key),
        "RevokeGrant": twice("RevokeGrant", **on_key, GrantId=call("CreateGrant", **on_key, **grantee)["GrantId"]),
        "RetireGrant": twice("RetireGrant", GrantToken=call("CreateGrant", **on_key, **grantee)["GrantToken"]),
        "ScheduleKeyDeletion": twice("ScheduleKeyDeletion", **on_key, PendingWindowInDays=7),
        "CancelKeyDeletion": twice("CancelKeyDeletion", **on_key),
        "CreateKey": twice("CreateKey", Origin="AWS_CLOUDHSM", CustomKeyStoreId=STORE),
        "Encrypt": twice("Encrypt", KeyId=KEY, Plaintext=b"x"),
        "DescribeKey": twice("DescribeKey", KeyId=KEY),
    }
    assert found == {
        "TagResource": SAME,
        "UntagResource": SAME,
        "UpdateKeyDescription": SAME,
        "PutKeyPolicy": SAME,
        "CreateAlias": "AlreadyExistsException",
        "UpdateAlias": SAME,
        "DeleteAlias": "NotFoundException",
        "DisableKey": SAME,
        "EnableKey": SAME,
        "RevokeGrant": "NotFoundException",
        "RetireGrant": "InvalidGrantTokenException",
        "ScheduleKeyDeletion": "KMSInvalidStateException",
        "CancelKeyDeletion": "KMSInvalidStateException",
        "CreateKey": ANOTHER,
        "Encrypt": ANOTHER,
        "DescribeKey": SAME,
    }
    _assert_named_grants_are_made_once()
    found |= _of_key_stores()
    print(f"{len(found) + 2} calls repeated")


def _assert_named_grants_are_made_once() -> None:
    """Of the same name and the same properties; the token is a new one each time."""
    asked: dict[str, Any] = {"KeyId": KEY, "GranteePrincipal": BOB.principal_arn, "Operations": ["Encrypt"]}
    named = [call("CreateGrant", **asked, Name="twice") for _ in range(2)]
    assert named[0]["GrantId"] == named[1]["GrantId"] and named[0]["GrantToken"] != named[1]["GrantToken"]
    assert call("CreateGrant", **asked)["GrantId"] != call("CreateGrant", **asked)["GrantId"]
    other = call("CreateGrant", **{**asked, "Operations": ["Decrypt"]}, Name="twice")
    assert other["GrantId"] != named[0]["GrantId"]


def _of_key_stores() -> dict[str, str]:
    assert settings.IMMEDIATE
    found = {
        "ConnectCustomKeyStore": twice("ConnectCustomKeyStore", CustomKeyStoreId=STORE),
        "UpdateCustomKeyStore": twice(
            "UpdateCustomKeyStore", CustomKeyStoreId=STORE, NewCustomKeyStoreName="ExampleKeyStore"
        ),
        "DisconnectCustomKeyStore": twice("DisconnectCustomKeyStore", CustomKeyStoreId=STORE),
    }
    assert found == {
        "ConnectCustomKeyStore": SAME,
        "UpdateCustomKeyStore": SAME,
        "DisconnectCustomKeyStore": "CustomKeyStoreInvalidStateException",
    }
    return found
