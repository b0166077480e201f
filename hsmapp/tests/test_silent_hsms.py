"""An HSM that hangs costs the supervisor little: it has others to see to."""

from __future__ import annotations

import datetime
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from hsmapp import clock, resync
from hsmapp.device.protocol import HEADER, Connection, pack
from hsmapp.keeper import Keeper
from hsmapp.models import Cluster, Hsm, KeyIntent
from hsmapp.replication import SHORT_SECONDS, Device
from hsmapp.supervisor import Supervisor

CLUSTER = Cluster(pk=1, cluster_id="cluster-1")


def member(hsm_id: str) -> Hsm:
    return Hsm(hsm_id=hsm_id, cluster=CLUSTER)


@contextmanager
def process(answer: bytes | None) -> Iterator[Connection]:
    """The other end of a connection: it answers one request with this, or hangs."""
    ours, theirs = socket.socketpair()

    def serve() -> None:
        if theirs.recv(HEADER.size + 1000) and answer is not None:
            theirs.sendall(answer)

    thread = threading.Thread(target=serve)
    thread.start()
    with Connection(ours) as connection:
        yield connection
    thread.join()
    theirs.close()


def test_an_hsm_that_joins_passes_over_a_peer_that_hangs() -> None:
    supervisor = Supervisor()
    with ExitStack() as stack:
        for hsm_id, answer in (("hsm-hangs", None), ("hsm-answers", pack(["ok", {"present": True}]))):
            keeper = supervisor._keepers[hsm_id] = Keeper(hsm_id, supervisor)
            keeper.device = Device(member(hsm_id), stack.enter_context(process(answer)))
        started = time.monotonic()
        peer = supervisor.peer_of(member("hsm-joins"))
        assert peer is not None and peer.hsm.hsm_id == "hsm-answers"
        assert time.monotonic() - started >= SHORT_SECONDS, "the other was asked first"


def test_cleaning_up_on_an_hsm_that_hangs_is_soon_put_off(db: None) -> None:
    now = clock.now()
    cluster = Cluster.objects.create(cluster_id="cluster-1", created_at=now)
    intent = KeyIntent.objects.create(
        cluster=cluster,
        label="a key",
        hsms=["hsm-hangs", "hsm-answers"],
        state="abandoned",
        created_at=now,
        deadline=now - datetime.timedelta(minutes=1),
    )
    with process(None) as silent, process(pack(["ok", {"destroyed": 1}])) as answers:
        devices = {
            "hsm-hangs": Device(Hsm(hsm_id="hsm-hangs"), silent),
            "hsm-answers": Device(Hsm(hsm_id="hsm-answers"), answers),
        }
        started = time.monotonic()
        resync.clean(intent, devices)
        assert time.monotonic() - started < SHORT_SECONDS * 2
    intent.refresh_from_db()
    assert intent.hsms == ["hsm-hangs"]
