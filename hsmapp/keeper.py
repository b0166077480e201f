"""Keeps one HSM running: a thread of the supervisor's for each HSM of this machine.

A keeper's round is one life of the HSM process: start it, prove who we are to it, mend what is wrong with the HSM as a
whole, bring it up to date, let it serve, write ACTIVE; compare it with the database at once, hourly and when asked;
watch it until it ends or stops answering, write DEGRADED with the reason, and begin again. A token that is gone or does
not open is put aside and made anew, if a peer can give the new one the masking key.
"""

from __future__ import annotations

import contextlib
import logging
import subprocess
import threading
import time
from typing import Protocol

from django.conf import settings
from django.db import DatabaseError, close_old_connections, connection

from hsmapp import clock, findings, hsm_processes, hsms, mending, new_tokens, reconcile, replication, resync
from hsmapp.device.protocol import HsmAnswerError, HsmUnreachableError
from hsmapp.findings import Subject
from hsmapp.hsm_processes import TOKEN_UNUSABLE, HsmProcess, NotReadyError, ProcessEndedError, socket_path
from hsmapp.models import Hsm
from hsmapp.reconcile import Report
from hsmapp.replication import Device
from hsmapp.states import (
    HSM_PROCESS_ENDED,
    HSM_SILENT,
    HSM_STORAGE_SILENT,
    HSM_SYNCHRONIZING,
    FindingKind,
    HsmState,
    ReconcileReason,
)

logger = logging.getLogger(__name__)

PROBE_EVERY_SECONDS = 1.0
PROBE_SECONDS = replication.SHORT_SECONDS
ROUND_SECONDS = 0.2
BACK_OFF_SECONDS = (0.0, 0.2, 0.5, 1.0, 2.0, 5.0)
RECONCILE_EVERY_SECONDS = 3600.0
# How long an HSM without a masking key waits for peers that are being started, before it serves without one.
PEER_SECONDS = 15.0
# How long storage may be away, as when a disk is mounted again, before its HSM gets a new token.
REPLACE_AFTER_SECONDS = 10.0

NOT_STARTED = "The HSM process can't be started: {reason}. It is tried again."
REPLACED = "It gets a new token, and its keys from their masked keys."
KEPT = "What was there is kept in {folder}."
NOT_PUT_ASIDE = "It can't get a new token, because what is there can't be put aside: {reason}."
NO_PEER = (
    "No other HSM that runs has the masking key, so it can't get a new token by itself: if its storage does not come "
    "back, stop the server, and make and restore a backup."
)


class Peers(Protocol):
    """What a keeper asks its supervisor."""

    def cluster_lock(self, cluster_pk: int) -> threading.Lock: ...

    def peer_of(self, hsm: Hsm) -> Device | None: ...

    def is_expecting_peers(self, hsm: Hsm) -> bool: ...


class StorageSilentError(ProcessEndedError):
    """The HSM process runs, and its token does not answer it."""


