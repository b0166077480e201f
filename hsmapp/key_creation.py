"""Make a key in a cluster: on every active HSM, or nowhere.

    1. intent row (open), before the first HSM is touched
    2. one HSM makes a session key and gives the masked key and its check ciphertext; nothing persistent exists yet
    3. every active HSM unwraps the masked key into a persistent key and verifies the check ciphertext
    4. one transaction: intent open -> done, the masked key, and whatever `commit` writes (KMS's key, its alias, the
       audit record)

A failure before 4 moves the intent to abandoned and destroys what 3 made. What can't be destroyed now, because its HSM
is away or this process is killed, is destroyed when that HSM comes back (resync.py): its intent is not *done*.
"""

from __future__ import annotations

import datetime
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from django.db import IntegrityError, transaction
from django.db.models.functions import Now

from hsmapp import clock, cluster, epochs, steps
from hsmapp.connections import Pool, pool
from hsmapp.deadlines import Deadline
from hsmapp.device import protocol
from hsmapp.device.protocol import HsmAnswerError, HsmUnreachableError
from hsmapp.errors import (
    CapacityError,
    HsmError,
    IntentLostError,
    KeyMaterialError,
    NoHsmAnswersError,
    ReservedError,
)
from hsmapp.models import Cluster, KeyIntent, MaskedKey
from hsmapp.states import IntentState
from hsmapp.steps import Step

Made = TypeVar("Made")

INTENT_SECONDS = 30
LET_GO_SECONDS = 10  # after the deadline, when the last step that began before it has ended
ATTEMPTS = 3
CREATE_SECONDS = 10.0  # what the whole call may wait for HSMs, cleaning up included; what is not clean then is left
WAIT_SECONDS = 2.0  # for a connection: an HSM that is active but has just come back is being logged in to
# Answers of an HSM that can't make keys now. One without a masking key can still use those that it has.
_NOT_HERE = cluster.ELSEWHERE | {protocol.MASKING_KEY_MISSING}


@dataclass(frozen=True)
class NewKey:
    """What is asked for."""

    cluster: Cluster
    owner: str  # HSM user
    label: str  # key ARN
    reserves: str = ""  # a name nobody else may take while the key is being made
    requested_by: str = ""


@dataclass(frozen=True)
class _Wrapped:
    masked: bytes
    check: bytes


def create_key(new: NewKey, commit: Callable[[MaskedKey], Made]) -> Made:
    """Make the key and return what `commit` returned. `commit` runs in the transaction that makes the key final.

    Raises: NotEnoughHsmsError, CapacityError, ReservedError, NoHsmAnswersError, KeyMaterialError, IntentLostError, and
    whatever `commit` raises; after each of them no key, row or object remains.
    """
    away: set[str] = set()
    deadline = Deadline(CREATE_SECONDS)
    for attempt in range(1, ATTEMPTS + 1):
        hsms = tuple(hsm for hsm in cluster.active_hsms(new.cluster.account, new.cluster.pk) if hsm[0] not in away)
        cluster.require_enough_hsms(hsms)
        intent = _open_intent(new, attempt, [hsm_id for hsm_id, _ in hsms])
        try:
            made = _carry_out(new, intent, hsms, commit, away, deadline)
            steps.reach(Step.COMMITTED)
            return made
        except _HsmLeftError:
            _give_up(intent, new, deadline)
        except BaseException:
            _give_up(intent, new, deadline)
            raise
        if deadline.is_over:
            break
    raise NoHsmAnswersError("The HSMs of the cluster did not answer while the key was being made.")


class _HsmLeftError(HsmError):
    """An HSM left while the key was being made: the key is made again, under a new intent, without that HSM."""


def _open_intent(new: NewKey, attempt: int, hsm_ids: list[str]) -> KeyIntent:
    try:
        with transaction.atomic():
            intent = KeyIntent.objects.create(
                cluster=new.cluster,
                label=new.label,
                backing_key_id=secrets.token_hex(32),
                attempt=attempt,
                hsms=hsm_ids,
                reserves=new.reserves,
                requested_by=new.requested_by,
                created_at=Now(),
                deadline=Now() + datetime.timedelta(seconds=INTENT_SECONDS),
            )
        steps.reach(Step.INTENT_WRITTEN)
        return intent
    except IntegrityError as error:
        raise ReservedError(f"{new.reserves} is being taken by another key.") from error


def _carry_out(
    new: NewKey,
    intent: KeyIntent,
    hsms: tuple[tuple[str, str], ...],
    commit: Callable[[MaskedKey], Made],
    away: set[str],
    deadline: Deadline,
) -> Made:
    connections = pool(new.cluster.pk, new.owner)
    wrapped = _generate(connections, intent, hsms, away, deadline)
    steps.reach(Step.MASKED)

    def takes(hsm_id: str) -> bool:
        return _is_open(intent) and _persist(connections, hsm_id, intent, wrapped, away, deadline)

    took = tuple(hsm for hsm in hsms if takes(hsm[0]))
    steps.reach(Step.ON_ALL_HSMS)
    if not _is_open(intent):
        raise IntentLostError(f"Making {intent.label} took longer than {INTENT_SECONDS} seconds.")
    cluster.require_enough_hsms(took)
    return _finish(new, intent, wrapped, commit)


