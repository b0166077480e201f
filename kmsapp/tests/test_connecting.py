"""Connecting a key store: kmsuser's password on every HSM, whoever comes between."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest
from django.db import connection

from hsmapp import credentials, resync
from hsmapp.device.protocol import Connection
from hsmapp.models import ClusterCredential, Hsm, HsmOnPreviousPassword
from hsmapp.replication import Device
from hsmapp.testing import state_of, wait_until
from kmsapp import demo
from kmsapp.errors import (
    CustomKeyStoreInvalidStateException,
    KMSInvalidStateException,
)
from kmsapp.models import CustomKeyStore
from kmsapp.tests.one_hsm import FIRST, SECOND, kill, logged_in, opens_on
from kmsapp.tests.people import call, create_key, decrypt, encrypt, encrypts


def test_keys_of_a_disconnected_store_are_unavailable_until_it_connects_again(installation: Path) -> None:
    key_id = create_key()
    blob = encrypt(key_id, b"x")
    call("DisconnectCustomKeyStore", CustomKeyStoreId=demo.KEY_STORE_ID)
    assert call("DescribeKey", KeyId=key_id)["KeyMetadata"]["KeyState"] == "Unavailable"
    with pytest.raises(KMSInvalidStateException, match="is unavailable"):
        decrypt(blob)
    with pytest.raises(CustomKeyStoreInvalidStateException, match="DISCONNECTED"):
        create_key()
    call("ConnectCustomKeyStore", CustomKeyStoreId=demo.KEY_STORE_ID)
    assert call("DescribeKey", KeyId=key_id)["KeyMetadata"]["KeyState"] == "Enabled"
    assert decrypt(blob) == b"x"


def test_connect_rotates_the_password_and_finishes_a_rotation_that_was_cut_short(installation: Path) -> None:
    store = CustomKeyStore.objects.select_related("credential__cluster").get(custom_key_store_id=demo.KEY_STORE_ID)
    before = credentials.current_password(store.credential)
    call("DisconnectCustomKeyStore", CustomKeyStoreId=demo.KEY_STORE_ID)
    # A kill -9 between the two HSMs: the first has the pending password, the second still the current one.
    pending = credentials.draw_password()
    store.credential.pending_password_sealed = credentials.seal(store.cluster.cluster_id, "kmsuser", pending)
    store.credential.save()
    with logged_in(FIRST) as hsm:
        hsm.call("change_password", {"user": "kmsuser", "password": pending}, deadline_seconds=5)
    call("ConnectCustomKeyStore", CustomKeyStoreId=demo.KEY_STORE_ID)
    store.refresh_from_db()
    assert store.connection_state == "CONNECTED"
    credential = ClusterCredential.objects.select_related("cluster").get(pk=store.credential.pk)
    assert credentials.current_password(credential) not in {before, pending}
    assert credential.pending_password_sealed is None


def test_a_wrong_password_ends_in_failed_with_its_code_and_a_disconnect_clears_it(installation: Path) -> None:
    store = CustomKeyStore.objects.select_related("credential__cluster").get(custom_key_store_id=demo.KEY_STORE_ID)
    right = credentials.current_password(store.credential)
    call("DisconnectCustomKeyStore", CustomKeyStoreId=demo.KEY_STORE_ID)
    credentials.set_password(store.credential, "Wrong1234567")
    call("ConnectCustomKeyStore", CustomKeyStoreId=demo.KEY_STORE_ID)
    shown = call("DescribeCustomKeyStores")["CustomKeyStores"][0]
    assert (shown["ConnectionState"], shown["ConnectionErrorCode"]) == ("FAILED", "INVALID_CREDENTIALS")
    with pytest.raises(CustomKeyStoreInvalidStateException):
        call("ConnectCustomKeyStore", CustomKeyStoreId=demo.KEY_STORE_ID)
    call("DisconnectCustomKeyStore", CustomKeyStoreId=demo.KEY_STORE_ID)
    credentials.set_password(store.credential, right)
    call("ConnectCustomKeyStore", CustomKeyStoreId=demo.KEY_STORE_ID)
    assert call("DescribeCustomKeyStores")["CustomKeyStores"][0]["ConnectionState"] == "CONNECTED"


def test_a_connect_while_an_hsm_comes_back_does_not_leave_it_with_the_old_password(
    installation: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The HSM has been given the password of that moment, and is not ACTIVE yet, when a connect changes it."""
    passed, go_on = threading.Event(), threading.Event()
    change_passwords = resync._change_passwords

    def hold(device: Device) -> None:
        change_passwords(device)
        if not passed.is_set():
            passed.set()
            go_on.wait(30)

    call("DisconnectCustomKeyStore", CustomKeyStoreId=demo.KEY_STORE_ID)
    monkeypatch.setattr(resync, "_change_passwords", hold)
    kill(FIRST, installation)
    assert passed.wait(30)
    call("ConnectCustomKeyStore", CustomKeyStoreId=demo.KEY_STORE_ID)
    assert HsmOnPreviousPassword.objects.filter(hsm__hsm_id=FIRST).exists()
    go_on.set()
    wait_until(lambda: state_of(FIRST) == "ACTIVE", "the HSM to serve")
    assert not HsmOnPreviousPassword.objects.exists()
    key_id = create_key()
    assert opens_on(FIRST, key_id) and opens_on(SECOND, key_id)


