"""Runs the HSM processes of this machine: one thread per HSM keeps its process running, up to date and serving.

A keeper's round: start the process, prove who we are to it, bring it up to date, let it serve, write ACTIVE; watch it
until it ends or stops answering, write DEGRADED, and begin again. The process dies with its keeper (its standard input
closes, and the kernel kills it if the supervisor is killed).
"""

from __future__ import annotations

import datetime
import logging
import signal
import subprocess
import threading
import time

from django.db import DatabaseError, close_old_connections, connection
from django.db.models.functions import Now

from hsmapp import heartbeat, hsm_processes, hsms, key_creation, replication, resync
from hsmapp.device.protocol import HsmAnswerError, HsmUnreachableError
from hsmapp.hsm_processes import STOP_SECONDS, HsmProcess, ProcessEndedError, socket_path
from hsmapp.models import Cluster, Hsm, KeyIntent
from hsmapp.replication import Device
from hsmapp.states import (
    HSM_PROCESS_ENDED,
    HSM_SILENT,
    HSM_STOPPED,
    HSM_SYNCHRONIZING,
    ClusterState,
    HsmState,
    IntentState,
)

logger = logging.getLogger(__name__)

PROBE_EVERY_SECONDS = 1.0
PROBE_SECONDS = replication.SHORT_SECONDS
ROUND_SECONDS = 0.2
FAILED_ROUND_SECONDS = 2.0
BACK_OFF_SECONDS = (0.0, 0.2, 0.5, 1.0, 2.0, 5.0)
STUCK_SECONDS = 300.0  # no round takes that long; founding a cluster of slow HSMs is the longest


class Keeper(threading.Thread):
    """Keeps one HSM running."""

    def __init__(self, hsm_id: str, supervisor: Supervisor):
        super().__init__(name=f"keeper of {hsm_id}", daemon=True)
        self.hsm_id = hsm_id
        self.device: Device | None = None  # while its process answers
        self._supervisor = supervisor
        self._stopping = threading.Event()
        self._failures = 0

    def stop(self) -> None:
        self._stopping.set()

    def run(self) -> None:
        try:
            while not self._stopping.is_set():
                close_old_connections()
                self._round()
                self._stopping.wait(BACK_OFF_SECONDS[min(self._failures, len(BACK_OFF_SECONDS) - 1)])
        finally:
            connection.close()

    def _round(self) -> None:
        """One life of the HSM process."""
        process: HsmProcess | None = None
        silent = False
        try:
            hsm = Hsm.objects.select_related("cluster").get(hsm_id=self.hsm_id)
            process = hsm_processes.start(hsm)
            self._connect(hsm, process)
            self._watch(hsm, process)
        except (ProcessEndedError, HsmUnreachableError, HsmAnswerError, OSError, DatabaseError) as error:
            self._failures += 1
            silent = isinstance(error, HsmUnreachableError) and process is not None and not process.ends_soon()
            if not self._stopping.is_set():
                logger.warning("%s: %s", self.hsm_id, error)
        except (
            Exception
        ):  # the keeper's last stage: one HSM's trouble is tried again, later and later, and stops no other
            self._failures += 1
            logger.exception("%s can't be kept running", self.hsm_id)
        finally:
            self.device = None
            # Written first: ending a process may take a while, and meanwhile nobody should count on this HSM.
            if not self._stopping.is_set():
                self._write_degraded(HSM_SILENT if silent else HSM_PROCESS_ENDED)
            if process is not None:
                process.stop(at_once=silent)

    def _connect(self, hsm: Hsm, process: HsmProcess) -> None:
        control = process.connect(hsm.hsm_id)
        hsm.token_made = True
        hsm.address = str(socket_path(hsm.hsm_id))
        health = control.call("health", {}, deadline_seconds=PROBE_SECONDS)
        hsm.module_makes_ivs = health["module_makes_ivs"]
        hsm.save(update_fields=["token_made", "address", "module_makes_ivs"])
        self.device = Device(hsm, control)

    def _watch(self, hsm: Hsm, process: HsmProcess) -> None:
        """Serve as soon as the cluster allows it, and stay until the process fails."""
        serving = False
        next_probe = 0.0
        while not self._stopping.is_set():
            if process.ended():
                raise ProcessEndedError(f"the HSM process ended with status {process.child.returncode}")
            if not serving:
                serving = self._serve_if_ready(hsm)
            elif time.monotonic() >= next_probe:
                serving = self._probe(hsm)
                next_probe = time.monotonic() + PROBE_EVERY_SECONDS
            try:
                process.child.wait(ROUND_SECONDS)
            except subprocess.TimeoutExpired:
                continue

    def _serve_if_ready(self, hsm: Hsm) -> bool:
        device = self.device
        hsm.cluster.refresh_from_db()
        if device is None or hsm.cluster.masking_key_backup is None:
            close_old_connections()
            return False  # the cluster is not founded yet: found_clusters() does that
        with self._supervisor.cluster_lock(hsm.cluster_id):
            if not device.ask("masking_key")["present"]:
                peer = self._supervisor.peer_of(hsm)
                if peer is None:
                    return False
                replication.join(device, peer)
            if hsm.state != HsmState.CREATE_IN_PROGRESS:
                hsms.set_state(hsm, HsmState.DEGRADED, HSM_SYNCHRONIZING)
            report = resync.bring_up_to_date(device)
            device.ask("serve")
            if not hsms.let_in(hsm):
                device.ask("standby")  # a password changed meanwhile: once more, with the new one
                return False
        self._failures = 0
        logger.info("%s serves; restored %d keys, destroyed %d", hsm.hsm_id, report.restored, report.destroyed)
        return True

    def _probe(self, hsm: Hsm) -> bool:
        """Whether it still serves. One that was stopped and started again between two rounds is let in anew."""
        close_old_connections()
        if self.device is None:
            return False
        health = self.device.ask_within(PROBE_SECONDS, "health")
        if not health["ok"]:
            raise ProcessEndedError("its token does not answer")
        hsm.refresh_from_db(fields=["state", "state_message", "wanted"])
        if hsm.wanted and hsm.previous_passwords.exists():
            # A connect that began before this HSM was let in has changed the password on the others only.
            self._take_out(hsm)
            return False
        return (hsm.state == HsmState.ACTIVE and health["serving"]) or not hsm.wanted

    def _take_out(self, hsm: Hsm) -> None:
        hsms.set_state(hsm, HsmState.DEGRADED, HSM_SYNCHRONIZING)
        if self.device is not None:
            self.device.ask("standby")

    def _write_degraded(self, message: str) -> None:
        try:
            hsm = Hsm.objects.select_related("cluster").get(hsm_id=self.hsm_id)
            if hsm.state == HsmState.ACTIVE:
                hsms.set_state(hsm, HsmState.DEGRADED, message)
        except DatabaseError:
            logger.exception("%s: its state can't be written", self.hsm_id)


class Supervisor:
    """The keepers of this machine."""

    def __init__(self) -> None:
        self._keepers: dict[str, Keeper] = {}
        self._locks: dict[int, threading.Lock] = {}
        self._locks_guard = threading.Lock()

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
            except HsmUnreachableError as error:
                logger.warning("%s is no peer now: %s", keeper.hsm_id, error)  # its own keeper sees to it
        return None

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
        devices = {keeper.hsm_id: keeper.device for keeper in self._keepers.values() if keeper.device is not None}
        for intent in KeyIntent.objects.filter(state=IntentState.ABANDONED, deadline__lt=overdue).exclude(hsms=[]):
            if devices.keys() & set(intent.hsms):
                resync.clean(intent, devices)


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