class Keeper(threading.Thread):
    """Keeps one HSM running."""

    def __init__(self, hsm_id: str, peers: Peers):
        super().__init__(name=f"keeper of {hsm_id}", daemon=True)
        self.hsm_id = hsm_id
        self.device: Device | None = None  # while its process answers
        self._peers = peers
        self._stopping = threading.Event()
        self._failures = 0
        self._unusable_since: float | None = None  # its token, monotonic
        self._waiting_since: float | None = None  # for a peer that has the masking key
        self._lacks_masking_key = False
        self._reconcile_at = 0.0
        self._reconcile_reason = ReconcileReason.START
        self._before_serving = Report()  # what was done just before it began to serve

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
        trouble, silent = HSM_PROCESS_ENDED, False
        try:
            hsm = Hsm.objects.select_related("cluster").get(hsm_id=self.hsm_id)
            process = hsm_processes.start(hsm)
            self._connect(hsm, process)
            self._watch(hsm, process)
        except NotReadyError as error:
            self._fail(error)
            trouble = self._meet_failed_start(error)
        except HsmUnreachableError as error:
            self._fail(error)
            silent = process is not None and not process.ends_soon()
            trouble = HSM_SILENT if silent else HSM_PROCESS_ENDED
        except OSError as error:
            self._fail(error)
            if process is None and not isinstance(error, BrokenPipeError):  # which says that it has ended already
                trouble = NOT_STARTED.format(reason=error.strerror)
        except (ProcessEndedError, HsmAnswerError, DatabaseError) as error:
            self._fail(error)
            trouble = HSM_STORAGE_SILENT if isinstance(error, StorageSilentError) else HSM_PROCESS_ENDED
        except Exception:  # the keeper's last stage: one HSM's trouble is tried again later and stops no other's
            self._failures += 1
            logger.exception("%s can't be kept running", self.hsm_id)
        finally:
            self.device = None
            # Written first: ending a process may take a while, and meanwhile nobody should count on this HSM.
            if not self._stopping.is_set():
                self._write_degraded(trouble)
            if process is not None:
                process.stop(at_once=silent)

    def _fail(self, error: Exception) -> None:
        self._failures += 1
        if not self._stopping.is_set():
            logger.warning("%s: %s", self.hsm_id, error)

    # A start that failed

    def _meet_failed_start(self, error: NotReadyError) -> str:
        """Give the HSM a new token if its own is lost; return what its state message is to say."""
        said = f"{error.said[:1].upper()}{error.said[1:]}." if error.said else HSM_PROCESS_ENDED
        if error.status != TOKEN_UNUSABLE:
            return said
        now = time.monotonic()
        self._unusable_since = self._unusable_since or now
        if now - self._unusable_since < REPLACE_AFTER_SECONDS:
            return said
        try:
            return f"{said} {self._replace_token(said)}"
        except OSError as error:  # tried again at the next start, like the next
            return f"{said} {NOT_PUT_ASIDE.format(reason=error.strerror)}"
        except DatabaseError:
            return said

    def _replace_token(self, said: str) -> str:
        hsm = Hsm.objects.select_related("cluster").get(hsm_id=self.hsm_id)
        if hsm.cluster.masking_key_backup is None:
            return ""  # not founded yet: nothing was ever in it
        if self._peers.peer_of(hsm) is None:
            findings.note(_storage_of(hsm), f"{said} {NO_PEER}")
            return NO_PEER
        kept = new_tokens.folder_for_replaced(clock.now())
        put = new_tokens.begin_anew(hsm, kept)
        sentence = f"{REPLACED} {KEPT.format(folder=put.relative_to(settings.DATA))}" if put else REPLACED
        findings.note(_storage_of(hsm), f"{said} {sentence}")
        logger.warning("%s: %s %s", self.hsm_id, said, sentence)
        self._unusable_since = None
        self._failures = 0
        return sentence

    # A process that runs

    def _connect(self, hsm: Hsm, process: HsmProcess) -> None:
        control = process.connect(hsm.hsm_id)
        hsm.token_made = True
        hsm.address = str(socket_path(hsm.hsm_id))
        health = control.call("health", {}, deadline_seconds=PROBE_SECONDS)
        hsm.module_makes_ivs = health["module_makes_ivs"]
        hsm.save(update_fields=["token_made", "address", "module_makes_ivs"])
        self._unusable_since = None
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
            if serving and time.monotonic() >= self._reconcile_at:
                self._reconcile()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.child.wait(ROUND_SECONDS)

    def _serve_if_ready(self, hsm: Hsm) -> bool:
        device = self.device
        hsm.cluster.refresh_from_db()
        if device is None or hsm.cluster.masking_key_backup is None:
            close_old_connections()
            return False  # the cluster is not founded yet: found_clusters() does that
        with self._peers.cluster_lock(hsm.cluster_id):
            try:
                whole = self._is_whole(hsm, device)
            except HsmUnreachableError as error:
                device.ask_within(PROBE_SECONDS, "health")  # fails too, unless it was a peer that did not answer
                logger.warning("%s is not mended yet, a peer left: %s", hsm.hsm_id, error)
                return False
        if not whole:
            return False
        if hsm.state != HsmState.CREATE_IN_PROGRESS:
            hsms.set_state(hsm, HsmState.DEGRADED, HSM_SYNCHRONIZING)
        report = resync.bring_up_to_date(device)
        device.ask("serve")
        if not hsms.let_in(hsm):
            device.ask("standby")  # a password changed meanwhile: once more, with the new one
            return False
        findings.resolve(_storage_of(hsm))
        self._failures = 0
        self._before_serving = report.with_earlier(self._before_serving)
        self._reconcile_at, self._reconcile_reason = 0.0, ReconcileReason.START
        logger.info("%s serves: %s", hsm.hsm_id, report.sentence())
        return True

    def _is_whole(self, hsm: Hsm, device: Device) -> bool:
        """Mend key pairs, masking key and HSM users. False: a peer that is needed for it may come yet."""
        mending.renew_key_pairs(device)
        peer = self._peers.peer_of(hsm)
        if mending.has_masking_key(device):
            mending.masking_key_is_there(device)
            self._lacks_masking_key, self._waiting_since = False, None
        elif peer is not None:
            mending.fetch_masking_key(device, peer)
            self._lacks_masking_key, self._waiting_since = False, None
        elif self._waits_for_peers(hsm) or not mending.note_lacking_masking_key(device):
            return False
        else:
            self._lacks_masking_key = True
        mending.complete_users(device, peer)
        return True

    def _waits_for_peers(self, hsm: Hsm) -> bool:
        now = time.monotonic()
        self._waiting_since = self._waiting_since or now
        return now - self._waiting_since < PEER_SECONDS and self._peers.is_expecting_peers(hsm)

    def _probe(self, hsm: Hsm) -> bool:
        """Whether it still serves. One that was stopped and started again between two rounds is let in anew."""
        close_old_connections()
        if self.device is None:
            return False
        health = self.device.ask_within(PROBE_SECONDS, "health")
        if not health["ok"]:
            raise StorageSilentError("its token does not answer")
        asked = hsm.reconcile_asked_at
        hsm.refresh_from_db(fields=["state", "state_message", "wanted", "reconcile_asked_at"])
        if hsm.reconcile_asked_at != asked:
            self._reconcile_at, self._reconcile_reason = 0.0, ReconcileReason.ASKED
        if self._must_be_brought_up_to_date(hsm):
            self._take_out(hsm)
            return False
        return (hsm.state == HsmState.ACTIVE and health["serving"]) or not hsm.wanted

    def _must_be_brought_up_to_date(self, hsm: Hsm) -> bool:
        """Whether it has to leave and come back: for a password, or for a masking key that a peer can give now."""
        if not hsm.wanted:
            return False
        # A connect that began before this HSM was let in has changed the password on the others only.
        return hsm.previous_passwords.exists() or (self._lacks_masking_key and self._peers.peer_of(hsm) is not None)

    def _take_out(self, hsm: Hsm) -> None:
        hsms.set_state(hsm, HsmState.DEGRADED, HSM_SYNCHRONIZING)
        if self.device is not None:
            self.device.ask("standby")

    def _reconcile(self) -> None:
        if self.device is None:
            return
        reconcile.reconcile_and_note(self.device, self._reconcile_reason, self._before_serving)
        self._before_serving = Report()
        self._reconcile_at = time.monotonic() + RECONCILE_EVERY_SECONDS
        self._reconcile_reason = ReconcileReason.HOURLY

    def _write_degraded(self, message: str) -> None:
        try:
            hsm = Hsm.objects.select_related("cluster").get(hsm_id=self.hsm_id)
            if hsm.state in (HsmState.ACTIVE, HsmState.DEGRADED) and hsm.wanted:
                hsms.set_state(hsm, HsmState.DEGRADED, message)
        except DatabaseError:
            logger.exception("%s: its state can't be written", self.hsm_id)


def _storage_of(hsm: Hsm) -> Subject:
    return Subject(hsm.cluster, FindingKind.STORAGE, hsm=hsm)
