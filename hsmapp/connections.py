"""Logged-in connections to HSM processes, kept ready so that no call waits for a login.

A pool belongs to one crypto user of one cluster in this process. Calls take a connection and give it back; a thread of
the pool's own keeps READY_PER_HSM of them open on each active HSM as long as the credential is connected. An HSM that
ends a connection or misses a deadline is left out until the thread has logged in there again.
"""

from __future__ import annotations

import logging
import select
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from django.db import DatabaseError, close_old_connections
from django.db import connection as database

from hsmapp import credentials
from hsmapp.device import protocol
from hsmapp.device.protocol import Connection, HsmAnswerError, HsmUnreachableError
from hsmapp.errors import NoHsmAnswersError
from hsmapp.models import ClusterCredential, Hsm
from hsmapp.states import HsmState

logger = logging.getLogger(__name__)

READY_PER_HSM = 4  # as many as a worker has threads
WAIT_SECONDS = 2.0  # how long a call waits for the pool to have any connection at all
RETRY_SECONDS = 0.25
REFUSED_SECONDS = 60.0  # five wrong passwords lock a crypto user; one a minute is far from that
IDLE_ROUND_SECONDS = 1.0


@dataclass
class Member:
    """One HSM as the pool sees it."""

    hsm_id: str
    idle: list[Connection] = field(default_factory=list)
    in_use: int = 0

    def drop(self) -> None:
        for connection in self.idle:
            connection.close()
        self.idle.clear()


