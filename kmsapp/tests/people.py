"""Callers that tests act as, in the demo account."""

from __future__ import annotations

import json
from typing import Any

from hsmapp import clock
from kmsapp import demo, dispatch
from kmsapp.caller import Caller
from kmsapp.errors import KMSInvalidStateException
from kmsapp.models import Account, InlinePolicy, User


def _person(account: str, name: str) -> Caller:
    return Caller(account, demo.REGION, f"arn:aws:iam::{account}:user/{name}", demo.user_id(name), name)


ALICE = _person(demo.ACCOUNT, "alice")
BOB = _person(demo.ACCOUNT, "bob")
MALLORY = _person(demo.ACCOUNT, "mallory")
CAROL = _person(demo.OTHER_ACCOUNT, "carol")
# May do everything in the other account, and there alone.
ELSEWHERE = Caller(
    demo.OTHER_ACCOUNT,
    demo.REGION,
    f"arn:aws:iam::{demo.OTHER_ACCOUNT}:root",
    demo.OTHER_ACCOUNT,
    principal_type="Root",
)


EVERYTHING = "Everything"  # the name of the policy that `admit` gives
EVERYTHING_DOCUMENT = json.dumps(
    {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}
)


def admit(caller: Caller) -> User:
    """Make the user that the caller is, who may do everything in their account: for a database without the demo."""
    account, _ = Account.objects.get_or_create(account_id=caller.account, defaults={"created_at": clock.now()})
    user = User.objects.create_user(
        account=account, user_name=caller.user_name, user_id=caller.principal_id, created_at=clock.now()
    )
    InlinePolicy.objects.create(user=user, name=EVERYTHING, document=EVERYTHING_DOCUMENT)
    return user


def call(operation: str, caller: Caller = ALICE, **params: Any) -> dict[str, Any]:
    """Call a KMS operation: `call("Encrypt", KeyId=…, Plaintext=…)`."""
    name = operation if ":" in operation else f"kms:{operation}"
    return dispatch.call(caller, name, params)


def create_key(**params: Any) -> str:
    """Make a key in the demo's key store and return its id."""
    made = call("CreateKey", Origin="AWS_CLOUDHSM", CustomKeyStoreId=demo.KEY_STORE_ID, **params)
    return str(made["KeyMetadata"]["KeyId"])


def encrypt(key_id: str, plaintext: bytes, **params: Any) -> bytes:
    blob: bytes = call("Encrypt", KeyId=key_id, Plaintext=plaintext, **params)["CiphertextBlob"]
    return blob


def encrypts(key_id: str) -> bool:
    """Whether an HSM answers for the key now."""
    try:
        return bool(encrypt(key_id, b"x"))
    except KMSInvalidStateException:
        return False


def decrypt(blob: bytes, **params: Any) -> bytes:
    plaintext: bytes = call("Decrypt", CiphertextBlob=blob, **params)["Plaintext"]
    return plaintext


def answers(blob: bytes) -> bool:
    """Whether a Decrypt of this is answered; False while no HSM does."""
    try:
        return bool(decrypt(blob))
    except KMSInvalidStateException:
        return False


def finish(*, alias: str, draft: str, **params: Any) -> dict[str, Any]:
    """The wizard's Finish."""
    given = {"Origin": "AWS_CLOUDHSM", "CustomKeyStoreId": demo.KEY_STORE_ID, **params}
    return call("console:CreateKeyWithAlias", AliasName=f"alias/{alias}", DraftId=draft, **given)
