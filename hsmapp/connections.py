"""Logged-in connections to HSM processes, kept ready so that no call waits for a login.

A pool belongs to one crypto user of one cluster in this process. Calls take a connection and give it back; a thread of
the pool's own keeps READY_PER_HSM of them open on each active HSM as long as the credential is connected, and logs in
by further threads, one per HSM, so that an HSM that hangs holds up no other. An HSM that ends a connection or misses a
deadline is left out until a login has succeeded there again (breaker.py).
"""

from __future__ import annotations

import logging
import select
import threading
import time
from collections.abc import Container, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from django.db import DatabaseError, close_old_connections
from django.db import connection as database

from hsmapp import credentials
from hsmapp.breaker import Breaker
from hsmapp.device import protocol
from hsmapp.device.protocol import Connection, HsmAnswerError, HsmUnreachableError
from hsmapp.errors import NoHsmAnswersError
from hsmapp.models import ClusterCredential, Hsm
from hsmapp.states import HsmState

logger = logging.getLogger(__name__)

READY_PER_HSM = 4  # as many as a worker has threads
WAIT_SECONDS = 2.0  # how long a call waits for the pool to have any connection at all
RETRY_SECONDS = 0.25  # after an error of the database
REFUSED_SECONDS = 60.0  # five wrong passwords lock a crypto user; one a minute is far from that
IDLE_ROUND_SECONDS = 1.0
ROUND_GAP_SECONDS = 0.02
LATE_SECONDS = 0.1  # a call takes a few milliseconds: an HSM that has kept one for so long gets others only at need


