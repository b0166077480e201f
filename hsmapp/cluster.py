"""What KMS sees of a cluster: make a key, encrypt, decrypt, random bytes.

Nothing above this module knows sockets, handles, mechanisms or which HSM answered. A call goes to one HSM whose
connections are ready; if that HSM can't be reached the next one is asked. An HSM that lacks a key, or holds a damaged
one, gets it from the masked key and is asked again: "not there" is no answer.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from django.conf import settings

from hsmapp import epochs, findings, iv_counts
from hsmapp.connections import Pool, pool
from hsmapp.deadlines import Deadline
from hsmapp.device import protocol
from hsmapp.device.protocol import Connection, HsmAnswerError, HsmUnreachableError
from hsmapp.errors import HsmError, InvalidCiphertextError, KeyMaterialError, NoHsmAnswersError, NotEnoughHsmsError
from hsmapp.findings import Subject
from hsmapp.models import Cluster, Hsm, MaskedKey
from hsmapp.states import FindingKind, HsmState


class RefusedEverywhereError(Exception):
    """Each HSM that answered can't use the key. answers: HSM id -> name of the answer."""

    def __init__(self, answers: dict[str, str]):
        super().__init__(", ".join(sorted(set(answers.values()))))
        self.answers = answers


Answer = TypeVar("Answer")
Ask = Callable[[Connection, Deadline], Answer]

# What one message may take.
CRYPTO_SECONDS = 1.0
KEY_SECONDS = 5.0
CALL_SECONDS = 2.0  # what a whole call may take: one HSM may miss its deadline, and another still has as long

# Answers that say "not here, not now": the next HSM is asked.
ELSEWHERE = {protocol.NOT_SERVING, protocol.NOT_LOGGED_IN, protocol.TOKEN_FAILED, protocol.BUSY}
# Answers that say the key can't be mended here: its masked key, or this HSM's masking key, is at fault.
_BAD_HERE = {
    protocol.MASKED_KEY_WRONG,
    protocol.MASKING_KEY_MISSING,
    protocol.KEY_NOT_FOUND,
    protocol.KEY_DAMAGED,
    protocol.KEY_EXISTS,
    protocol.CAPACITY_EXCEEDED,
}
# Answers that say the key must be made again here from its masked key.
_MENDABLE = {protocol.KEY_NOT_FOUND, protocol.KEY_DAMAGED}


@dataclass(frozen=True)
class Material:
    """Where a key's material is and how it proves itself."""

    cluster_pk: int
    owner: str  # HSM user
    label: str  # key ARN
    backing_key_id: str  # 64 hex characters
    check: bytes
    at_fault: bool = False  # known to be usable on no HSM (findings.py)

    @classmethod
    def of(cls, row: MaskedKey) -> Material:
        check = bytes(row.check_ciphertext)
        at_fault = findings.is_at_fault(row.label)
        return cls(row.cluster_id, row.owner, row.label, row.backing_key_id, check, at_fault)


_active: epochs.Cached[tuple[tuple[str, str], ...]] = epochs.Cached()


def active_hsms(account: str, cluster_pk: int) -> tuple[tuple[str, str], ...]:
    """(HSM id, Availability Zone) of the cluster's active HSMs."""
    return _active.get(account, ("active hsms", cluster_pk), lambda: _read_active(cluster_pk))


def _read_active(cluster_pk: int) -> tuple[tuple[str, str], ...]:
    rows = Hsm.objects.filter(cluster_id=cluster_pk, state=HsmState.ACTIVE).order_by("hsm_id")
    return tuple(rows.values_list("hsm_id", "availability_zone"))


def require_enough_hsms(hsms: tuple[tuple[str, str], ...]) -> None:
    """Raise NotEnoughHsmsError unless a new key may be made: two active HSMs in different Availability Zones."""
    zones = {zone for _, zone in hsms}
    needed = settings.MIN_ACTIVE_HSMS
    if len(hsms) < needed or len(zones) < needed:
        raise NotEnoughHsmsError(len(hsms), len(zones), needed)


def encrypt(material: Material, plaintext: bytes, *, aad: bytes) -> tuple[bytes, bytes]:
    """Return (IV of 12 bytes, ciphertext + 16-byte tag). The HSM makes the IV.

    Raises: NoHsmAnswersError, KeyMaterialError, IvsUsedUpError.
    """
    args = {"label": material.label, "check": material.check, "plaintext": plaintext, "aad": aad}

    def ask(hsm: Connection, deadline: Deadline) -> dict[str, Any]:
        seconds = deadline.at_most(CRYPTO_SECONDS)
        return iv_counts.encrypt(hsm, material.cluster_pk, material.label, args, deadline_seconds=seconds)

    answer = _use(material, ask)
    return answer["iv"], answer["sealed"]


