"""R5 and R8: an HSM that stores nothing, and no HSM at all. Refused by AWS's name, nothing half-made, and it heals."""

from __future__ import annotations

from pathlib import Path

import pytest

from hsmapp import hsms
from hsmapp.models import Hsm, KeyIntent, MaskedKey
from hsmapp.testing import state_of, wait_until
from kmsapp import demo
from kmsapp.errors import CloudHsmClusterInvalidConfigurationException, KMSInvalidStateException
from kmsapp.models import KmsKey
from kmsapp.tests.one_hsm import FIRST, SECOND, labels, opens_on, runs
from kmsapp.tests.people import answers, call, create_key, decrypt, encrypt


def test_a_key_that_one_hsm_can_not_store_is_refused_and_the_other_hsm_is_cleaned(installation: Path) -> None:
    """Its storage goes away under the running process, so that it answers and stores nothing."""
    (storage,) = (installation / "hsm" / SECOND / "tokens").iterdir()
    away = installation / "away"  # where a process that its supervisor starts meanwhile does not find it either
    before = (KmsKey.objects.count(), labels(FIRST))
    storage.rename(away)
    try:
        with pytest.raises(CloudHsmClusterInvalidConfigurationException):
            create_key()
    finally:
        away.rename(storage)
    wait_until(lambda: not KeyIntent.objects.filter(state="abandoned").exclude(hsms=[]), "the cleaning")
    assert (KmsKey.objects.count(), labels(FIRST)) == before
    wait_until(lambda: state_of(SECOND) == "ACTIVE", "the HSM to serve again")
    key_id = create_key()
    assert opens_on(FIRST, key_id) and opens_on(SECOND, key_id)
    assert labels(FIRST) == labels(SECOND) == set(MaskedKey.objects.values_list("label", flat=True))
    print("R5: 1 key that one of two HSMs could not store: refused, 0 objects left on the other; then 1 on both")


def test_without_any_hsm_every_call_is_refused_by_name_and_the_service_recovers_by_itself(installation: Path) -> None:
    blob = encrypt(demo.KEY_ID, b"kept")
    before = KmsKey.objects.count()
    for row in Hsm.objects.select_related("cluster"):
        hsms.stop(row)
    wait_until(lambda: not any(runs(hsm_id, installation) for hsm_id in (FIRST, SECOND)), "both processes to end")
    refused = 0
    for _ in range(10):
        for use in (
            lambda: encrypt(demo.KEY_ID, b"x"),
            lambda: decrypt(blob),
            lambda: call("GenerateDataKey", KeyId=demo.KEY_ID, KeySpec="AES_256"),
        ):
            with pytest.raises(KMSInvalidStateException, match="cannot communicate with your CloudHSM cluster"):
                use()
            refused += 1
        with pytest.raises(CloudHsmClusterInvalidConfigurationException):
            create_key()
        refused += 1
    assert KmsKey.objects.count() == before and not KeyIntent.objects.exclude(state="done").exists()
    assert call("DescribeKey", KeyId=demo.KEY_ID)["KeyMetadata"]["KeyState"] == "Enabled"
    for row in Hsm.objects.select_related("cluster"):
        hsms.start(row)
    for hsm_id in (FIRST, SECOND):
        wait_until(lambda hsm_id=hsm_id: state_of(hsm_id) == "ACTIVE", "the HSMs to serve again")  # type: ignore[misc]
    wait_until(lambda: answers(blob), "calls to be answered again")
    assert decrypt(blob) == b"kept"
    create_key()
    print(f"R8: {refused} calls without an HSM, each refused by AWS's name; 0 rows written; decrypted afterwards")
