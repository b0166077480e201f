"""A key that no HSM can use says so, is listed wherever people look, and leaves the list when it is sound again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command
from django.test import Client
from django.urls import reverse

from hsmapp import epochs
from hsmapp.models import Finding, MaskedKey
from kmsapp import demo
from kmsapp.caller import Caller
from kmsapp.errors import InvalidCiphertextException, KMSInvalidStateException
from kmsapp.models import User
from kmsapp.tests.one_hsm import FIRST, SECOND, logged_in
from kmsapp.tests.people import ALICE, ELSEWHERE, call, create_key, decrypt, encrypt


def destroy_objects(row: MaskedKey) -> None:
    for hsm_id in (FIRST, SECOND):
        with logged_in(hsm_id) as hsm:
            args = {"label": row.label, "id": row.backing_key_id}
            assert hsm.call("destroy_key", args, deadline_seconds=5)["destroyed"] == 1


def change(row: MaskedKey, column: str, value: bytes) -> None:
    """Write the column of the row, and let every cache know."""
    MaskedKey.objects.filter(pk=row.pk).update(**{column: value})
    epochs.raise_epoch(demo.ACCOUNT)


def flipped(value: bytes) -> bytes:
    return bytes([value[0] ^ 1]) + value[1:]


def listed(caller: Caller = ALICE) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = call("console:ListFindings", caller, ClusterId=demo.CLUSTER_ID)["Findings"]
    return found


@pytest.mark.parametrize("column", ["masked", "check_ciphertext"])
def test_a_key_whose_row_is_damaged_is_listed_until_it_works_again(
    installation: Path, column: str, capsys: pytest.CaptureFixture[str]
) -> None:
    key_id, sound_id = create_key(), create_key()
    blob = encrypt(key_id, b"precious")
    row = MaskedKey.objects.get(kms_key__key_id=key_id)
    sound = bytes(getattr(row, column))
    destroy_objects(row)
    change(row, column, flipped(sound))
    for _ in range(3):
        with pytest.raises(KMSInvalidStateException, match="See the cluster's page"):
            decrypt(blob)
    (finding,) = listed()
    assert (finding["KeyId"], finding["Title"], finding["HsmId"]) == (key_id, "Key at fault", "")
    assert FIRST in finding["Detail"] and SECOND in finding["Detail"]
    call_command("hsm", "findings")
    assert row.label in capsys.readouterr().out
    assert decrypt(encrypt(sound_id, b"another")) == b"another", "other keys go on"

    change(row, column, sound)
    assert decrypt(blob) == b"precious"
    assert listed() == []
    assert Finding.objects.get(label=row.label).resolved_at is not None
    call_command("hsm", "findings")
    assert "Nothing is known to be wrong." in capsys.readouterr().out


def test_a_sound_key_with_a_damaged_check_is_not_thrown_away(installation: Path) -> None:
    key_id = create_key()
    blob = encrypt(key_id, b"precious")
    row = MaskedKey.objects.get(kms_key__key_id=key_id)
    change(row, "check_ciphertext", flipped(bytes(row.check_ciphertext)))
    forged = blob[:-1] + bytes([blob[-1] ^ 1])
    with pytest.raises(KMSInvalidStateException):
        decrypt(forged)
    assert [finding["KeyId"] for finding in listed()] == [key_id]
    change(row, "check_ciphertext", bytes(row.check_ciphertext))
    with pytest.raises(InvalidCiphertextException):
        decrypt(forged)
    assert listed() == [], "an HSM that judges a ciphertext has checked its key"
    assert decrypt(blob) == b"precious"


def test_a_key_that_one_hsm_has_sound_is_not_at_fault(installation: Path) -> None:
    key_id = create_key()
    blob = encrypt(key_id, b"precious")
    row = MaskedKey.objects.get(kms_key__key_id=key_id)
    with logged_in(FIRST) as hsm:
        args = {"label": row.label, "id": row.backing_key_id}
        assert hsm.call("destroy_key", args, deadline_seconds=5)["destroyed"] == 1
    change(row, "masked", flipped(bytes(row.masked)))
    assert {decrypt(blob) for _ in range(8)} == {b"precious"}
    assert not Finding.objects.exists()


def test_findings_are_on_the_pages_of_cluster_and_key_store_for_their_own_account(installation: Path) -> None:
    key_id = create_key()
    row = MaskedKey.objects.get(kms_key__key_id=key_id)
    destroy_objects(row)
    change(row, "masked", flipped(bytes(row.masked)))
    with pytest.raises(KMSInvalidStateException):
        encrypt(key_id, b"x")
    assert listed(ELSEWHERE) == []
    pages = {
        reverse("console:cluster", args=[demo.CLUSTER_ID]),
        reverse("console:key-store", args=[demo.KEY_STORE_ID]),
    }
    alice = Client()
    alice.force_login(User.objects.get(account_id=demo.ACCOUNT, user_name="alice"))
    for page in pages:
        shown = alice.get(page).content.decode()
        assert "Key at fault" in shown and reverse("console:key", args=[key_id]) in shown, page
