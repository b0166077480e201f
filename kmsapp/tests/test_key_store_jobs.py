"""Whatever happens while a key store is being connected or disconnected, it does not stay so.

The errors here are real ones: the sealed password in the database is damaged, so opening it fails as no HSM can.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.conf import settings

from hsmapp import clock, credentials, epochs, sealing
from hsmapp.models import Cluster, ClusterCredential, Hsm
from kmsapp import key_store_jobs
from kmsapp.models import CustomKeyStore

ACCOUNT = "111122223333"
NOW = datetime.datetime(2027, 3, 1, 12, 0, 0, tzinfo=datetime.UTC)
SECOND, DAY = datetime.timedelta(seconds=1), datetime.timedelta(days=1)


@pytest.fixture(autouse=True)
def master_key(db: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(settings, "MASTER_KEY_FILE", tmp_path / "master.key")
    sealing.make_master_key(settings.MASTER_KEY_FILE)
    sealing.keyring.cache_clear()
    yield
    sealing.keyring.cache_clear()


def make_store(number: int, state: str, *, due_at: datetime.datetime = NOW, hsms: bool = True) -> CustomKeyStore:
    """A key store in the midst of a transition; its cluster has an HSM that is said to serve, unless told otherwise."""
    cluster = Cluster.objects.create(cluster_id=f"cluster-{number}", account=ACCOUNT, state="ACTIVE", created_at=NOW)
    if hsms:
        Hsm.objects.create(
            hsm_id=f"hsm-{number}",
            cluster=cluster,
            eni_ip="10.0.0.1",
            state="ACTIVE",
            address="/nowhere",
            pin_sealed=b"",
            so_pin_sealed=b"",
            created_at=NOW,
        )
    credential = ClusterCredential.objects.create(
        cluster=cluster,
        user_name="kmsuser",
        password_sealed=credentials.seal(cluster.cluster_id, "kmsuser", "a password"),
        connected=True,
    )
    return CustomKeyStore.objects.create(
        custom_key_store_id=f"cks-{number}",
        account=ACCOUNT,
        name=f"store {number}",
        cluster=cluster,
        credential=credential,
        connection_state=state,
        transition_due_at=due_at,
        created_at=NOW,
    )


def damage_password(store: CustomKeyStore) -> None:
    ClusterCredential.objects.filter(pk=store.credential.pk).update(password_sealed=b"\x01 not what was sealed")


def state(store: CustomKeyStore) -> tuple[str, str, datetime.datetime | None, bool]:
    store = CustomKeyStore.objects.select_related("credential").get(pk=store.pk)
    return store.connection_state, store.connection_error_code, store.transition_due_at, store.credential.connected


def test_a_connect_that_ends_in_an_unexpected_error_is_failed() -> None:
    store = make_store(1, "CONNECTING")
    damage_password(store)
    with pytest.raises(sealing.SealingError):
        credentials.connect(ClusterCredential.objects.select_related("cluster").get(pk=store.credential.pk))
    epoch = epochs.current(ACCOUNT)
    assert key_store_jobs.carry_out(NOW - SECOND) == 0
    assert state(store) == ("CONNECTING", "", NOW, True)
    assert key_store_jobs.carry_out(NOW) == 1
    assert state(store) == ("FAILED", "INTERNAL_ERROR", None, False)
    assert epochs.current(ACCOUNT) > epoch
    assert key_store_jobs.carry_out(NOW + DAY) == 0


def test_a_disconnect_that_ends_in_an_unexpected_error_is_disconnected() -> None:
    store = make_store(1, "DISCONNECTING")
    damage_password(store)
    with pytest.raises(sealing.SealingError):
        credentials.disconnect(ClusterCredential.objects.select_related("cluster").get(pk=store.credential.pk))
    assert key_store_jobs.carry_out(NOW) == 1
    assert state(store) == ("DISCONNECTED", "", None, False)


def test_one_stores_unexpected_error_keeps_no_other_waiting() -> None:
    stores = [make_store(1, "CONNECTING"), make_store(2, "DISCONNECTING"), make_store(3, "DISCONNECTING", hsms=False)]
    for store in stores[:2]:
        damage_password(store)
    assert key_store_jobs.carry_out(NOW) == 3
    assert [state(store)[0] for store in stores] == ["FAILED", "DISCONNECTED", "DISCONNECTED"]


def test_what_hsms_answer_is_not_an_unexpected_error() -> None:
    without, silent = make_store(1, "CONNECTING", hsms=False), make_store(2, "CONNECTING")
    assert key_store_jobs.carry_out(NOW) == 2
    assert state(without)[:2] == ("FAILED", "INSUFFICIENT_CLOUDHSM_HSMS")
    assert state(silent)[:2] == ("FAILED", "NETWORK_ERRORS")


def test_what_a_killed_process_had_claimed_is_carried_out_when_its_lease_ends() -> None:
    lease = NOW + datetime.timedelta(seconds=key_store_jobs.LEASE_SECONDS)
    store = make_store(1, "DISCONNECTING", due_at=lease, hsms=False)
    assert key_store_jobs.carry_out(lease - SECOND) == 0
    assert key_store_jobs.carry_out(lease) == 1
    assert state(store)[0] == "DISCONNECTED"


def test_a_moved_account_clock_ends_no_lease() -> None:
    store = make_store(1, "DISCONNECTING", due_at=NOW + SECOND, hsms=False)
    clock.move(ACCOUNT, DAY)
    assert key_store_jobs.carry_out(NOW) == 0
    assert state(store)[0] == "DISCONNECTING"
