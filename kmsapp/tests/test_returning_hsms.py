"""HSMs that leave and come back: keys outlive them, and none serves before it is up to date."""

from __future__ import annotations

from pathlib import Path

from hsmapp import hsms
from hsmapp.models import Hsm, HsmOnPreviousPassword, MaskedKey
from hsmapp.testing import state_of, wait_until
from kmsapp import demo
from kmsapp.models import CustomKeyStore
from kmsapp.tests.one_hsm import FIRST, SECOND, kill, labels, logged_in, opens_on, runs, wait_for_successor
from kmsapp.tests.people import call, create_key, decrypt, encrypt


def test_a_key_survives_kill_9_of_each_hsm_in_turn(installation: Path) -> None:
    key_id = create_key()
    blob = encrypt(key_id, b"precious")
    for hsm_id in (FIRST, SECOND):
        killed = kill(hsm_id, installation)
        for _ in range(20):
            assert decrypt(blob) == b"precious"
        wait_for_successor(hsm_id, killed, installation)
        assert opens_on(hsm_id, key_id)


def test_an_hsm_that_comes_back_has_the_keys_made_meanwhile(installation: Path) -> None:
    cluster = CustomKeyStore.objects.get(custom_key_store_id=demo.KEY_STORE_ID).cluster
    third = hsms.new_hsm(
        cluster,
        hsm_id="hsm-cccccccccccc",
        availability_zone="us-west-2c",
        subnet_id="subnet-c6b10bd3",
        eni_id="eni-ea8647e3",
        eni_ip="10.0.2.3",
    ).hsm_id
    wait_until(lambda: state_of(third) == "ACTIVE", "a third HSM to join the cluster")
    assert opens_on(third, demo.KEY_ID), "a new HSM has the keys made before"
    hsms.stop(Hsm.objects.select_related("cluster").get(hsm_id=third))
    key_id = create_key()
    # Its password changes while it is away.
    call("DisconnectCustomKeyStore", CustomKeyStoreId=demo.KEY_STORE_ID)
    call("ConnectCustomKeyStore", CustomKeyStoreId=demo.KEY_STORE_ID)
    assert HsmOnPreviousPassword.objects.filter(hsm__hsm_id=third).exists()
    hsms.start(Hsm.objects.select_related("cluster").get(hsm_id=third))
    wait_until(lambda: state_of(third) == "ACTIVE", "the third HSM to come back")
    assert opens_on(third, key_id)
    assert not HsmOnPreviousPassword.objects.exists()


def test_an_hsm_that_lacks_a_key_gets_it_from_the_masked_key_when_asked(installation: Path) -> None:
    key_id = create_key()
    row = MaskedKey.objects.get(kms_key__key_id=key_id)
    blob = encrypt(key_id, b"still here")
    for hsm_id in (FIRST, SECOND):
        with logged_in(hsm_id) as hsm:
            destroyed = hsm.call("destroy_key", {"label": row.label, "id": row.backing_key_id}, deadline_seconds=5)
            assert destroyed["destroyed"] == 1
    assert {decrypt(blob) for _ in range(8)} == {b"still here"}
    assert row.label in labels(FIRST) and row.label in labels(SECOND)


def test_an_hsm_that_was_stopped_meanwhile_is_not_let_in(installation: Path) -> None:
    hsm = Hsm.objects.select_related("cluster").get(hsm_id=FIRST)
    hsms.stop(hsm)
    assert not hsms.let_in(hsm)
    wait_until(lambda: not runs(FIRST, installation), "its process to end")
    assert state_of(FIRST) == "DEGRADED"
