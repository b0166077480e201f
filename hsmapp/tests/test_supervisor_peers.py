"""An HSM that joins takes the masking key from a peer that answers; one that hangs is passed over, and costs little."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from hsmapp.device.protocol import HEADER, Connection, pack
from hsmapp.models import Cluster, Hsm
from hsmapp.replication import Device
from hsmapp.supervisor import PROBE_SECONDS, Keeper, Supervisor

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


def test_a_peer_that_hangs_is_passed_over() -> None:
    supervisor = Supervisor()
    with ExitStack() as stack:
        for hsm_id, answer in (("hsm-hangs", None), ("hsm-answers", pack(["ok", {"present": True}]))):
            keeper = supervisor._keepers[hsm_id] = Keeper(hsm_id, supervisor)
            keeper.device = Device(member(hsm_id), stack.enter_context(process(answer)))
        started = time.monotonic()
        peer = supervisor.peer_of(member("hsm-joins"))
        assert peer is not None and peer.hsm.hsm_id == "hsm-answers"
        assert time.monotonic() - started >= PROBE_SECONDS, "the other was asked first"
