"""Operations of the supervisor on the HSM's identity and on the masking key: how it is made, handed over, kept."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from hsmapp.device import arguments as args
from hsmapp.device.hsm import Hsm, Session
from hsmapp.device.operations.operation import CONTROL, Answer, Arguments, Operation
from hsmapp.device.protocol import (
    BAD_REQUEST,
    KEY_EXISTS,
    KEY_NOT_FOUND,
    MASKED_KEY_WRONG,
    MASKING_KEY_MISSING,
    NOT_PERMITTED,
    TOKEN_FAILED,
    HsmAnswerError,
)
from hsmapp.device.token import TokenRefusedError
from hsmapp.durable import sync_folder


def identity(hsm: Hsm, _session: Session, _given: Arguments) -> Answer:
    transport = hsm.token.key_pairs.transport_public()
    return {
        "identity_public": hsm.token.key_pairs.identity_public(),
        "transport_public": transport,
        "transport_signature": hsm.token.key_pairs.sign(transport),
    }


def sign(hsm: Hsm, _session: Session, given: Arguments) -> Answer:
    return {"signature": hsm.token.key_pairs.sign(given["data"])}


def make_masking_key(hsm: Hsm, _session: Session, _given: Arguments) -> Answer:
    _refuse_second_masking_key(hsm)
    hsm.token.masking.make()
    sync_folder(hsm.folder)
    return {}


def masking_key(hsm: Hsm, _session: Session, _given: Arguments) -> Answer:
    return {"present": hsm.token.masking.present, "trusted": hsm.token.masking.trusted_names()}


def trust_key(hsm: Hsm, _session: Session, given: Arguments) -> Answer:
    """Trust a peer's transport key or the backup key. Every handle changes, so nobody may be using keys."""
    if hsm.serving:
        raise HsmAnswerError(NOT_PERMITTED, "a key is trusted only while the HSM is out of rotation")
    try:
        hsm.token.masking.trust(given["so_pin"].encode(), given["label"], given["public"])
    except ValueError as error:
        raise HsmAnswerError(BAD_REQUEST, "public is no RSA public key") from error
    finally:
        hsm.keys.load()
    sync_folder(hsm.folder)
    return {}


def wrap_masking_key(hsm: Hsm, _session: Session, given: Arguments) -> Answer:
    _need_masking_key(hsm)
    try:
        return {"wrapped": hsm.token.masking.wrap(given["label"])}
    except KeyError as error:
        raise HsmAnswerError(KEY_NOT_FOUND, f"no key {given['label']!r} is trusted") from error


def unwrap_masking_key(hsm: Hsm, _session: Session, given: Arguments) -> Answer:
    _refuse_second_masking_key(hsm)
    try:
        hsm.token.masking.unwrap(given["wrapped"])
    except TokenRefusedError as error:
        raise _masked_wrong(hsm) from error
    sync_folder(hsm.folder)
    return {}


def try_backup(hsm: Hsm, _session: Session, given: Arguments) -> Answer:
    """Open the masking key wrapped under the backup key, and with it one masked key, all in session objects."""
    with _backup_refusals(hsm):
        hsm.keys.try_backup(
            given["private"], given["wrapped"], given["label"], given["id"], given["masked"], given["check"]
        )
    return {}


def take_backup(hsm: Hsm, _session: Session, given: Arguments) -> Answer:
    """Make the masking key wrapped under the backup key this HSM's own: for the first HSM of a restored cluster."""
    _refuse_second_masking_key(hsm)
    with _backup_refusals(hsm):
        hsm.token.masking.keep_backup(given["private"], given["wrapped"])
    sync_folder(hsm.folder)
    return {}


@contextmanager
def _backup_refusals(hsm: Hsm) -> Iterator[None]:
    try:
        yield
    except ValueError as error:
        raise HsmAnswerError(BAD_REQUEST, "private is no RSA private key") from error
    except TokenRefusedError as error:
        raise _masked_wrong(hsm) from error


def _masked_wrong(hsm: Hsm) -> HsmAnswerError:
    if not hsm.token.session.healthy():
        return HsmAnswerError(TOKEN_FAILED, "the token does not answer")
    return HsmAnswerError(MASKED_KEY_WRONG, "the wrapped masking key does not open")


def _need_masking_key(hsm: Hsm) -> None:
    if not hsm.token.masking.present:
        raise HsmAnswerError(MASKING_KEY_MISSING, "this HSM has no masking key yet")


def _refuse_second_masking_key(hsm: Hsm) -> None:
    if hsm.token.masking.present:
        raise HsmAnswerError(KEY_EXISTS, "this HSM has a masking key already")


OPERATIONS: dict[str, Operation] = {
    "identity": Operation(identity, CONTROL, {}),
    "sign": Operation(sign, CONTROL, {"data": args.SMALL}),
    "make_masking_key": Operation(make_masking_key, CONTROL, {}),
    "masking_key": Operation(masking_key, CONTROL, {}),
    "trust_key": Operation(trust_key, CONTROL, {"so_pin": args.TEXT, "label": args.TEXT, "public": args.SMALL}),
    "wrap_masking_key": Operation(wrap_masking_key, CONTROL, {"label": args.TEXT}),
    "unwrap_masking_key": Operation(unwrap_masking_key, CONTROL, {"wrapped": args.SMALL}),
    "try_backup": Operation(try_backup, CONTROL, args.MASKED | {"wrapped": args.SMALL, "private": args.SMALL}),
    "take_backup": Operation(take_backup, CONTROL, {"wrapped": args.SMALL, "private": args.SMALL}),
}
