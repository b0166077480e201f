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
    KEY_PAIR_LOST,
    MASKED_KEY_WRONG,
    MASKING_KEY_MISSING,
    NOT_PERMITTED,
    TOKEN_FAILED,
    HsmAnswerError,
)
from hsmapp.device.token import TokenRefusedError, TokenUnusableError
from hsmapp.durable import sync_folder


def identity(hsm: Hsm, _session: Session, _given: Arguments) -> Answer:
    if hsm.token.key_pairs.lost:
        raise HsmAnswerError(KEY_PAIR_LOST, f"this HSM has lost its key pair: {', '.join(hsm.token.key_pairs.lost)}")
    transport = hsm.token.key_pairs.transport_public()
    return {
        "identity_public": hsm.token.key_pairs.identity_public(),
        "transport_public": transport,
        "transport_signature": hsm.token.key_pairs.sign(transport),
    }


def sign(hsm: Hsm, _session: Session, given: Arguments) -> Answer:
    return {"signature": hsm.token.key_pairs.sign(given["data"])}


def renew_key_pairs(hsm: Hsm, _session: Session, _given: Arguments) -> Answer:
    """Make the key pairs anew that were lost; made: their names. A new identity needs a new certificate, and a new
    transport key needs the trust of the peers anew.
    """
    lost = hsm.token.key_pairs.lost
    try:
        hsm.token.key_pairs.make()
    except TokenUnusableError as error:
        raise HsmAnswerError(TOKEN_FAILED, str(error)) from error
    sync_folder(hsm.tokens)
    return {"made": lost}


def make_masking_key(hsm: Hsm, _session: Session, _given: Arguments) -> Answer:
    _refuse_second_masking_key(hsm)
    hsm.token.masking.make()
    _keep_masking_key(hsm)
    return {}


def _keep_masking_key(hsm: Hsm) -> None:
    """Bring a masking key that has just come into the token to the disk, and then let go of a damaged one."""
    sync_folder(hsm.tokens)
    hsm.keys.prove_masking_key()
    hsm.token.masking.destroy_others()


def masking_key(hsm: Hsm, _session: Session, _given: Arguments) -> Answer:
    """present: False also for one that is damaged. trusted: names; trusted_keys: SHA-256 of each one's public key."""
    trusted = hsm.token.masking.trusted()
    return {
        "present": hsm.token.masking.present,
        "damaged": hsm.masking_check.damaged,
        "unproven": hsm.masking_check.unproven,
        "trusted": list(trusted),
        "trusted_keys": trusted,
    }


def prove_masking_key(hsm: Hsm, _session: Session, given: Arguments) -> Answer:
    """Whether the masking key opens this masked key of the cluster; if so it is proven from now on."""
    _need_masking_key(hsm)
    good = hsm.keys.opens_masked(given["label"], given["id"], given["masked"], given["check"])
    if good:
        hsm.keys.prove_masking_key()
    return {"good": good}


def withdraw_masking_key(hsm: Hsm, _session: Session, _given: Arguments) -> Answer:
    """Use the masking key no more, as if it were damaged. It stays in the token until another has taken its place."""
    hsm.masking_check.withdraw()
    return {}


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
    _keep_masking_key(hsm)
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
    _keep_masking_key(hsm)
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
    "renew_key_pairs": Operation(renew_key_pairs, CONTROL, {}),
    "prove_masking_key": Operation(prove_masking_key, CONTROL, args.MASKED),
    "withdraw_masking_key": Operation(withdraw_masking_key, CONTROL, {}),
    "make_masking_key": Operation(make_masking_key, CONTROL, {}),
    "masking_key": Operation(masking_key, CONTROL, {}),
    "trust_key": Operation(trust_key, CONTROL, {"so_pin": args.TEXT, "label": args.TEXT, "public": args.SMALL}),
    "wrap_masking_key": Operation(wrap_masking_key, CONTROL, {"label": args.TEXT}),
    "unwrap_masking_key": Operation(unwrap_masking_key, CONTROL, {"wrapped": args.SMALL}),
    "try_backup": Operation(try_backup, CONTROL, args.MASKED | {"wrapped": args.SMALL, "private": args.SMALL}),
    "take_backup": Operation(take_backup, CONTROL, {"wrapped": args.SMALL, "private": args.SMALL}),
}
