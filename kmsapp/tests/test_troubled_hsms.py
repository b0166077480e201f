"""One bad row, one refused password, one key that is given up half-way: each stays what it is, and the rest goes on."""

from __future__ import annotations

import datetime
import logging
import os
import secrets
import signal
import threading
from pathlib import Path

import pytest
from django.db.models.functions import Now

from hsmapp import connections, credentials, hsms, key_creation
from hsmapp.models import ClusterCredential, Hsm, KeyIntent
from hsmapp.states import IntentState
from hsmapp.testing import process_of, state_of, wait_until
from kmsapp import demo
from kmsapp.errors import (
    CloudHsmClusterInvalidConfigurationException,
    DependencyTimeoutException,
    KMSInvalidStateException,
)
from kmsapp.models import CustomKeyStore
from kmsapp.tests.one_hsm import FIRST, SECOND, kill, labels, logged_in, opens_on, wait_for_successor
from kmsapp.tests.people import create_key, decrypt, encrypt


def keeper_of(hsm_id: str) -> threading.Thread:
    (found,) = [thread for thread in threading.enumerate() if thread.name == f"keeper of {hsm_id}"]
    return found


def messages(caplog: pytest.LogCaptureFixture, text: str) -> int:
    return sum(text in record.getMessage() for record in caplog.records)


def test_an_hsm_whose_row_is_damaged_is_tried_again_later_and_later_and_stops_no_other(
    installation: Path, caplog: pytest.LogCaptureFixture
) -> None:
    key_id = create_key()
    blob = encrypt(key_id, b"precious")
    keeper = keeper_of(FIRST)
    sealed = bytes(Hsm.objects.get(hsm_id=FIRST).pin_sealed)
    Hsm.objects.filter(hsm_id=FIRST).update(pin_sealed=b"damaged")
    with caplog.at_level(logging.ERROR, logger="hsmapp.supervisor"):
        kill(FIRST, installation)
        wait_until(lambda: messages(caplog, f"{FIRST} can't be kept running") >= 2, "its keeper to try twice")
    assert keeper_of(FIRST) is keeper, "one that died would be replaced at once, and never wait"
    assert state_of(FIRST) == "DEGRADED" and state_of(SECOND) == "ACTIVE"
    assert decrypt(blob) == b"precious"
    Hsm.objects.filter(hsm_id=FIRST).update(pin_sealed=sealed)
    wait_until(lambda: state_of(FIRST) == "ACTIVE", "the HSM to come back with its row")
    assert opens_on(FIRST, key_id)


def test_a_bad_row_does_not_end_the_supervisor(installation: Path, caplog: pytest.LogCaptureFixture) -> None:
    cluster = CustomKeyStore.objects.get(custom_key_store_id=demo.KEY_STORE_ID).cluster
    past = Now() - datetime.timedelta(hours=3)
    with caplog.at_level(logging.ERROR, logger="hsmapp.supervisor"):
        bad = KeyIntent.objects.create(
            cluster=cluster, label="bad", state=IntentState.ABANDONED, hsms=7, created_at=past, deadline=past
        )
        wait_until(lambda: messages(caplog, "the supervisor's round failed") >= 1, "a round that fails")
    hsm = Hsm.objects.select_related("cluster").get(hsm_id=FIRST)
    hsms.stop(hsm)
    wait_until(lambda: not [t for t in threading.enumerate() if t.name == f"keeper of {FIRST}"], "the HSM to stop")
    hsms.start(hsm)
    wait_until(lambda: state_of(FIRST) == "ACTIVE", "the HSM to start, the bad row still being there")
    bad.delete()