def decrypt(material: Material, iv: bytes, sealed: bytes, *, aad: bytes) -> bytes:
    """Return the plaintext.

    Raises: InvalidCiphertextError when an HSM with the right key refuses; NoHsmAnswersError; KeyMaterialError.
    """
    args = {"label": material.label, "check": material.check, "iv": iv, "sealed": sealed, "aad": aad}

    def ask(hsm: Connection, deadline: Deadline) -> dict[str, Any]:
        return hsm.call("decrypt", args, deadline_seconds=deadline.at_most(CRYPTO_SECONDS))

    plaintext: bytes = _use(material, ask)["plaintext"]
    return plaintext


def random(cluster_pk: int, owner: str, length: int) -> bytes:
    """Random bytes (1 to 1,024) from one of the cluster's HSMs."""

    def ask(hsm: Connection, deadline: Deadline) -> dict[str, Any]:
        return hsm.call("random", {"length": length}, deadline_seconds=deadline.at_most(CRYPTO_SECONDS))

    data: bytes = on_any_hsm(pool(cluster_pk, owner), ask)["data"]
    return data


def on_any_hsm(hsms: Pool, ask: Ask[Answer]) -> Answer:
    """Ask one HSM after the other until one answers; a key that one can't mend may be sound on the next.

    However many are asked, the caller waits no longer than CALL_SECONDS.
    Raises: NoHsmAnswersError if none did; RefusedEverywhereError; HsmAnswerError for what only the caller can judge.
    """
    deadline = Deadline(CALL_SECONDS)
    refusals: dict[str, str] = {}
    for _ in range(2):  # a second round for the case that all connections at hand were those of a process that ended
        asked: set[str] = set()
        while not deadline.is_over and (lent := hsms.lend(asked, wait_seconds=deadline.left_seconds)) is not None:
            hsm_id, connection = lent
            asked.add(hsm_id)
            try:
                return ask(connection, deadline)
            except HsmUnreachableError:
                connection.close()
            except HsmAnswerError as error:
                if error.name in _BAD_HERE:
                    refusals[hsm_id] = error.name
                elif error.name not in ELSEWHERE:
                    raise
            finally:
                hsms.give_back(hsm_id, connection)
        if refusals:
            raise RefusedEverywhereError(refusals)
    raise NoHsmAnswersError("No HSM of the cluster answers.")


def _use(material: Material, use: Ask[dict[str, Any]]) -> dict[str, Any]:
    def ask(hsm: Connection, deadline: Deadline) -> dict[str, Any]:
        try:
            return use(hsm, deadline)
        except HsmAnswerError as error:
            if error.name not in _MENDABLE:
                raise
        _restore(hsm, material, deadline)
        return use(hsm, deadline)

    try:
        answer = on_any_hsm(pool(material.cluster_pk, material.owner), ask)
    except RefusedEverywhereError as error:
        findings.note_refusals(_fault_of(material), error.answers)
        raise KeyMaterialError(f"The key material of {material.label} can't be used: {error}.") from error
    except HsmAnswerError as error:
        if error.name == protocol.BAD_REQUEST:
            raise  # our bug, and not the key's fault
        if error.name == protocol.INVALID_CIPHERTEXT:
            _note_sound(material)
        raise _translated(error, material) from error
    _note_sound(material)
    return answer


def _note_sound(material: Material) -> None:
    if material.at_fault:
        findings.resolve(_fault_of(material))


def _fault_of(material: Material) -> Subject:
    cluster = Cluster.objects.get(pk=material.cluster_pk)
    return Subject(cluster, FindingKind.AT_FAULT, label=material.label, backing_key_id=material.backing_key_id)


def _restore(connection: Connection, material: Material, deadline: Deadline) -> None:
    """Give this HSM the key from its masked key."""
    row = MaskedKey.objects.filter(label=material.label, backing_key_id=material.backing_key_id).first()
    if row is None:
        raise KeyMaterialError(f"There is no masked key of {material.label}.")
    args = {
        "label": row.label,
        "id": row.backing_key_id,
        "masked": bytes(row.masked),
        "check": bytes(row.check_ciphertext),
    }
    connection.call("restore_key", args, deadline_seconds=deadline.at_most(KEY_SECONDS))


def _translated(error: HsmAnswerError, material: Material) -> HsmError:
    if error.name == protocol.INVALID_CIPHERTEXT:
        return InvalidCiphertextError("The ciphertext does not open.")
    return KeyMaterialError(f"The key material of {material.label} can't be used: {error.name}.")
