"""carol, of another account, uses a key by the AWS CLI when both accounts allow it, and not otherwise."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from kmsapp.testing import Casemate
from kmsapp.tests.wire_world import DENIED, OTHER_ACCOUNT, World, key_policy, to

POLICY = "UseKeysOfExampleCorp"  # of carol's: the demo gave it to her
USE = ["kms:Encrypt", "kms:Decrypt", "kms:DescribeKey"]
NOT_BY_THE_OWNER = "because no resource-based policy allows the kms:Encrypt action"
NOT_BY_HER_ACCOUNT = "because no identity-based policy allows the kms:Encrypt action"


@pytest.fixture(scope="module")
def world(casemate: Casemate) -> World:
    return World.of(casemate)


@contextmanager
def without_her_policy(world: World) -> Iterator[None]:
    named = {"UserName": "carol", "PolicyName": POLICY}
    document = json.dumps(world.iam_of_other.get_user_policy(**named)["PolicyDocument"])
    world.iam_of_other.delete_user_policy(**named)
    try:
        yield
    finally:
        world.iam_of_other.put_user_policy(**named, PolicyDocument=document)


def refused_because(casemate: Casemate, key_arn: str, plaintext: Path) -> str:
    """Why `aws kms encrypt` fails for carol; empty if it does not."""
    done = casemate.cli("kms", "encrypt", "--key-id", key_arn, "--plaintext", f"fileb://{plaintext}", person="carol")
    if done.returncode == 0:
        return ""
    assert f"({DENIED})" in done.stderr, done.stderr
    return done.stderr.strip()


def test_carol_encrypts_when_both_accounts_allow_it(world: World, tmp_path: Path) -> None:
    casemate, plaintext = world.casemate, tmp_path / "plaintext"
    plaintext.write_bytes(b"hello")
    ours, theirs = world.key(), world.key(to(OTHER_ACCOUNT, USE))
    carol = f"arn:aws:iam::{OTHER_ACCOUNT}:user/carol"
    named = world.key(to(carol, USE))
    with without_her_policy(world):
        assert refused_because(casemate, ours, plaintext).endswith(NOT_BY_THE_OWNER)
        assert refused_because(casemate, theirs, plaintext).endswith(NOT_BY_HER_ACCOUNT)
        # Also who is named in a key policy needs the own account's leave.
        assert refused_because(casemate, named, plaintext).endswith(NOT_BY_HER_ACCOUNT)
    assert refused_because(casemate, ours, plaintext).endswith(NOT_BY_THE_OWNER)
    for key_arn in (theirs, named):
        assert refused_because(casemate, key_arn, plaintext) == ""
        assert round_trip(casemate, key_arn, plaintext) == b"hello"
    # And no longer, once the owner has thought better of it.
    world.kms.put_key_policy(KeyId=theirs, Policy=key_policy())
    assert refused_because(casemate, theirs, plaintext).endswith(NOT_BY_THE_OWNER)


def round_trip(casemate: Casemate, key_arn: str, plaintext: Path) -> bytes:
    sealed = plaintext.with_name("ciphertext")
    given = ("--key-id", key_arn, "--plaintext", f"fileb://{plaintext}", "--encryption-context", "team=a")
    done = casemate.cli("kms", "encrypt", *given, person="carol")
    sealed.write_bytes(base64.b64decode(json.loads(done.stdout)["CiphertextBlob"]))
    sent = ("--ciphertext-blob", f"fileb://{sealed}", "--encryption-context", "team=a")
    opened = json.loads(casemate.cli("kms", "decrypt", *sent, person="carol").stdout)
    assert opened["KeyId"] == key_arn
    return base64.b64decode(opened["Plaintext"])


def test_what_no_other_account_may_do_stays_with_the_owner_whatever_both_say(world: World) -> None:
    key_arn = world.key(to(OTHER_ACCOUNT))
    done = world.casemate.cli("kms", "get-key-policy", "--key-id", key_arn, person=f"root of {OTHER_ACCOUNT}")
    assert done.returncode != 0 and f"({DENIED})" in done.stderr
    done = world.casemate.cli("kms", "describe-key", "--key-id", key_arn, person=f"root of {OTHER_ACCOUNT}")
    assert done.returncode == 0, done.stderr
