"""Counting the IVs of keys in the database: blocks, their end, and processes that die with a block in hand."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest
from django.utils import timezone

from hsmapp import iv_counts
from hsmapp.errors import IvsUsedUpError
from hsmapp.models import Cluster, ReservedIvs

LABEL = "arn:aws:kms:us-west-2:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab"


@pytest.fixture
def cluster() -> Cluster:
    return Cluster.objects.create(
        cluster_id="cluster-1a23b4cdefg",
        account="111122223333",
        region="us-west-2",
        state="ACTIVE",
        hsm_type="hsm1.medium",
        created_at=timezone.now(),
    )


@pytest.fixture(autouse=True)
def no_blocks() -> Iterator[None]:
    iv_counts.forget()
    yield
    iv_counts.forget()


def reserved(cluster: Cluster) -> int:
    return ReservedIvs.objects.get(cluster=cluster, label=LABEL).reserved


@pytest.mark.django_db
def test_a_block_is_reserved_before_its_first_iv_and_the_next_when_it_is_used_up(
    cluster: Cluster, django_assert_num_queries: object
) -> None:
    iv_counts.take(cluster.pk, LABEL)
    assert reserved(cluster) == iv_counts.BLOCK
    with django_assert_num_queries(0):  # type: ignore[operator]
        for _ in range(iv_counts.BLOCK - 1):
            iv_counts.take(cluster.pk, LABEL)
    iv_counts.take(cluster.pk, LABEL)
    assert reserved(cluster) == 2 * iv_counts.BLOCK


@pytest.mark.django_db
def test_what_a_process_that_ended_had_left_is_lost(cluster: Cluster) -> None:
    for lives in range(1, 6):
        iv_counts.take(cluster.pk, LABEL)
        iv_counts.forget()
        assert reserved(cluster) == lives * iv_counts.BLOCK


@pytest.mark.django_db
def test_a_key_stops_before_two_to_the_thirty_second_and_another_goes_on(cluster: Cluster) -> None:
    full = (iv_counts.MAX_IVS // iv_counts.BLOCK - 1) * iv_counts.BLOCK
    ReservedIvs.objects.create(cluster=cluster, label=LABEL, reserved=full)
    for _ in range(iv_counts.BLOCK):
        iv_counts.take(cluster.pk, LABEL)
    for _ in range(3):
        with pytest.raises(IvsUsedUpError, match="as often as its HSMs allow"):
            iv_counts.take(cluster.pk, LABEL)
    assert reserved(cluster) == full + iv_counts.BLOCK <= iv_counts.MAX_IVS < 2**32
    iv_counts.take(cluster.pk, LABEL + "0")


@pytest.mark.django_db(transaction=True)
def test_threads_never_share_an_iv(cluster: Cluster) -> None:
    takes = 3 * iv_counts.BLOCK // 4

    def take_many() -> None:
        from django.db import connection

        for _ in range(takes):
            iv_counts.take(cluster.pk, LABEL)
        connection.close()

    threads = [threading.Thread(target=take_many) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert reserved(cluster) == 4 * takes == 3 * iv_counts.BLOCK
    iv_counts.take(cluster.pk, LABEL)
    assert reserved(cluster) == 4 * iv_counts.BLOCK


def test_a_forked_process_does_not_go_on_with_its_parents_block() -> None:
    script = (
        "import os, django; os.environ['DJANGO_SETTINGS_MODULE'] = 'console.settings'; django.setup()\n"
        "from hsmapp import iv_counts\n"
        "iv_counts._left[1, 'key'] = 7\n"
        "child = os.fork()\n"
        "if child == 0: os._exit(len(iv_counts._left))\n"
        "raise SystemExit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) * 10 + (iv_counts._left[1, 'key'] != 7))"
    )
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0