@dataclass
class Member:
    """One HSM as the pool sees it, from when it began to serve until that ends."""

    hsm_id: str
    serving_since: object  # of another time: another life of the HSM, of which nothing is known
    idle: list[Connection] = field(default_factory=list)
    under_way: dict[Connection, float] = field(default_factory=dict)  # lent, and since when (monotonic)
    breaker: Breaker = field(default_factory=Breaker)
    filling: bool = False  # a thread is logging in

    @property
    def lacking(self) -> int:
        return READY_PER_HSM - len(self.idle) - len(self.under_way)

    def reluctance(self, now: float) -> tuple[bool, int]:
        """The less, the sooner it answers: nobody has waited long for it, and few wait at all."""
        late = bool(self.under_way) and now - min(self.under_way.values()) > LATE_SECONDS
        return late, len(self.under_way)

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
        self._last_ready = time.monotonic()
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
            self.give_back(hsm_id, connection)

    def lend(self, asked: Container[str], *, wait_seconds: float = WAIT_SECONDS) -> tuple[str, Connection] | None:
        """Lend a connection to the HSM that will answer soonest of those that have one at hand and are not among
        `asked`; `give_back` takes it. None if there is no further one; waits for the first.

        The connection may be one that its HSM has ended meanwhile: to use it says so at once.
        Raises: NoHsmAnswersError when none has come in time: within WAIT_SECONDS of when there last was one, so that
        calls do not queue up behind HSMs that have been away for longer.
        """
        end = 0.0
        with self._changed:
            while True:
                now = time.monotonic()
                member = self._soonest(asked, now)
                if member is not None:
                    self._last_ready = now
                    connection = member.idle.pop()
                    member.under_way[connection] = now
                    return member.hsm_id, connection
                self._wanted.set()
                if asked:
                    return None
                end = end or now + wait_seconds
                left = min(end, self._last_ready + WAIT_SECONDS) - now
                if left <= 0 or not self._thread.is_alive():
                    raise NoHsmAnswersError("No HSM of the cluster answers.")
                self._changed.wait(left)

    def _soonest(self, asked: Container[str], now: float) -> Member | None:
        ready = [member for member in self._members.values() if member.idle and member.hsm_id not in asked]
        if not ready:
            return None
        # Among equals another one is first each time.
        self._turn += 1
        start = self._turn % len(ready)
        return min(ready[start:] + ready[:start], key=lambda member: member.reluctance(now))

    def _take(self, hsm_id: str, deadline: float) -> Connection:
        with self._changed:
            answered = self._members.get(hsm_id)
            if answered is not None and answered.breaker.is_open:
                answered = None  # a login is being tried already, and may succeed
            while True:
                member = self._members.get(hsm_id)
                if member is not None and member is answered and member.breaker.is_open:
                    # Others have waited for it in vain since this call began to wait for it.
                    raise HsmUnreachableError(f"{hsm_id} has stopped answering")
                while member is not None and member.idle:
                    connection = member.idle.pop()
                    if not _hung_up(connection):
                        member.under_way[connection] = time.monotonic()
                        return connection
                    connection.close()
                self._wanted.set()
                left = deadline - time.monotonic()
                if left <= 0 or not self._thread.is_alive():
                    raise HsmUnreachableError(f"no connection to {hsm_id} is ready")
                self._changed.wait(left)

    def give_back(self, hsm_id: str, connection: Connection) -> None:
        """Take a lent connection back; what has closed it has closed all others to that HSM."""
        with self._changed:
            member = self._members.get(hsm_id)
            if member is None or member.under_way.pop(connection, None) is None:
                connection.close()  # of an HSM that is gone, or of an earlier life of it
            elif connection.closed:
                # The process behind the others is the same one: they are as dead as this one.
                member.breaker.call_failed(time.monotonic())
                member.drop()
                self._wanted.set()
                self._changed.notify_all()  # who waits for this HSM need not wait on
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
                    self._wanted.wait(self._seconds_to_next_round())
                    time.sleep(ROUND_GAP_SECONDS)
                except DatabaseError:
                    logger.exception("the pool of %s can't read the database", self._user_name)
                    time.sleep(RETRY_SECONDS)
        finally:
            self._close()
            database.close()

    def _fill(self) -> bool:
        """Begin to log in where connections are missing. False when the credential is not connected (any more)."""
        credential = (
            ClusterCredential.objects.select_related("cluster")
            .filter(cluster_id=self._cluster_pk, user_name=self._user_name, connected=True)
            .first()
        )
        if credential is None:
            return False
        hsms = {hsm.hsm_id: hsm for hsm in credential.cluster.hsms.filter(state=HsmState.ACTIVE)}
        self._forget_others(hsms)
        password = credentials.current_password(credential)
        sealed = bytes(credential.password_sealed)
        for hsm in hsms.values():
            if not self._is_refused(hsm, sealed):
                self._begin_to_log_in(hsm, credential, password)
        return True

    def _begin_to_log_in(self, hsm: Hsm, credential: ClusterCredential, password: str) -> None:
        with self._changed:
            member = self._members.setdefault(hsm.hsm_id, Member(hsm.hsm_id, hsm.serving_since))
            if member.filling or member.lacking <= 0 or member.breaker.seconds_to_probe(time.monotonic()):
                return
            member.filling = True
        threading.Thread(
            target=self._log_in, args=(member, hsm, credential, password), name=f"login {hsm.hsm_id}", daemon=True
        ).start()

    def _log_in(self, member: Member, hsm: Hsm, credential: ClusterCredential, password: str) -> None:
        """Give the HSM the connections that it lacks. Reads nothing from the database."""
        try:
            while self._add(member, credentials.log_in(hsm, credential, password)):
                pass
        except HsmUnreachableError:
            with self._changed:
                member.breaker.probe_failed(time.monotonic())
        except HsmAnswerError as error:
            logger.warning("%s refuses %s: %s", hsm.hsm_id, self._user_name, error.name)
            seconds = REFUSED_SECONDS if error.name == protocol.WRONG_PASSWORD else IDLE_ROUND_SECONDS
            sealed = bytes(credential.password_sealed)
            self._refused[hsm.hsm_id] = (hsm.serving_since, sealed, time.monotonic() + seconds)
        finally:
            with self._changed:
                member.filling = False
            self._wanted.set()

    def _is_refused(self, hsm: Hsm, sealed: bytes) -> bool:
        serving_since, refused, until = self._refused.get(hsm.hsm_id, (None, b"", 0.0))
        return (serving_since, refused) == (hsm.serving_since, sealed) and time.monotonic() < until

    def _add(self, member: Member, connection: Connection) -> bool:
        """Take a connection in; whether the HSM lacks another."""
        with self._changed:
            if self._members.get(member.hsm_id) is not member or self._ended:
                connection.close()
                return False
            now = time.monotonic()
            member.breaker.probe_succeeded(now)
            member.idle.append(connection)
            self._last_ready = now
            self._changed.notify_all()
            return member.lacking > 0

    def _seconds_to_next_round(self) -> float:
        """Until the next probe of an HSM that failed is due, or somebody may have changed something."""
        now = time.monotonic()
        with self._changed:
            due = [
                member.breaker.seconds_to_probe(now)
                for member in self._members.values()
                if member.breaker.is_open and not member.filling
            ]
        return min([IDLE_ROUND_SECONDS, *due])

    def _forget_others(self, hsms: dict[str, Hsm]) -> None:
        """Forget HSMs that do not serve, and what was known of an earlier life of those that do."""
        with self._changed:
            for member in list(self._members.values()):
                hsm = hsms.get(member.hsm_id)
                if hsm is None or hsm.serving_since != member.serving_since:
                    self._members.pop(member.hsm_id).drop()

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