def test_a_refused_password_is_not_tried_again_until_the_user_is_locked(installation: Path) -> None:
    """Somebody changes kmsuser's password behind the service's back: one try an HSM, and never the fifth."""
    store = CustomKeyStore.objects.select_related("credential__cluster").get(custom_key_store_id=demo.KEY_STORE_ID)
    right = credentials.current_password(store.credential)
    for hsm_id in (FIRST, SECOND):
        with logged_in(hsm_id) as hsm:
            hsm.call("change_password", {"user": "kmsuser", "password": "Another1Password"}, deadline_seconds=5)
            hsm.call("end_client", {"client": credentials.client_name(store.credential)}, deadline_seconds=5)
    for _ in range(3):
        with pytest.raises(KMSInvalidStateException, match="cannot communicate"):
            encrypt(demo.KEY_ID, b"x")
    # Not locked: the right password still opens the door, which it would not for a locked user.
    credentials.set_password(store.credential, "Another1Password")
    for hsm_id in (FIRST, SECOND):
        with logged_in(hsm_id) as hsm:
            hsm.call("change_password", {"user": "kmsuser", "password": right}, deadline_seconds=5)
    credentials.set_password(store.credential, right)
    wait_until(lambda: encrypts(demo.KEY_ID), "encryption to work again")


def test_a_connect_that_was_overtaken_by_another_changes_nothing(
    installation: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A connects and is held up after the HSMs took its password; B disconnects and connects; A goes on."""
    key_id = create_key()
    call("DisconnectCustomKeyStore", CustomKeyStoreId=demo.KEY_STORE_ID)
    held, go_on = threading.Event(), threading.Event()
    change_over = credentials._change_over

    def hold(credential: ClusterCredential) -> set[str]:
        changed = change_over(credential)
        if credential.pending_password_sealed is not None and not held.is_set():
            held.set()
            go_on.wait(30)
        return changed

    def connect() -> None:
        try:
            call("ConnectCustomKeyStore", CustomKeyStoreId=demo.KEY_STORE_ID)
        finally:
            connection.close()

    monkeypatch.setattr(credentials, "_change_over", hold)
    overtaken = threading.Thread(target=connect)
    overtaken.start()
    assert held.wait(30)
    call("DisconnectCustomKeyStore", CustomKeyStoreId=demo.KEY_STORE_ID)
    call("ConnectCustomKeyStore", CustomKeyStoreId=demo.KEY_STORE_ID)
    go_on.set()
    overtaken.join()
    assert call("DescribeCustomKeyStores")["CustomKeyStores"][0]["ConnectionState"] == "CONNECTED"
    assert opens_on(FIRST, key_id) and opens_on(SECOND, key_id)
    assert decrypt(encrypt(key_id, b"x")) == b"x"


def test_a_password_that_changes_again_while_an_hsm_gets_the_last_one_is_not_forgotten(installation: Path) -> None:
    hsm = Hsm.objects.select_related("cluster").get(hsm_id=FIRST)
    credential = ClusterCredential.objects.get(cluster=hsm.cluster, user_name="kmsuser")
    HsmOnPreviousPassword.objects.create(hsm=hsm, credential=credential)
    asked: list[str] = []

    class Meanwhile(Device):
        """Right after the HSM took the password, somebody else writes another one."""

        def ask(self, op: str, **args: Any) -> dict[str, Any]:
            asked.append(op)
            credentials.set_password(ClusterCredential.objects.get(pk=credential.pk), f"Another{len(asked)}Password")
            return {}

    resync._change_passwords(Meanwhile(hsm, Connection.__new__(Connection)))
    assert asked == ["change_password"]
    assert HsmOnPreviousPassword.objects.filter(hsm=hsm).exists()
