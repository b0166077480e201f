"""Passwords of the crypto users that this service logs in as, and their rotation on connect.

Order of a rotation, so that a crash at any line leaves a password that works: the new one is stored as *pending*
before the first HSM is touched; every active HSM is brought to it; then it becomes current, in one transaction with
the note of the HSMs that were away. A pending one that is already there is finished before a new one is drawn.
"""

from __future__ import annotations

import secrets
import string

from django.db import transaction
from django.db.models import QuerySet

from hsmapp import epochs, sealing, steps
from hsmapp.device import protocol
from hsmapp.device.protocol import Connection, HsmAnswerError, HsmUnreachableError
from hsmapp.errors import ConnectError, HsmError
from hsmapp.models import Cluster, ClusterCredential, Hsm, HsmOnPreviousPassword
from hsmapp.states import ClusterState, HsmState
from hsmapp.steps import Step

CONNECT_SECONDS = 0.1
LOGIN_SECONDS = 2.0
_ALPHABET = string.ascii_letters + string.digits
_TABLE = "hsmapp_clustercredential"

_CONNECT_CODES = {
    protocol.USER_NOT_FOUND: "USER_NOT_FOUND",
    protocol.WRONG_PASSWORD: "INVALID_CREDENTIALS",
    protocol.USER_LOCKED: "USER_LOCKED_OUT",
}


def draw_password() -> str:
    """A random password as KMS makes them: 32 letters and digits."""
    return "".join(secrets.choice(_ALPHABET) for _ in range(32))


def _row(cluster_id: str, user_name: str) -> str:
    return f"{cluster_id}/{user_name}"


def seal(cluster_id: str, user_name: str, password: str) -> bytes:
    return sealing.keyring().seal(
        password.encode(), purpose=sealing.CLUSTER_CREDENTIAL, table=_TABLE, row=_row(cluster_id, user_name)
    )


def _open(credential: ClusterCredential, sealed: bytes | memoryview) -> str:
    row = _row(credential.cluster.cluster_id, credential.user_name)
    return sealing.keyring().open(sealed, purpose=sealing.CLUSTER_CREDENTIAL, table=_TABLE, row=row).decode()


def current_password(credential: ClusterCredential) -> str:
    return _open(credential, credential.password_sealed)


def pending_password(credential: ClusterCredential) -> str | None:
    sealed = credential.pending_password_sealed
    return _open(credential, sealed) if sealed is not None else None


def set_password(credential: ClusterCredential, password: str) -> None:
    """Remember a password that somebody else set in the cluster: it replaces current and drops pending."""
    credential.password_sealed = seal(credential.cluster.cluster_id, credential.user_name, password)
    credential.pending_password_sealed = None
    credential.save(update_fields=["password_sealed", "pending_password_sealed"])


def remember(cluster: Cluster, user_name: str, password: str) -> ClusterCredential:
    """The crypto user of the cluster, with the password that somebody says it has there. It is not tried."""
    sealed = seal(cluster.cluster_id, user_name, password)
    credential, new = ClusterCredential.objects.get_or_create(
        cluster=cluster, user_name=user_name, defaults={"password_sealed": sealed}
    )
    if not new:
        set_password(credential, password)
    return credential


def carry_over(credential: ClusterCredential, cluster: Cluster) -> ClusterCredential:
    """The same crypto user of another cluster, which a backup of the first one has given the same passwords."""
    carried = remember(cluster, credential.user_name, current_password(credential))
    pending = pending_password(credential)
    if pending is not None:
        carried.pending_password_sealed = seal(cluster.cluster_id, credential.user_name, pending)
        carried.save(update_fields=["pending_password_sealed"])
    return carried


def change_as_admin(cluster: Cluster, user_name: str, password: str) -> None:
    """Let the cluster's admin give an HSM user a new password on every HSM, as a crypto officer would.

    Whoever logs in as that user is not told. Raises: HsmError when an HSM did not do it; those before it did.
    """
    admin = cluster.credentials.get(user_name="admin")
    change = {"user": user_name, "password": password}
    for hsm in cluster.hsms.exclude(state=HsmState.DELETED):
        try:
            with log_in(hsm, admin, current_password(admin)) as connection:
                connection.call("change_password", change, deadline_seconds=LOGIN_SECONDS)
        except (HsmAnswerError, HsmUnreachableError) as error:
            raise HsmError(f"{hsm.hsm_id} did not change the password of {user_name}: {error}") from error


def client_name(credential: ClusterCredential) -> str:
    """How this service names itself at login, so that its connections can be ended together."""
    return f"service {credential.cluster.cluster_id}"


def log_in(hsm: Hsm, credential: ClusterCredential, password: str) -> Connection:
    """Return a logged-in connection. Raises HsmAnswerError (a user of another role is not found) and
    HsmUnreachableError.
    """
    connection = Connection.connect(hsm.address, CONNECT_SECONDS)
    try:
        args = {"user": credential.user_name, "password": password, "client": client_name(credential)}
        role = connection.call("login", args, deadline_seconds=LOGIN_SECONDS)["role"]
        if role != credential.role:
            raise HsmAnswerError(protocol.USER_NOT_FOUND, f"{credential.user_name} is no {credential.role}")
    except BaseException:
        connection.close()
        raise
    return connection


