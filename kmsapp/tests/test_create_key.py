"""CreateKey on real HSMs: a key is made everywhere or nowhere, whatever happens meanwhile."""

from __future__ import annotations

import datetime
import os
import signal
import threading
from pathlib import Path

import pytest

from hsmapp import clock, hsms, jobs
from hsmapp.models import Hsm, KeyIntent, MaskedKey
from hsmapp.testing import process_of, state_of, wait_until
from kmsapp import demo
from kmsapp.errors import (
    CloudHsmClusterInvalidConfigurationException,
)
from kmsapp.models import AuditEvent, CustomKeyStore, KmsKey
from kmsapp.tests.one_hsm import FIRST, SECOND, labels, logged_in, opens_on, wait_for_successor
from kmsapp.tests.people import call, create_key, decrypt, encrypt


def test_a_key_is_made_on_every_hsm_and_used_under_its_encryption_context(installation: Path) -> None:
    key_id = create_key(Description="payments", Tags=[{"TagKey": "team", "TagValue": "ledger"}])
    blob = encrypt(key_id, b"hello", EncryptionContext={"a": "b"})
    assert decrypt(blob, EncryptionContext={"a": "b"}) == b"hello"
    assert opens_on(FIRST, key_id) and opens_on(SECOND, key_id)
    assert set(KeyIntent.objects.values_list("state", flat=True)) == {"done"}
    assert call("ListResourceTags", KeyId=key_id)["Tags"] == [{"TagKey": "team", "TagValue": "ledger"}]
    recorded = AuditEvent.objects.filter(event_name="CreateKey").order_by("-id")[0].event
    assert recorded["responseElements"]["keyMetadata"]["keyId"] == key_id
    assert recorded["requestParameters"]["tags"] == [{"tagKey": "team", "tagValue": "ledger"}]


def test_create_key_with_one_hsm_stopped_is_refused_and_leaves_nothing(installation: Path) -> None:
    before = (KmsKey.objects.count(), labels(FIRST))
    hsms.stop(Hsm.objects.select_related("cluster").get(hsm_id=SECOND))
    with pytest.raises(CloudHsmClusterInvalidConfigurationException, match="1 active HSM in 1 Availability Zone"):
        create_key()
    assert (KmsKey.objects.count(), labels(FIRST)) == before
    hsms.start(Hsm.objects.select_related("cluster").get(hsm_id=SECOND))
    wait_until(lambda: state_of(SECOND) == "ACTIVE", "the HSM to serve again")
    create_key()


def test_create_key_while_an_hsm_is_killed_is_acknowledged_everywhere_or_not_at_all(installation: Path) -> None:
    """An acknowledged key is on every HSM that serves, and an HSM holds no key that nobody was told about."""
    made, refused = [], 0
    for round_ in range(6):
        pid = process_of(FIRST, installation)
        killer = threading.Timer(0.003 * round_, os.kill, (pid, signal.SIGKILL))
        killer.start()
        try:
            made.append(create_key())
        except CloudHsmClusterInvalidConfigurationException:
            refused += 1
        killer.join()
        wait_for_successor(FIRST, pid, installation)
    for key_id in made:
        assert opens_on(FIRST, key_id) and opens_on(SECOND, key_id)
    known = set(MaskedKey.objects.values_list("label", flat=True))
    wait_until(lambda: not KeyIntent.objects.filter(state="abandoned").exclude(hsms=[]), "the cleaning")
    assert labels(FIRST) == labels(SECOND) == known
    print(f"{len(made)} keys made, {refused} refused, in 6 kills")


def test_an_intent_that_was_cut_short_is_abandoned_and_its_objects_are_destroyed(installation: Path) -> None:
    """What a worker leaves that is killed between the HSMs and the database."""
    label = f"arn:aws:kms:{demo.REGION}:{demo.ACCOUNT}:key/99999999-9999-4999-8999-999999999999"
    now = clock.now() - datetime.timedelta(minutes=1)
    cluster = CustomKeyStore.objects.get(custom_key_store_id=demo.KEY_STORE_ID).cluster
    intent = KeyIntent.objects.create(
        cluster=cluster, label=label, backing_key_id="ab" * 32, hsms=[FIRST, SECOND], created_at=now, deadline=now
    )
    with logged_in(FIRST) as hsm:
        args = {"label": label, "id": intent.backing_key_id}
        wrapped = hsm.call("generate_key", args, deadline_seconds=5)
        hsm.call("restore_key", {**args, **wrapped}, deadline_seconds=5)
    assert label in labels(FIRST)
    jobs.abandon_overdue_intents(clock.now())
    cleaned = KeyIntent.objects.filter(pk=intent.pk, state="abandoned", hsms=[])
    wait_until(cleaned.exists, "the intent's HSMs to be clean")
    assert label not in labels(FIRST)
