"""Runs the HSM processes of this machine: one thread per HSM keeps its process running, up to date and serving.

The process dies with its keeper (its standard input closes, and the kernel kills it if the supervisor is killed).
"""

from __future__ import annotations

import datetime
import logging
import signal
import threading

from django.db import close_old_connections
from django.db.models.functions import Now

from hsmapp import heartbeat, hsms, key_creation, replication, resync
from hsmapp.device.protocol import HsmAnswerError, HsmUnreachableError
from hsmapp.hsm_processes import STOP_SECONDS
from hsmapp.keeper import PROBE_SECONDS, ROUND_SECONDS, Keeper
from hsmapp.models import Cluster, Hsm, KeyIntent
from hsmapp.replication import Device
from hsmapp.states import HSM_STOPPED, ClusterState, HsmState, IntentState
from hsmapp.tombstones import Undertaker

logger = logging.getLogger(__name__)

FAILED_ROUND_SECONDS = 2.0
STUCK_SECONDS = 300.0  # no round takes that long; founding a cluster of slow HSMs is the longest


class Supervisor:
    """The keepers of this machine."""

    def __init__(self) -> None:
        self._keepers: dict[str, Keeper] = {}
        self._locks: dict[int, threading.Lock] = {}
        self._locks_guard = threading.Lock()
        self._undertaker = Undertaker()

    def cluster_lock(self, cluster_pk: int) -> threading.Lock:
        """One HSM of a cluster at a time is changed in ways that involve its peers."""
        with self._locks_guard:
            return self._locks.setdefault(cluster_pk, threading.Lock())

    def peer_of(self, hsm: Hsm) -> Device | None:
        """Another HSM of the cluster that runs here and holds the masking key."""
        for keeper in list(self._keepers.values()):
            device = keeper.device
            if device is None or keeper.hsm_id == hsm.hsm_id or device.hsm.cluster_id != hsm.cluster_id:
                continue
            try:
                if device.ask_within(PROBE_SECONDS, "masking_key")["present"]:
                    return device
            except (HsmUnreachableError, HsmAnswerError) as error:
                logger.warning("%s is no peer now: %s", keeper.hsm_id, error)  # its own keeper sees to it
        return None

    def is_expecting_peers(self, hsm: Hsm) -> bool:
        """Whether another HSM of the cluster is to run here and does not answer yet."""
        others = Hsm.objects.filter(cluster=hsm.cluster_id, wanted=True).exclude(hsm_id=hsm.hsm_id)
        ids = set(others.exclude(state=HsmState.DELETED).values_list("hsm_id", flat=True))
        ready = {keeper.hsm_id for keeper in list(self._keepers.values()) if keeper.device is not None}
        return bool(ids - ready)

    def round(self) -> None:
        """Start keepers for HSMs that are wanted, stop those of HSMs that are not, found clusters that are complete."""
        wanted = set(Hsm.objects.filter(wanted=True).exclude(state=HsmState.DELETED).values_list("hsm_id", flat=True))
        for hsm_id in self._keepers.keys() - wanted:
            self._retire(self._keepers.pop(hsm_id))
        for hsm_id in wanted:
            keeper = self._keepers.get(hsm_id)
            if keeper is None or not keeper.is_alive():
                self._keepers[hsm_id] = Keeper(hsm_id, self)
                self._keepers[hsm_id].start()
        self._found_clusters()
        self._clean_abandoned()
        self._undertaker.round(self._devices())

    def stop(self) -> None:
        for keeper in self._keepers.values():
            keeper.stop()
        for keeper in self._keepers.values():
            keeper.join(STOP_SECONDS * 2)
        self._keepers.clear()

    def _retire(self, keeper: Keeper) -> None:
        keeper.stop()
        keeper.join(STOP_SECONDS * 2)
        hsm = Hsm.objects.select_related("cluster").filter(hsm_id=keeper.hsm_id).first()
        if hsm is not None and hsm.state != HsmState.DELETED:
            hsms.set_state(hsm, HsmState.DEGRADED, HSM_STOPPED)

    def _found_clusters(self) -> None:
        waiting = Hsm.objects.filter(cluster__state=ClusterState.INITIALIZE_IN_PROGRESS, wanted=True)
        for cluster_pk in set(waiting.values_list("cluster_id", flat=True)):
            ids = set(waiting.filter(cluster_id=cluster_pk).values_list("hsm_id", flat=True))
            devices = [keeper.device for keeper in self._keepers.values() if keeper.hsm_id in ids and keeper.device]
            if len(devices) == len(ids):
                with self.cluster_lock(cluster_pk):
                    devices.sort(key=lambda device: device.hsm.hsm_id)
                    # A row of its own: each keeper refreshes the one it has at any moment.
                    replication.found(Cluster.objects.get(pk=cluster_pk), devices)

    def _clean_abandoned(self) -> None:
        """Destroy what abandoned intents left on HSMs that serve; on the others it goes before they serve again."""
        # Its maker, if it still runs, has let go of it by then: a last step may have been under way at the deadline.
        overdue = Now() - datetime.timedelta(seconds=key_creation.LET_GO_SECONDS)
        devices = self._devices()
        for intent in KeyIntent.objects.filter(state=IntentState.ABANDONED, deadline__lt=overdue).exclude(hsms=[]):
            if devices.keys() & set(intent.hsms):
                resync.clean(intent, devices)

    def _devices(self) -> dict[str, Device]:
        """By HSM id, those whose processes answer."""
        found = {keeper.hsm_id: keeper.device for keeper in self._keepers.values()}
        return {hsm_id: device for hsm_id, device in found.items() if device is not None}


def run() -> None:
    """Supervise until SIGTERM or SIGINT; then stop every HSM process."""
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    supervise(stop)


def supervise(stop: threading.Event) -> None:
    """Supervise until `stop` is set."""
    supervisor = Supervisor()
    hsms.none_runs()
    heart = heartbeat.begin("supervisor", stuck_after_seconds=STUCK_SECONDS)
    try:
        while not stop.wait(ROUND_SECONDS):
            heart.progress()
            try:
                close_old_connections()
                supervisor.round()
            except Exception:  # the supervisor's last stage: what fails for one cluster must not stop the others' HSMs
                logger.exception("the supervisor's round failed; it is tried again")
                stop.wait(FAILED_ROUND_SECONDS)
    finally:
        supervisor.stop()
