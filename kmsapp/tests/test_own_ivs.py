"""Encrypt over HSMs whose PKCS#11 module makes the IVs itself: counted, and refused when the count ends."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from hsmapp import iv_counts
from hsmapp.models import Hsm, MaskedKey, ReservedIvs
from hsmapp.tests import own_iv_module
from kmsapp import demo
from kmsapp.errors import KMSInvalidStateException
from kmsapp.tests.installations import copy_of
from kmsapp.tests.people import decrypt, encrypt


@pytest.fixture
def own_ivs(
    transactional_db: None, installation_template: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Path]:
    """The demo, its tokens opened through a module that makes IVs itself."""
    monkeypatch.setenv("SOFTHSM2_MODULE", str(own_iv_module.build(tmp_path)))
    iv_counts.forget()
    with copy_of(installation_template, tmp_path, monkeypatch):
        yield tmp_path
    iv_counts.forget()


def test_what_they_encrypt_is_counted_and_opens_again(own_ivs: Path) -> None:
    assert all(Hsm.objects.values_list("module_makes_ivs", flat=True))
    key = MaskedKey.objects.get(label__endswith=demo.KEY_ID)
    blobs = [encrypt(demo.KEY_ID, b"plaintext") for _ in range(20)]
    assert {decrypt(blob) for blob in blobs} == {b"plaintext"}
    (row,) = ReservedIvs.objects.all()
    assert (row.cluster_id, row.label, row.reserved) == (key.cluster_id, key.label, iv_counts.BLOCK)
    iv_counts.forget()  # a worker that was killed
    encrypt(demo.KEY_ID, b"plaintext")
    row.refresh_from_db()
    assert row.reserved == 2 * iv_counts.BLOCK


def test_a_key_that_is_used_up_still_decrypts(own_ivs: Path) -> None:
    blob = encrypt(demo.KEY_ID, b"plaintext")
    iv_counts.forget()
    ReservedIvs.objects.update(reserved=iv_counts.MAX_IVS)
    for _ in range(3):
        with pytest.raises(KMSInvalidStateException, match="as often as the HSMs of its cluster allow"):
            encrypt(demo.KEY_ID, b"plaintext")
    assert decrypt(blob) == b"plaintext"


def test_hsm_processes_that_make_the_ivs_are_not_counted(installation: Path) -> None:
    assert decrypt(encrypt(demo.KEY_ID, b"plaintext")) == b"plaintext"
    assert not any(Hsm.objects.values_list("module_makes_ivs", flat=True))
    assert not ReservedIvs.objects.exists()
