"""Key stores on clusters that exist as rows: what tests of creating, updating and deleting them share."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings

from hsmapp import clock, epochs, sealing
from hsmapp.models import Cluster, ClusterCredential, Epoch
from kmsapp import audit, audit_reading, demo, errors
from kmsapp.audit import LONGEST_ERROR_MESSAGE
from kmsapp.models import Account, AuditEvent, CustomKeyStore
from kmsapp.tests.people import call

PASSWORD = "Kmsuser1Password"
OTHER_PASSWORD = "Another1Password"


@contextmanager
def rows_only(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """An installation with a master key and two accounts, and nothing else."""
    monkeypatch.setattr(settings, "DATA", folder)
    monkeypatch.setattr(settings, "MASTER_KEY_FILE", folder / "secret" / "master.key")
    sealing.make_master_key(settings.MASTER_KEY_FILE)
    sealing.keyring.cache_clear()
    epochs.forget_all()
    audit.close_file()
    for account in (demo.ACCOUNT, demo.OTHER_ACCOUNT):
        Account.objects.create(account_id=account, created_at=clock.now())
    try:
        yield
    finally:
        audit.close_file()
        sealing.keyring.cache_clear()


def parameters(row: Cluster, name: str = "TestStore", password: str = PASSWORD) -> dict[str, Any]:
    return {
        "CustomKeyStoreName": name,
        "CloudHsmClusterId": row.cluster_id,
        "TrustAnchorCertificate": row.trust_anchor,
        "KeyStorePassword": password,
    }


def create(row: Cluster, name: str = "TestStore") -> str:
    answer = call("CreateCustomKeyStore", **parameters(row, name))
    assert list(answer) == ["CustomKeyStoreId"]
    return str(answer["CustomKeyStoreId"])


def describe(store_id: str) -> dict[str, Any]:
    (entry,) = call("DescribeCustomKeyStores", CustomKeyStoreId=store_id)["CustomKeyStores"]
    return dict(entry)


def in_state(store_id: str, state: str) -> CustomKeyStore:
    CustomKeyStore.objects.filter(custom_key_store_id=store_id).update(connection_state=state)
    return CustomKeyStore.objects.get(custom_key_store_id=store_id)


def everything() -> tuple[Any, ...]:
    """All that a refused call could have changed."""
    return (
        list(CustomKeyStore.objects.order_by("pk").values()),
        [
            (row["id"], bytes(row["password_sealed"]), row["pending_password_sealed"])
            for row in ClusterCredential.objects.order_by("pk").values()
        ],
        list(Epoch.objects.order_by("pk").values()),
        AuditEvent.objects.count(),
    )


@contextmanager
def refused(code: str) -> Iterator[None]:
    """The call inside is refused with that exception, leaves no trace and is recorded as refused."""
    audit_reading.read_in(clock.now())
    before = everything()
    with pytest.raises(getattr(errors, code)) as raised:
        yield
    assert raised.value.message, "it says what to do"
    assert PASSWORD not in raised.value.message and OTHER_PASSWORD not in raised.value.message
    assert everything() == before
    audit_reading.read_in(clock.now())
    last = AuditEvent.objects.order_by("pk").last()
    assert last is not None and (last.error_code, last.event["errorMessage"]) == (
        code,
        raised.value.message[:LONGEST_ERROR_MESSAGE],
    )


def last_event(name: str) -> dict[str, Any]:
    audit_reading.read_in(clock.now())
    event: dict[str, Any] = AuditEvent.objects.filter(event_name=name).latest("pk").event
    return event
