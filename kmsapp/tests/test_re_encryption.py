"""ReEncrypt: from which key to which, under which contexts, who may, and what the record of it shows."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from hsmapp import clock, epochs
from kmsapp import audit_reading, demo
from kmsapp.access import CIPHERTEXT_DENIED
from kmsapp.caller import Caller
from kmsapp.errors import (
    AccessDeniedException,
    DisabledException,
    IncorrectKeyException,
    InvalidArnException,
    InvalidCiphertextException,
    InvalidGrantTokenException,
    InvalidKeyUsageException,
    KmsError,
    KMSInvalidStateException,
    NotFoundException,
    ValidationException,
)
from kmsapp.models import AuditEvent, KmsKey
from kmsapp.tests.people import ALICE, BOB, CAROL, call, create_key, decrypt, encrypt

ARN = f"arn:aws:kms:{demo.REGION}:{demo.ACCOUNT}:key/"
ALIAS_ARN = f"arn:aws:kms:{demo.REGION}:{demo.ACCOUNT}:alias/"
ROOT = f"arn:aws:iam::{demo.ACCOUNT}:root"
SOURCE, DESTINATION = "<source>", "<destination>"
OLD, NEW = {"stage": "test", "Team": "a"}, {"stage": "prod"}
ABSENT = "00000000-1111-2222-3333-444444444444"


class World:
    """Two keys, each with an alias, and a ciphertext of the first."""

    def __init__(self) -> None:
        self.source, self.destination = create_key(), create_key()
        call("CreateAlias", AliasName="alias/source", TargetKeyId=self.source)
        call("CreateAlias", AliasName="alias/destination", TargetKeyId=self.destination)
        self.blob = encrypt(self.source, b"secret", EncryptionContext=OLD)

    def re_encrypt(self, caller: Caller = ALICE, **params: Any) -> dict[str, Any]:
        """With what the parameters leave out."""
        given = {
            "CiphertextBlob": self.blob,
            "SourceEncryptionContext": OLD,
            "DestinationKeyId": DESTINATION,
            "DestinationEncryptionContext": NEW,
            **params,
        }
        filled = {
            name: value.replace(SOURCE, self.source).replace(DESTINATION, self.destination)
            if isinstance(value, str)
            else value
            for name, value in given.items()
        }
        return call("ReEncrypt", caller, **{name: value for name, value in filled.items() if value is not None})

    def put(self, key_id: str, *statements: dict[str, Any]) -> None:
        """The key's policy: the account's own, and more."""
        own = {"Effect": "Allow", "Principal": {"AWS": ROOT}, "Action": "kms:*", "Resource": "*"}
        policy = {"Version": "2012-10-17", "Statement": [own, *statements]}
        call("PutKeyPolicy", KeyId=key_id, Policy=json.dumps(policy))


def allow(principal: str, *actions: str, **condition: Any) -> dict[str, Any]:
    statement = {"Effect": "Allow", "Principal": {"AWS": principal}, "Action": list(actions), "Resource": "*"}
    return {**statement, "Condition": condition} if condition else statement


WAYS: dict[str, dict[str, Any]] = {
    "by key ids": {"SourceKeyId": SOURCE},
    "without a source": {},
    "by ARNs": {"SourceKeyId": ARN + SOURCE, "DestinationKeyId": ARN + DESTINATION},
    "by aliases": {"SourceKeyId": "alias/source", "DestinationKeyId": "alias/destination"},
    "by ARNs of aliases": {
        "SourceKeyId": ALIAS_ARN + "source",
        "DestinationKeyId": ALIAS_ARN + "destination",
    },
    "with algorithms": {
        "SourceEncryptionAlgorithm": "SYMMETRIC_DEFAULT",
        "DestinationEncryptionAlgorithm": "SYMMETRIC_DEFAULT",
    },
    "to no context": {"DestinationEncryptionContext": None},
    "to the same context": {"DestinationEncryptionContext": OLD},
    "under the same key": {"DestinationKeyId": SOURCE},
    "under the same key, by its alias": {"SourceKeyId": SOURCE, "DestinationKeyId": "alias/source"},
}
REFUSED: dict[str, tuple[dict[str, Any], type[KmsError], str]] = {
    "another source context": ({"SourceEncryptionContext": NEW}, InvalidCiphertextException, "^$"),
    "no source context": ({"SourceEncryptionContext": None}, InvalidCiphertextException, "^$"),
    "a context in other letters": (
        {"SourceEncryptionContext": {**OLD, "stage": "TEST"}},
        InvalidCiphertextException,
        "^$",
    ),
    "no ciphertext of ours": ({"CiphertextBlob": b"x" * 100}, InvalidCiphertextException, "^$"),
    "another source key": ({"SourceKeyId": DESTINATION}, IncorrectKeyException, "does not identify a CMK"),
    "no such source key": ({"SourceKeyId": ABSENT}, NotFoundException, f"Key '{ARN}{ABSENT}' does not exist"),
    "no such destination key": ({"DestinationKeyId": ABSENT}, NotFoundException, "does not exist"),
    "no such alias": ({"DestinationKeyId": "alias/none"}, NotFoundException, f"Alias {ALIAS_ARN}none is not found"),
    "a destination that is no id": ({"DestinationKeyId": "x"}, NotFoundException, "Invalid keyId 'x'"),
    "a destination that is no ARN": ({"DestinationKeyId": "arn:x"}, InvalidArnException, "Invalid arn arn:x"),
    "an algorithm of other keys, from": (
        {"SourceEncryptionAlgorithm": "RSAES_OAEP_SHA_256"},
        InvalidKeyUsageException,
        "Algorithm RSAES_OAEP_SHA_256 is incompatible with key spec SYMMETRIC_DEFAULT",
    ),
    "an algorithm of other keys, to": (
        {"DestinationEncryptionAlgorithm": "RSAES_OAEP_SHA_1"},
        InvalidKeyUsageException,
        "Algorithm RSAES_OAEP_SHA_1 is incompatible with key spec SYMMETRIC_DEFAULT",
    ),
    "no ciphertext": ({"CiphertextBlob": None}, ValidationException, "Value null at 'ciphertextBlob'"),
    "no destination": ({"DestinationKeyId": None}, ValidationException, "Value null at 'destinationKeyId'"),
    "too large a context": ({"DestinationEncryptionContext": {"k": "v" * 9000}}, ValidationException, "8192 bytes at"),
    "an unknown grant token": ({"GrantTokens": ["token"]}, InvalidGrantTokenException, "Invalid grant token"),
}


def test_what_was_sealed_under_one_key_opens_under_the_other_and_under_its_own_context_only(installation: Path) -> None:
    world = World()
    for way, params in WAYS.items():
        answer = world.re_encrypt(**params)
        to_same = "same key" in way
        destination = world.source if to_same else world.destination
        assert answer["SourceKeyId"] == ARN + world.source, way
        assert answer["KeyId"] == ARN + destination, way
        assert answer["SourceEncryptionAlgorithm"] == answer["DestinationEncryptionAlgorithm"] == "SYMMETRIC_DEFAULT"
        assert answer.keys() == {
            *("CiphertextBlob", "SourceKeyId", "KeyId", "SourceEncryptionAlgorithm", "DestinationEncryptionAlgorithm")
        }
        context = params.get("DestinationEncryptionContext", NEW) or {}
        opened = call("Decrypt", CiphertextBlob=answer["CiphertextBlob"], EncryptionContext=context)
        assert (opened["Plaintext"], opened["KeyId"]) == (b"secret", ARN + destination), way
        assert answer["CiphertextBlob"] != world.blob
        if context != OLD:
            with pytest.raises(InvalidCiphertextException):
                decrypt(answer["CiphertextBlob"], EncryptionContext=OLD)
    for name, (params, error, message) in REFUSED.items():
        with pytest.raises(error, match=message):
            world.re_encrypt(**params)
            pytest.fail(name)
    assert decrypt(world.blob, EncryptionContext=OLD) == b"secret"
    data_key = call("GenerateDataKeyWithoutPlaintext", KeyId=world.source, NumberOfBytes=1024)["CiphertextBlob"]
    moved = world.re_encrypt(CiphertextBlob=data_key, SourceEncryptionContext={})["CiphertextBlob"]
    assert decrypt(moved, EncryptionContext=NEW) == decrypt(data_key)
    _assert_states_of_both_count(world)
    print(f"{len(WAYS)} ways to re-encrypt, {len(REFUSED)} refusals")


def _assert_states_of_both_count(world: World) -> None:
    """An unusable key refuses, whichever side it is on; the source comes first."""
    for state, error, ending in (
        ("Disabled", DisabledException, "is disabled."),
        ("PendingDeletion", KMSInvalidStateException, "is pending deletion."),
    ):
        for key_id in (world.source, world.destination):
            with in_state(key_id, state), pytest.raises(error) as refused:
                world.re_encrypt()
            assert refused.value.message == f"{ARN}{key_id} {ending}"


class in_state:  # noqa: N801  a context manager
    """The key is in this state meanwhile."""

    def __init__(self, key_id: str, state: str):
        self._key_id, self._state = key_id, state

    def __enter__(self) -> None:
        self._set(self._state)

    def __exit__(self, *_: object) -> None:
        self._set("Enabled")

    def _set(self, state: str) -> None:
        KmsKey.objects.filter(key_id=self._key_id).update(key_state=state)
        epochs.raise_epoch(demo.ACCOUNT)


FROM, TO = "kms:ReEncryptFrom", "kms:ReEncryptTo"
SAME = {"Bool": {"kms:ReEncryptOnSameKey": "true"}}
OTHER = {"Bool": {"kms:ReEncryptOnSameKey": "false"}}


def outcome(world: World, caller: Caller, **params: Any) -> str:
    """ "ok", or what was denied: the action, or the ciphertext."""
    try:
        world.re_encrypt(caller, **params)
    except AccessDeniedException as denied:
        if denied.message == CIPHERTEXT_DENIED:
            return "ciphertext"
        return next(action for action in (FROM, TO) if f"perform: {action} on resource" in denied.message)
    return "ok"


def test_both_keys_must_allow_it_by_policy_or_grant_each_for_its_own_side(installation: Path) -> None:
    world, bob = World(), BOB.principal_arn
    named = {"SourceKeyId": SOURCE}
    from_it, to_it, both = allow(bob, FROM), allow(bob, TO), allow(bob, "kms:ReEncrypt*")
    tried = 0
    # Policy of the source, policy of the destination, parameters, outcome.
    for of_source, of_destination, params, expected in (
        ([], [], named, FROM),
        ([], [], {}, "ciphertext"),
        ([both], [], named, TO),
        ([], [both], named, FROM),
        ([to_it], [to_it], named, FROM),
        ([from_it], [from_it], named, TO),
        ([from_it], [to_it], named, "ok"),
        ([from_it], [to_it], {}, "ok"),
        ([from_it], [], {"DestinationKeyId": SOURCE, **named}, TO),
        ([both], [], {"DestinationKeyId": SOURCE, **named}, "ok"),
        ([allow(bob, "kms:Decrypt", "kms:Encrypt")], [both], named, FROM),
        # Contexts are those of the side.
        ([allow(bob, FROM, StringEquals={"kms:EncryptionContext:stage": "test"})], [to_it], named, "ok"),
        ([allow(bob, FROM, StringEquals={"kms:EncryptionContext:stage": "prod"})], [to_it], named, FROM),
        ([from_it], [allow(bob, TO, StringEquals={"kms:EncryptionContext:stage": "prod"})], named, "ok"),
        ([from_it], [allow(bob, TO, StringEquals={"kms:EncryptionContext:stage": "test"})], named, TO),
        # So are algorithms, and aliases by which the request names the key.
        ([allow(bob, FROM, StringEquals={"kms:EncryptionAlgorithm": "SYMMETRIC_DEFAULT"})], [to_it], named, "ok"),
        ([from_it], [allow(bob, TO, StringEquals={"kms:EncryptionAlgorithm": "SYMMETRIC_DEFAULT"})], named, "ok"),
        ([from_it], [allow(bob, TO, StringEquals={"kms:RequestAlias": "alias/destination"})], named, TO),
        (
            [allow(bob, FROM, StringEquals={"kms:RequestAlias": "alias/source"})],
            [allow(bob, TO, StringEquals={"kms:RequestAlias": "alias/destination"})],
            {"SourceKeyId": "alias/source", "DestinationKeyId": "alias/destination"},
            "ok",
        ),
        # Whether both are one key.
        ([allow(bob, "kms:ReEncrypt*", **OTHER)], [both], named, "ok"),
        ([allow(bob, "kms:ReEncrypt*", **SAME)], [both], named, FROM),
        ([allow(bob, "kms:ReEncrypt*", **SAME)], [], {"DestinationKeyId": "alias/source"}, "ok"),
        ([allow(bob, "kms:ReEncrypt*", **OTHER)], [], {"DestinationKeyId": ARN + SOURCE, **named}, FROM),
        ([both], [allow(bob, TO, **SAME)], named, TO),
        ([both], [allow(bob, TO, **OTHER)], {}, "ok"),
    ):
        world.put(world.source, *of_source)
        world.put(world.destination, *of_destination)
        assert outcome(world, BOB, **params) == expected, (of_source, of_destination, params)
        tried += 1
    tried += _assert_grants_count(world)
    tried += _assert_accounts_count(world)
    print(f"{tried} calls by who may re-encrypt from, to, both or neither")


def _assert_grants_count(world: World) -> int:
    for key_id in (world.source, world.destination):
        world.put(key_id)

    def grant(key_id: str, operation: str, **more: Any) -> str:
        asked: dict[str, Any] = {"GranteePrincipal": BOB.principal_arn, "Operations": [operation]}
        return str(call("CreateGrant", KeyId=key_id, **asked, **more)["GrantId"])

    from_source = grant(world.source, "ReEncryptFrom", Constraints={"EncryptionContextEquals": OLD})
    assert outcome(world, BOB, SourceKeyId=SOURCE) == TO
    to_other = grant(world.destination, "ReEncryptTo", Constraints={"EncryptionContextSubset": OLD})
    assert outcome(world, BOB) == TO, "a constraint looks at the context of its side"
    call("RevokeGrant", KeyId=world.destination, GrantId=to_other)
    grant(world.destination, "ReEncryptTo", Constraints={"EncryptionContextSubset": NEW})
    assert outcome(world, BOB) == "ok"
    call("RevokeGrant", KeyId=world.source, GrantId=from_source)
    assert outcome(world, BOB) == "ciphertext"
    return 4


def _assert_accounts_count(world: World) -> int:
    """Carol of another account, whose own account lets her use keys that are shared with it."""
    far = {"SourceKeyId": ARN + SOURCE, "DestinationKeyId": ARN + DESTINATION}
    for_them = allow(f"arn:aws:iam::{demo.OTHER_ACCOUNT}:root", "kms:ReEncrypt*")
    world.put(world.source)
    world.put(world.destination)
    assert outcome(world, CAROL, **far) == FROM
    assert outcome(world, CAROL, DestinationKeyId=ARN + DESTINATION) == "ciphertext"
    world.put(world.source, for_them)
    assert outcome(world, CAROL, **far) == TO
    assert outcome(world, CAROL, DestinationKeyId=ARN + ABSENT) == TO, "as one that is there"
    world.put(world.destination, for_them)
    assert outcome(world, CAROL, **far) == "ok"
    assert outcome(world, CAROL, DestinationKeyId=ARN + DESTINATION) == "ok"
    with pytest.raises(NotFoundException):
        world.re_encrypt(CAROL, DestinationKeyId=DESTINATION)  # an id alone is looked up in one's own account
    return 7


def test_the_record_names_both_keys_and_no_secret_and_both_count_as_used(installation: Path) -> None:
    world = World()
    answer = world.re_encrypt(SourceKeyId="alias/source")
    with pytest.raises(InvalidCiphertextException):
        world.re_encrypt(SourceEncryptionContext=NEW)
    audit_reading.read_in(clock.now())
    refused, done = (row.event for row in AuditEvent.objects.filter(event_name="ReEncrypt").order_by("-id")[:2])
    assert done["requestParameters"] == {
        "sourceKeyId": "alias/source",
        "sourceEncryptionContext": OLD,
        "sourceEncryptionAlgorithm": "SYMMETRIC_DEFAULT",
        "destinationKeyId": world.destination,
        "destinationEncryptionContext": NEW,
        "destinationEncryptionAlgorithm": "SYMMETRIC_DEFAULT",
    }
    both = [ARN + world.source, ARN + world.destination]
    assert [resource["ARN"] for resource in done["resources"]] == both
    assert (done["readOnly"], done["responseElements"], refused["errorCode"]) == (
        *(True, None),
        "InvalidCiphertextException",
    )
    for secret in (b"secret", answer["CiphertextBlob"], world.blob):
        assert secret.hex() not in str(done) and str(secret) not in str(done)
    for key_id in (world.source, world.destination):
        used = call("GetKeyLastUsage", KeyId=key_id)["KeyLastUsage"]
        assert (used["Operation"], used["CloudTrailEventId"]) == ("ReEncrypt", done["eventID"])