class Pool:
    """Connections of one crypto user to the HSMs of one cluster."""

    def __init__(self, cluster_pk: int, user_name: str):
        self._cluster_pk = cluster_pk
        self._user_name = user_name
        self._changed = threading.Condition()
        self._members: dict[str, Member] = {}
        self._turn = 0
        self._ended = False
        # HSM id -> what the HSM and the credential were when it refused a login, and until when that is believed:
        # trying a wrong password again and again would only bring the user nearer to being locked.
        self._refused: dict[str, tuple[object, bytes, float]] = {}
        self._wanted = threading.Event()
        self._wanted.set()
        self._thread = threading.Thread(target=self._keep_filled, name=f"pool {cluster_pk}/{user_name}", daemon=True)
        self._thread.start()

    def end(self) -> None:
        """Close everything and wait for the pool's thread."""
        self._ended = True
        self._wanted.set()
        self._thread.join()

    @property
    def is_alive(self) -> bool:
        return self._thread.is_alive()

    @contextmanager
    def connection(self, hsm_id: str, *, wait_seconds: float = 0.0) -> Iterator[Connection]:
        """Lend a connection to this HSM, waiting so long for one. What closes it drops all idle ones to that HSM.

        Raises: HsmUnreachableError, also for "none is ready".
        """
        connection = self._take(hsm_id, time.monotonic() + wait_seconds)
        try:
            yield connection
        except HsmUnreachableError:
            connection.close()
            raise
        finally:
            self._give_back(hsm_id, connection)

    def ready(self, *, without: frozenset[str] = frozenset()) -> list[str]:
        """Ids of the HSMs with a connection at hand, another one first each time; waits while there is none at all.

        Raises: NoHsmAnswersError when none has come within WAIT_SECONDS.
        """
        deadline = time.monotonic() + WAIT_SECONDS
        with self._changed:
            while True:
                ready = [hsm_id for hsm_id, member in self._members.items() if member.idle and hsm_id not in without]
                if ready:
                    self._turn += 1
                    start = self._turn % len(ready)
                    return ready[start:] + ready[:start]
                left = deadline - time.monotonic()
                if left <= 0 or without or not self._thread.is_alive():
                    raise NoHsmAnswersError("No HSM of the cluster answers.")
                self._wanted.set()
                self._changed.wait(left)

    def _take(self, hsm_id: str, deadline: float) -> Connection:
        with self._changed:
            while True:
                member = self._members.get(hsm_id)
                while member is not None and member.idle:
                    connection = member.idle.pop()
                    if not _hung_up(connection):
                        member.in_use += 1
                        return connection
                    connection.close()
                self._wanted.set()
                left = deadline - time.monotonic()
                if left <= 0 or not self._thread.is_alive():
                    raise HsmUnreachableError(f"no connection to {hsm_id} is ready")
                self._changed.wait(left)

    def _give_back(self, hsm_id: str, connection: Connection) -> None:
        with self._changed:
            member = self._members.get(hsm_id)
            if member is None:
                connection.close()
                return
            member.in_use -= 1
            if connection.closed:
                # The process behind the others is the same one: they are as dead as this one.
                member.drop()
                self._wanted.set()
            else:
                member.idle.append(connection)
                self._changed.notify_all()

    def _keep_filled(self) -> None:
        try:
            while not self._ended:
                self._wanted.clear()
                try:
                    close_old_connections()
                    if not self._fill():
                        return
                    self._wanted.wait(IDLE_ROUND_SECONDS)
                except DatabaseError:
                    logger.exception("the pool of %s can't read the database", self._user_name)
                    time.sleep(RETRY_SECONDS)
        finally:
            self._close()
            database.close()

    def _fill(self) -> bool:
        """Log in where connections are missing. False when the credential is not connected (any more)."""
        credential = (
            ClusterCredential.objects.select_related("cluster")
            .filter(cluster_id=self._cluster_pk, user_name=self._user_name, connected=True)
            .first()
        )
        if credential is None:
            return False
        hsms = {hsm.hsm_id: hsm for hsm in credential.cluster.hsms.filter(state=HsmState.ACTIVE)}
        self._forget_others(set(hsms))
        password = credentials.current_password(credential)
        sealed = bytes(credential.password_sealed)
        worth_a_try = [hsm_id for hsm_id, hsm in hsms.items() if not self._is_refused(hsm, sealed)]
        failed: set[str] = set()  # one that hangs must not make the others wait for each of its connections
        for hsm_id in self._missing(worth_a_try):
            if hsm_id in failed:
                continue
            try:
                self._add(hsm_id, credentials.log_in(hsms[hsm_id], credential, password))
            except HsmUnreachableError:
                failed.add(hsm_id)
            except HsmAnswerError as error:
                failed.add(hsm_id)
                logger.warning("%s refuses %s: %s", hsm_id, self._user_name, error.name)
                seconds = REFUSED_SECONDS if error.name == protocol.WRONG_PASSWORD else IDLE_ROUND_SECONDS
                self._refused[hsm_id] = (hsms[hsm_id].serving_since, sealed, time.monotonic() + seconds)
        if failed:
            time.sleep(RETRY_SECONDS)
            self._wanted.set()
        return True

    def _is_refused(self, hsm: Hsm, sealed: bytes) -> bool:
        serving_since, refused, until = self._refused.get(hsm.hsm_id, (None, b"", 0.0))
        return (serving_since, refused) == (hsm.serving_since, sealed) and time.monotonic() < until

    def _missing(self, hsms: list[str]) -> list[str]:
        """Ids of HSMs, one per missing connection, so that each HSM gets its first before any gets its second."""
        with self._changed:
            lacking = {
                hsm_id: READY_PER_HSM - len(member.idle) - member.in_use
                for hsm_id, member in ((hsm_id, self._members.setdefault(hsm_id, Member(hsm_id))) for hsm_id in hsms)
            }
        return [hsm_id for round_ in range(READY_PER_HSM) for hsm_id, lack in lacking.items() if lack > round_]

    def _add(self, hsm_id: str, connection: Connection) -> None:
        with self._changed:
            self._members.setdefault(hsm_id, Member(hsm_id)).idle.append(connection)
            self._changed.notify_all()

    def _forget_others(self, kept: set[str]) -> None:
        with self._changed:
            for hsm_id in self._members.keys() - kept:
                self._members.pop(hsm_id).drop()

    def _close(self) -> None:
        with self._changed:
            for member in self._members.values():
                member.drop()
            self._members.clear()
            self._changed.notify_all()


def _hung_up(connection: Connection) -> bool:
    """Whether the other side has ended an idle connection: nothing else can be readable on it."""
    poll = select.poll()
    poll.register(connection.fileno(), select.POLLIN)
    return bool(poll.poll(0))


_pools: dict[tuple[int, str], Pool] = {}
_pools_lock = threading.Lock()


def pool(cluster_pk: int, user_name: str) -> Pool:
    """This process's pool for a crypto user of a cluster; made anew when it ended because of a disconnect."""
    found = _pools.get((cluster_pk, user_name))
    if found is not None and found.is_alive:
        return found
    with _pools_lock:
        found = _pools.get((cluster_pk, user_name))
        if found is None or not found.is_alive:
            found = _pools[(cluster_pk, user_name)] = Pool(cluster_pk, user_name)
        return found


def close_pools() -> None:
    """End this process's pools and wait for their threads (a test's end, a worker's end)."""
    with _pools_lock:
        ended = list(_pools.values())
        _pools.clear()
    for each in ended:
        each.end()


def warm() -> None:
    """Start the pools of all connected credentials, so that a worker's first calls need not wait for them."""
    for cluster_pk, user_name in ClusterCredential.objects.filter(connected=True).values_list(
        "cluster_id", "user_name"
    ):
        pool(cluster_pk, user_name)