def _is_open(intent: KeyIntent) -> bool:
    """Whether the key may still be made. Past the deadline its objects may be being destroyed by others."""
    return KeyIntent.objects.filter(pk=intent.pk, state=IntentState.OPEN, deadline__gt=Now()).exists()


def _generate(
    connections: Pool, intent: KeyIntent, hsms: tuple[tuple[str, str], ...], away: set[str], deadline: Deadline
) -> _Wrapped:
    hsm_id = hsms[intent.pk % len(hsms)][0]
    args = {"label": intent.label, "id": intent.backing_key_id}
    try:
        with connections.connection(hsm_id, wait_seconds=deadline.at_most(WAIT_SECONDS)) as connection:
            # Nothing is stored by this, so it takes no longer than other cryptography.
            answer = connection.call("generate_key", args, deadline_seconds=deadline.at_most(cluster.CRYPTO_SECONDS))
    except HsmUnreachableError as error:
        away.add(hsm_id)
        raise _HsmLeftError(hsm_id) from error
    except HsmAnswerError as error:
        if error.name in _NOT_HERE:
            away.add(hsm_id)
            raise _HsmLeftError(hsm_id) from error
        raise _refused(error, intent) from error
    return _Wrapped(answer["masked"], answer["check"])


def _persist(
    connections: Pool, hsm_id: str, intent: KeyIntent, wrapped: _Wrapped, away: set[str], deadline: Deadline
) -> bool:
    """Whether this HSM has taken the key. One that has left gets it when it comes back."""
    args = {
        "label": intent.label,
        "id": intent.backing_key_id,
        "masked": wrapped.masked,
        "check": wrapped.check,
    }
    try:
        with connections.connection(hsm_id, wait_seconds=deadline.at_most(WAIT_SECONDS)) as connection:
            connection.call("restore_key", args, deadline_seconds=deadline.at_most(cluster.KEY_SECONDS))
    except HsmUnreachableError:
        away.add(hsm_id)
        return False
    except HsmAnswerError as error:
        if error.name in _NOT_HERE:
            away.add(hsm_id)
            return False
        raise _refused(error, intent) from error
    steps.reach(Step.ON_SOME_HSMS)
    return True


def _finish(new: NewKey, intent: KeyIntent, wrapped: _Wrapped, commit: Callable[[MaskedKey], Made]) -> Made:
    with transaction.atomic():
        won = KeyIntent.objects.filter(pk=intent.pk, state=IntentState.OPEN).update(state=IntentState.DONE)
        steps.reach(Step.COMMITTING)
        if won != 1:
            raise IntentLostError(f"Making {intent.label} took longer than {INTENT_SECONDS} seconds.")
        masked_key = MaskedKey.objects.create(
            cluster=new.cluster,
            label=intent.label,
            backing_key_id=intent.backing_key_id,
            owner=new.owner,
            masked=wrapped.masked,
            check_ciphertext=wrapped.check,
            created_at=clock.now(),
        )
        made = commit(masked_key)
        epochs.raise_epoch(new.cluster.account)
        return made


def _give_up(intent: KeyIntent, new: NewKey, deadline: Deadline) -> None:
    """Abandon the intent and destroy what its HSMs made. The row stays until every HSM is known to be clean."""
    steps.reach(Step.GIVING_UP)
    ours = KeyIntent.objects.filter(pk=intent.pk, state__in=[IntentState.OPEN, IntentState.ABANDONED])
    if not ours.update(state=IntentState.ABANDONED):
        return  # done after all, or restored: then its objects are not ours to destroy
    connections = pool(new.cluster.pk, new.owner)
    left = [hsm_id for hsm_id in intent.hsms if not _destroyed(connections, hsm_id, intent, deadline)]
    # Nobody works on it any more, so what is left of it may be destroyed at once.
    let_go = Now() - datetime.timedelta(seconds=2 * LET_GO_SECONDS)
    KeyIntent.objects.filter(pk=intent.pk).update(hsms=left, deadline=let_go)


def _destroyed(connections: Pool, hsm_id: str, intent: KeyIntent, deadline: Deadline) -> bool:
    try:
        with connections.connection(hsm_id) as connection:
            args = {"label": intent.label, "id": intent.backing_key_id}
            connection.call("destroy_key", args, deadline_seconds=deadline.at_most(cluster.KEY_SECONDS))
    except HsmAnswerError as error:
        return error.name == protocol.KEY_NOT_FOUND
    except HsmUnreachableError:
        return False
    return True


def _refused(error: HsmAnswerError, intent: KeyIntent) -> HsmError:
    if error.name == protocol.CAPACITY_EXCEEDED:
        return CapacityError("The cluster holds as many keys as its HSM type can.")
    return KeyMaterialError(f"An HSM refused to make {intent.label}: {error.name}.")