def test_a_key_that_is_late_is_given_to_no_further_hsm(installation: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    create_key()
    before = {hsm_id: (installation / "hsm" / hsm_id / "owners").read_bytes() for hsm_id in (FIRST, SECOND)}
    monkeypatch.setattr(key_creation, "INTENT_SECONDS", 0)
    with pytest.raises(DependencyTimeoutException):
        create_key()
    intent = KeyIntent.objects.order_by("-pk")[0]
    assert intent.state == IntentState.ABANDONED
    # An HSM writes down the owner before it takes a key, and never forgets that it did.
    after = {hsm_id: (installation / "hsm" / hsm_id / "owners").read_bytes() for hsm_id in (FIRST, SECOND)}
    assert after == before


def test_what_an_abandoned_key_left_goes_only_when_nobody_can_be_at_work_on_it(
    installation: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(key_creation, "LET_GO_SECONDS", 3600)
    cluster = CustomKeyStore.objects.get(custom_key_store_id=demo.KEY_STORE_ID).cluster
    left = {}
    for name, hours in (("fresh", 0.1), ("old", 2)):
        label, id_ = f"arn:aws:kms:us-west-2:111122223333:key/{name}", secrets.token_hex(32)
        for hsm_id in (FIRST, SECOND):
            with logged_in(hsm_id) as hsm:
                if hsm_id == FIRST:
                    made = hsm.call("generate_key", {"label": label, "id": id_}, deadline_seconds=5)
                hsm.call("restore_key", {"label": label, "id": id_, **made}, deadline_seconds=5)
        past = Now() - datetime.timedelta(hours=hours)
        left[name] = label
        KeyIntent.objects.create(
            cluster=cluster,
            label=label,
            backing_key_id=id_,
            state=IntentState.ABANDONED,
            hsms=[FIRST, SECOND],
            created_at=past,
            deadline=past,
        )
    wait_until(lambda: not KeyIntent.objects.filter(label=left["old"]).exclude(hsms=[]).exists(), "the old to go")
    for hsm_id in (FIRST, SECOND):
        assert left["fresh"] in labels(hsm_id) and left["old"] not in labels(hsm_id)


def test_a_password_that_was_refused_is_tried_again_after_a_while(
    installation: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing in the database tells that the HSMs take the password now: only the next try does."""
    monkeypatch.setattr(connections, "REFUSED_SECONDS", 3.0)
    blob = encrypt(demo.KEY_ID, b"precious")
    connections.close_pools()
    credential = ClusterCredential.objects.select_related("cluster").get(user_name="kmsuser")
    right = credentials.current_password(credential)
    credentials.set_password(credential, "another-password-1")
    with pytest.raises(KMSInvalidStateException):
        decrypt(blob)
    for hsm in Hsm.objects.all():
        with credentials.log_in(hsm, credential, right) as kmsuser:
            args = {"user": "kmsuser", "password": "another-password-1"}
            kmsuser.call("change_password", args, deadline_seconds=5)

    def works() -> bool:
        try:
            return decrypt(blob) == b"precious"
        except KMSInvalidStateException:
            return False

    wait_until(works, "the password to be tried again")


def test_an_hsm_that_freezes_while_a_key_is_made_has_it_when_it_serves_again(installation: Path) -> None:
    cluster = CustomKeyStore.objects.get(custom_key_store_id=demo.KEY_STORE_ID).cluster
    third = hsms.new_hsm(
        cluster,
        hsm_id="hsm-cccccccccccc",
        availability_zone="us-west-2c",
        subnet_id="subnet-c6b10bd3",
        eni_id="eni-ea8647e3",
        eni_ip="10.0.2.3",
    ).hsm_id
    for _ in range(5):
        wait_until(lambda: state_of(third) == "ACTIVE", "the third HSM to serve")
        os.kill(pid := process_of(third, installation), signal.SIGSTOP)
        try:
            key_id = create_key()
        except CloudHsmClusterInvalidConfigurationException:
            continue  # it was the frozen one's turn to make the key
        intent = KeyIntent.objects.get(label__endswith=key_id, state=IntentState.DONE)
        if third in intent.hsms:
            break  # else it had been found frozen before the key was begun
    assert third in intent.hsms
    wait_for_successor(third, pid, installation)  # it may have been missed and replaced by now
    assert {hsm_id for hsm_id in (FIRST, SECOND, third) if opens_on(hsm_id, key_id)} == {FIRST, SECOND, third}