def connect(credential: ClusterCredential) -> None:
    """Prove that the credential works on every active HSM and rotate its password.

    Whoever asked marks it connected, in the transaction that makes what it asked for true.

    Raises: ConnectError with the ConnectionErrorCode that a person must act on.
    """
    if credential.cluster.state in {ClusterState.DELETED, ClusterState.DELETE_IN_PROGRESS}:
        raise ConnectError("CLUSTER_NOT_FOUND", f"The cluster {credential.cluster.cluster_id} no longer exists.")
    if credential.pending_password_sealed is None:
        _change_over(credential)  # proves the current password before anything is changed
    else:
        _finish_pending(credential)
    steps.reach(Step.PASSWORD_PROVED)
    pending = seal(credential.cluster.cluster_id, credential.user_name, draw_password())
    if not _as_read(credential).update(pending_password_sealed=pending):
        raise _superseded()
    steps.reach(Step.PENDING_WRITTEN)
    credential.pending_password_sealed = pending
    _finish_pending(credential)
    steps.reach(Step.PASSWORD_CURRENT)


def _as_read(credential: ClusterCredential) -> QuerySet[ClusterCredential]:
    """The row, if its passwords are still those that were read: of two connects only one may write."""
    return ClusterCredential.objects.filter(
        pk=credential.pk,
        password_sealed=credential.password_sealed,
        pending_password_sealed=credential.pending_password_sealed,
    )


def _superseded() -> ConnectError:
    return ConnectError("INTERNAL_ERROR", "Another connect has changed the password meanwhile.")


def disconnect(credential: ClusterCredential) -> None:
    """Log this service out of every HSM. HSMs that do not answer have nobody logged in that matters."""
    with transaction.atomic():
        ClusterCredential.objects.filter(pk=credential.pk).update(connected=False)
        epochs.raise_epoch(credential.cluster.account)
    for hsm in credential.cluster.hsms.filter(state=HsmState.ACTIVE):
        try:
            with log_in(hsm, credential, current_password(credential)) as connection:
                connection.call("end_client", {"client": client_name(credential)}, deadline_seconds=LOGIN_SECONDS)
        except (HsmAnswerError, HsmUnreachableError):
            continue


def _finish_pending(credential: ClusterCredential) -> None:
    changed = _change_over(credential)
    steps.reach(Step.CHANGED_ON_ALL_HSMS)
    with transaction.atomic():
        current = credential.pending_password_sealed
        if not _as_read(credential).update(password_sealed=current, pending_password_sealed=None):
            raise _superseded()
        # Locked until the notes are written: see hsms.let_in.
        others = credential.cluster.hsms.select_for_update().exclude(hsm_id__in=changed)
        for hsm in others.exclude(state=HsmState.DELETED):
            HsmOnPreviousPassword.objects.get_or_create(hsm=hsm, credential=credential)
        epochs.raise_epoch(credential.cluster.account)
    credential.refresh_from_db()


def _change_over(credential: ClusterCredential) -> set[str]:
    """Log in on every active HSM, bring it to the pending password if there is one; return the ids of those HSMs."""
    hsms = list(credential.cluster.hsms.filter(state=HsmState.ACTIVE))
    if not hsms:
        raise ConnectError("INSUFFICIENT_CLOUDHSM_HSMS", f"{credential.cluster.cluster_id} has no active HSM.")
    for hsm in hsms:
        try:
            _change_over_one(hsm, credential)
        except HsmUnreachableError as error:
            raise ConnectError("NETWORK_ERRORS", f"{hsm.hsm_id} does not answer.") from error
        except HsmAnswerError as error:
            code = _CONNECT_CODES.get(error.name, "INTERNAL_ERROR")
            raise ConnectError(code, f"{hsm.hsm_id} refused {credential.user_name}: {error.message}") from error
    return {hsm.hsm_id for hsm in hsms}


def _change_over_one(hsm: Hsm, credential: ClusterCredential) -> None:
    current, pending = current_password(credential), pending_password(credential)
    try:
        connection, used = log_in(hsm, credential, current), current
    except HsmAnswerError as error:
        if error.name != protocol.WRONG_PASSWORD or pending is None:
            raise
        connection, used = log_in(hsm, credential, pending), pending
    with connection:
        _refuse_other_clients(hsm, credential, connection)
        if pending is not None and used != pending:
            args = {"user": credential.user_name, "password": pending}
            connection.call("change_password", args, deadline_seconds=LOGIN_SECONDS)
            steps.reach(Step.CHANGED_ON_SOME_HSMS)


def _refuse_other_clients(hsm: Hsm, credential: ClusterCredential, connection: Connection) -> None:
    clients = connection.call("clients", {}, deadline_seconds=LOGIN_SECONDS)["clients"]
    others = sorted(name for name in clients if name != client_name(credential))
    if others:
        raise ConnectError("USER_LOGGED_IN", f"{credential.user_name} is logged in on {hsm.hsm_id} by {others[0]}.")
