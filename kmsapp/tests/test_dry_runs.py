"""DryRun, of every operation whose model has it: everything is looked at, and nothing is done."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from django.db import connection

from hsmapp import epochs, hsms
from hsmapp.device.protocol import Connection
from hsmapp.models import Hsm
from hsmapp.testing import wait_until
from kmsapp import demo, dispatch, service_models
from kmsapp.caller import Caller
from kmsapp.errors import (
    AccessDeniedException,
    DryRunOperationException,
    IncorrectKeyException,
    InvalidCiphertextException,
    KmsError,
    LimitExceededException,
    NotFoundException,
    ValidationException,
)
from kmsapp.models import KmsKey
from kmsapp.operations import grants
from kmsapp.operations.other_key_types import REFUSALS
from kmsapp.tests.people import ALICE, BOB, MALLORY, call, create_key, encrypt

KEY = demo.KEY_ID
IGNORING: dict[str, Any] = {"DryRun": True, "DryRunModifiers": ["IGNORE_CIPHERTEXT"]}
SUCCEEDS = "The request would have succeeded, but the DryRun option is set."
CRYPTOGRAPHIC = ("Encrypt", "Decrypt", "ReEncrypt", "GenerateDataKey", "GenerateDataKeyWithoutPlaintext")


def with_dry_run() -> set[str]:
    kms = service_models.service("kms")
    return {name for name in kms.operation_names if "DryRun" in kms.operation(name).input.parts}


def tables() -> dict[str, list[tuple[Any, ...]]]:
    """Every row of kmsapp's and hsmapp's, but for the audit record."""
    names = [name for name in connection.introspection.table_names() if name.startswith(("kmsapp_", "hsmapp_"))]
    found = {}
    with connection.cursor() as cursor:
        for name in names:
            if "audit" not in name and "heartbeat" not in name:
                cursor.execute(f'SELECT * FROM "{name}"')  # noqa: S608
                found[name] = cursor.fetchall()
    return found


class World:
    """What the calls need: a second key, a ciphertext, a grant."""

    def __init__(self) -> None:
        self.blob, self.other = encrypt(KEY, b"x"), create_key()
        asked: dict[str, Any] = {"GranteePrincipal": BOB.principal_arn, "RetiringPrincipal": ALICE.principal_arn}
        self.asked = {**asked, "Operations": ["Decrypt"]}
        self.grant = call("CreateGrant", KeyId=KEY, **self.asked)["GrantId"]

    def params(self, operation: str) -> dict[str, Any]:
        on_key, pair = {"KeyId": KEY}, {"KeyId": KEY, "GrantId": self.grant}
        arn = f"arn:aws:kms:{demo.REGION}:{demo.ACCOUNT}:key/{KEY}"
        params: dict[str, dict[str, Any]] = {
            "Encrypt": {**on_key, "Plaintext": b"x"},
            "Decrypt": {"CiphertextBlob": self.blob},
            "ReEncrypt": {"CiphertextBlob": self.blob, "DestinationKeyId": self.other},
            "GenerateDataKey": {**on_key, "KeySpec": "AES_256"},
            "GenerateDataKeyWithoutPlaintext": {**on_key, "NumberOfBytes": 16},
            "CreateGrant": {**on_key, **self.asked},
            "RevokeGrant": pair,
            "RetireGrant": {**pair, "KeyId": arn},
        }
        return params[operation]


OPERATIONS = (*CRYPTOGRAPHIC, "CreateGrant", "RevokeGrant", "RetireGrant")


def outcome(operation: str, caller: Caller = ALICE, **params: Any) -> KmsError:
    """What a dry run was answered, which is always an error."""
    try:
        dispatch.call(caller, f"kms:{operation}", {"DryRun": True, **params})
    except KmsError as error:
        return error
    raise AssertionError(f"a dry run of {operation} was carried out")


def test_a_dry_run_looks_at_everything_and_does_nothing(installation: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert with_dry_run() == {*OPERATIONS, *(name for name in REFUSALS if name in with_dry_run())}
    world = World()
    asked: list[str] = []
    original = Connection.call

    def noted(self: Connection, op: str, args: dict[str, Any], **options: Any) -> dict[str, Any]:
        asked.append(op)
        return original(self, op, args, **options)

    monkeypatch.setattr(Connection, "call", noted)
    before = tables()
    for operation in OPERATIONS:
        params = world.params(operation)
        answer = outcome(operation, **params)
        assert (answer.code, answer.message) == ("DryRunOperationException", SUCCEEDS), operation
        assert isinstance(outcome(operation, MALLORY, **params), AccessDeniedException), operation
    # Whether an HSM is well is asked now and then, whatever the calls are.
    assert set(asked) - {"health"} == {"random", "decrypt"}, "no HSM is asked to encrypt"
    assert tables() == before
    assert outcome("Decrypt", CiphertextBlob=world.blob[:-1]).code == "InvalidCiphertextException"
    assert outcome("Encrypt", KeyId=KEY, Plaintext=b"").code == "ValidationException"
    _assert_limits_count(world, monkeypatch)
    _assert_ciphertexts_are_ignored_when_asked(world)
    assert tables() == before
    _assert_states_count(world)
    call("RevokeGrant", **world.params("RevokeGrant"))  # the grant was still there
    print(f"{len(OPERATIONS)} operations tried only, each allowed and denied; {len(with_dry_run())} have DryRun")


def _assert_limits_count(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(grants, "GRANTS_PER_KEY", 1)
        assert isinstance(outcome("CreateGrant", **world.params("CreateGrant")), LimitExceededException)
    absent = "0" * 64
    assert isinstance(outcome("RevokeGrant", KeyId=KEY, GrantId=absent), NotFoundException)


def _assert_ciphertexts_are_ignored_when_asked(world: World) -> None:
    to = {"DestinationKeyId": world.other}
    ignoring: list[tuple[str, dict[str, Any], type[KmsError]]] = [
        ("Decrypt", {"KeyId": KEY}, DryRunOperationException),
        ("Decrypt", {"KeyId": "alias/ExampleKey", "CiphertextBlob": b"none of ours"}, DryRunOperationException),
        ("Decrypt", {"KeyId": world.other, "CiphertextBlob": world.blob}, DryRunOperationException),
        ("Decrypt", {}, ValidationException),
        ("Decrypt", {"CiphertextBlob": world.blob}, ValidationException),
        ("ReEncrypt", {"SourceKeyId": KEY, **to}, DryRunOperationException),
        ("ReEncrypt", {"SourceKeyId": KEY, "DestinationKeyId": KEY}, DryRunOperationException),
        ("ReEncrypt", to, ValidationException),
        ("ReEncrypt", {"SourceKeyId": KEY, "DestinationKeyId": "alias/none"}, NotFoundException),
    ]
    for operation, params, expected in ignoring:
        assert isinstance(outcome(operation, **params, **IGNORING), expected), (operation, params)
        if expected is DryRunOperationException:
            assert isinstance(outcome(operation, MALLORY, **params, **IGNORING), AccessDeniedException)
    # Without the modifier the ciphertext counts, and without DryRun so does it with the modifier.
    assert isinstance(outcome("Decrypt", KeyId=KEY, CiphertextBlob=b"none of ours"), InvalidCiphertextException)
    assert isinstance(outcome("Decrypt", KeyId=world.other, CiphertextBlob=world.blob), IncorrectKeyException)
    assert isinstance(outcome("Decrypt", KeyId=KEY, DryRunModifiers=[]), ValidationException)
    with pytest.raises(ValidationException, match="ciphertextBlob"):
        call("Decrypt", KeyId=KEY, DryRunModifiers=["IGNORE_CIPHERTEXT"])
    with pytest.raises(ValidationException, match="dryRunModifiers"):
        call("Decrypt", KeyId=KEY, DryRun=True, DryRunModifiers=["IGNORE_EVERYTHING"])


def _assert_states_count(world: World) -> None:
    KmsKey.objects.filter(key_id=KEY).update(key_state="Disabled")
    epochs.raise_epoch(demo.ACCOUNT)
    for operation in (*CRYPTOGRAPHIC, "CreateGrant"):
        assert outcome(operation, **world.params(operation)).code == "DisabledException", operation
    assert outcome("Decrypt", KeyId=KEY, **IGNORING).code == "DisabledException"
    KmsKey.objects.filter(key_id=KEY).update(key_state="Enabled")
    epochs.raise_epoch(demo.ACCOUNT)


def test_without_an_hsm_that_answers_a_dry_run_says_that_it_would_not_succeed(installation: Path) -> None:
    world = World()
    for hsm in Hsm.objects.all():
        hsms.stop(hsm)
    for operation in CRYPTOGRAPHIC:
        params = world.params(operation)
        wait_until(
            lambda: outcome(operation, **params).code == "KMSInvalidStateException",  # noqa: B023
            f"a refusal of {operation}",
        )
    assert outcome("Decrypt", KeyId=KEY, **IGNORING).code == "KMSInvalidStateException"
    assert outcome("CreateGrant", **world.params("CreateGrant")).code == "DryRunOperationException"
