"""GenerateRandom: from the system, or from the HSMs of a key store and never from elsewhere."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from hsmapp import clock, cluster, epochs, hsms
from hsmapp.models import Hsm
from hsmapp.testing import wait_until
from kmsapp import audit_reading, demo
from kmsapp.errors import (
    AccessDeniedException,
    CustomKeyStoreInvalidStateException,
    CustomKeyStoreNotFoundException,
    KmsError,
    ValidationException,
)
from kmsapp.models import AuditEvent, CustomKeyStore
from kmsapp.tests.people import ALICE, ELSEWHERE, MALLORY, call

STORE = demo.KEY_STORE_ID
IN_STORE: dict[str, Any] = {"CustomKeyStoreId": STORE}
REFUSED: dict[str, tuple[dict[str, Any], type[KmsError], str]] = {
    "no length": ({}, ValidationException, r"^NumberOfBytes is required\.$"),
    "none": ({"NumberOfBytes": 0}, ValidationException, "Value '0' at 'numberOfBytes' .* greater than or equal to 1$"),
    "1,025": ({"NumberOfBytes": 1025}, ValidationException, "Value '1025' .* less than or equal to 1024$"),
    "an unknown store": (
        {"NumberOfBytes": 1, "CustomKeyStoreId": "cks-00000000000000000"},
        CustomKeyStoreNotFoundException,
        "There is no custom key store cks-00000000000000000",
    ),
}


def test_random_bytes_are_as_many_as_asked_for_and_never_the_same(installation: Path) -> None:
    both: tuple[dict[str, Any], ...] = ({}, IN_STORE)
    for params in both:
        for length in (1, 31, 1024):
            answer = call("GenerateRandom", NumberOfBytes=length, **params)
            assert answer.keys() == {"Plaintext"} and len(answer["Plaintext"]) == length
        drawn = {call("GenerateRandom", NumberOfBytes=16, **params)["Plaintext"] for _ in range(500)}
        assert len(drawn) == 500
    for name, (params, error, message) in REFUSED.items():
        with pytest.raises(error, match=message):
            call("GenerateRandom", **params)
            pytest.fail(name)
    for params in both:
        with pytest.raises(AccessDeniedException, match="perform: kms:GenerateRandom on resource: "):
            call("GenerateRandom", MALLORY, NumberOfBytes=1, **params)
    for caller in (ELSEWHERE, replace(ALICE, region="eu-central-1")):
        assert len(call("GenerateRandom", caller, NumberOfBytes=8)["Plaintext"]) == 8
        with pytest.raises(CustomKeyStoreNotFoundException):
            call("GenerateRandom", caller, NumberOfBytes=8, **IN_STORE)
    print(f"1,000 different draws of 16 bytes, {len(REFUSED) + 4} refusals")
    _assert_records_hold_no_bytes()


def _assert_records_hold_no_bytes() -> None:
    secrets = [call("GenerateRandom", NumberOfBytes=8)["Plaintext"]]
    secrets.append(call("GenerateRandom", NumberOfBytes=8, **IN_STORE)["Plaintext"])
    while audit_reading.read_in(clock.now()):
        pass
    of_store, of_system = (row.event for row in AuditEvent.objects.filter(event_name="GenerateRandom")[:2])
    assert of_system["requestParameters"] is None
    assert of_store["requestParameters"] == {"numberOfBytes": 8, "customKeyStoreId": STORE}
    for event in (of_store, of_system):
        assert (event["resources"], event["responseElements"], event["readOnly"]) == ([], None, True)
        assert not any(secret.hex() in str(event) or str(secret) in str(event) for secret in secrets)


def test_a_store_that_can_not_give_any_gives_none_of_elsewhere(
    installation: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []
    original = cluster.random

    def noted(cluster_pk: int, owner: str, length: int) -> bytes:
        asked.append(length)
        return original(cluster_pk, owner, length)

    monkeypatch.setattr(cluster, "random", noted)
    call("GenerateRandom", NumberOfBytes=1)
    assert not asked
    call("GenerateRandom", NumberOfBytes=1, **IN_STORE)
    assert len(asked) == 1
    for state in ("DISCONNECTED", "FAILED", "CONNECTING", "DISCONNECTING"):
        _set_state(state)
        with pytest.raises(CustomKeyStoreInvalidStateException, match=f"The custom key store {STORE} is {state}. "):
            call("GenerateRandom", NumberOfBytes=1, **IN_STORE)
    _set_state("CONNECTED")
    assert len(asked) == 1
    for hsm in Hsm.objects.all():
        hsms.stop(hsm)
    wait_until(_no_hsm_answers, "the HSMs to stop")
    assert len(call("GenerateRandom", NumberOfBytes=1)["Plaintext"]) == 1


def _set_state(state: str) -> None:
    CustomKeyStore.objects.filter(custom_key_store_id=STORE).update(connection_state=state)
    epochs.raise_epoch(demo.ACCOUNT)


def _no_hsm_answers() -> bool:
    try:
        call("GenerateRandom", NumberOfBytes=1, **IN_STORE)
    except CustomKeyStoreInvalidStateException as refused:
        return refused.message.startswith("KMS cannot communicate with your CloudHSM cluster")
    return False
