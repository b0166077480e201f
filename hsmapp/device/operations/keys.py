"""Operations on the keys of HSM users, for crypto users and, where a key is managed, for the supervisor."""

from __future__ import annotations

from hsmapp.device import arguments as args
from hsmapp.device.hsm import SUPERVISOR, Hsm, Session
from hsmapp.device.hsm_users import HsmUsers
from hsmapp.device.key_proofs import CHECK_BYTES
from hsmapp.device.key_table import Key
from hsmapp.device.operations.operation import CONTROL, CRYPTO, KEYS, PAGE_BYTES, Answer, Arguments, Operation
from hsmapp.device.protocol import BAD_REQUEST, KEY_NOT_FOUND, FrameError, HsmAnswerError, unpack
from hsmapp.durable import sync_subfolders

_OWNER = args.Argument(args.TEXT.check, "")


def encrypt(hsm: Hsm, session: Session, given: Arguments) -> Answer:
    iv, sealed = hsm.keys.encrypt(
        session.user, given["label"], given["check"], given["plaintext"], given["aad"], counted=given["counted"]
    )
    return {"iv": iv, "sealed": sealed}


def decrypt(hsm: Hsm, session: Session, given: Arguments) -> Answer:
    plaintext = hsm.keys.decrypt(
        session.user, given["label"], given["check"], given["iv"], given["sealed"], given["aad"]
    )
    return {"plaintext": plaintext}


def generate_key(hsm: Hsm, _session: Session, given: Arguments) -> Answer:
    masked, check = hsm.keys.generate(given["label"], given["id"])
    return {"masked": masked, "check": check}


def restore_key(hsm: Hsm, session: Session, given: Arguments) -> Answer:
    supervisor = session.role == SUPERVISOR
    if supervisor != bool(given["owner"]):
        raise HsmAnswerError(BAD_REQUEST, "owner is for the supervisor to give, and required of it")
    owner = HsmUsers.normal_name(given["owner"]) if supervisor else session.user
    made = hsm.keys.restore(owner, given["label"], given["id"], given["masked"], given["check"], supervisor=supervisor)
    return {"made": made}


def destroy_key(hsm: Hsm, session: Session, given: Arguments) -> Answer:
    destroyed = hsm.keys.destroy(_owner(session), given["label"], given["id"])
    if destroyed:
        sync_subfolders(hsm.tokens)
    return {"destroyed": destroyed}


def check_key(hsm: Hsm, _session: Session, given: Arguments) -> Answer:
    return {"good": hsm.keys.verifies(given["label"], given["check"])}


def check_keys(hsm: Hsm, _session: Session, given: Arguments) -> Answer:
    """rows: what protocol.pack_checks makes. damaged, absent: labels; the others are good."""
    answer: dict[str, list[str]] = {"damaged": [], "absent": []}
    for label, check in _checks(given["rows"]):
        try:
            if not hsm.keys.verifies(label, check):
                answer["damaged"].append(label)
        except HsmAnswerError as error:
            if error.name != KEY_NOT_FOUND:
                raise
            answer["absent"].append(label)
    return answer


def _checks(packed: bytes) -> list[tuple[str, bytes]]:
    try:
        rows = unpack(packed)
    except (FrameError, RecursionError) as error:
        raise HsmAnswerError(BAD_REQUEST, "rows are no pairs of label and check ciphertext") from error
    if not isinstance(rows, list) or not all(_is_check(row) for row in rows):
        raise HsmAnswerError(BAD_REQUEST, "rows are no pairs of label and check ciphertext")
    return [(label, check) for label, check in rows]


def _is_check(row: object) -> bool:
    match row:
        case [str(), bytes() as check]:
            return len(check) == CHECK_BYTES
    return False


def random(hsm: Hsm, _session: Session, given: Arguments) -> Answer:
    return {"data": hsm.keys.random(given["length"])}


def list_keys(hsm: Hsm, session: Session, given: Arguments) -> Answer:
    """keys: rows of label and id, and the owner for the supervisor; next: where to go on, "" at the end; duplicates,
    damaged: labels.
    """
    found, following = hsm.keys.table.page(_owner(session), given["after"], given["limit"])
    page = _fitting(found)
    if len(page) < len(found):
        following = page[-1].label
    with_owner = session.role == SUPERVISOR
    return {
        "keys": [[key.label, key.id, key.owner] if with_owner else [key.label, key.id] for key in page],
        "next": following or "",
        "duplicates": [key.label for key in page if key.others or len(key.handles) > 1],
        "damaged": [key.label for key in page if key.damaged],
    }


def _fitting(found: list[Key]) -> list[Key]:
    room = PAGE_BYTES
    for count, key in enumerate(found):
        # A label can appear three times: as a row, as a duplicate and as damaged.
        room -= (
            len(key.label.encode()) * (1 + bool(key.others or len(key.handles) > 1) + key.damaged) + len(key.id) + 48
        )
        if room < 0:
            return found[: max(count, 1)]
    return found


def key_attributes(hsm: Hsm, session: Session, given: Arguments) -> Answer:
    return hsm.keys.attributes(_owner(session), given["label"])


def _owner(session: Session) -> str | None:
    return None if session.role == SUPERVISOR else session.user


OPERATIONS: dict[str, Operation] = {
    "encrypt": Operation(
        encrypt,
        CRYPTO,
        {
            "label": args.LABEL,
            "check": args.CHECK,
            "plaintext": args.PLAINTEXT,
            "aad": args.AAD,
            "counted": args.OFF,
        },
    ),
    "decrypt": Operation(
        decrypt,
        CRYPTO,
        {"label": args.LABEL, "check": args.CHECK, "iv": args.IV, "sealed": args.SEALED, "aad": args.AAD},
    ),
    "generate_key": Operation(generate_key, KEYS, {"label": args.LABEL, "id": args.ID}),
    "restore_key": Operation(restore_key, KEYS, args.MASKED | {"owner": _OWNER}),
    "destroy_key": Operation(destroy_key, KEYS, {"label": args.LABEL, "id": args.ID}),
    "check_key": Operation(check_key, CONTROL, {"label": args.LABEL, "check": args.CHECK}),
    "check_keys": Operation(check_keys, CONTROL, {"rows": args.ROWS}),
    "random": Operation(random, KEYS, {"length": args.LENGTH}),
    "list_keys": Operation(list_keys, KEYS, {"after": args.AFTER, "limit": args.LIMIT}),
    "key_attributes": Operation(key_attributes, KEYS, {"label": args.LABEL}),
}
