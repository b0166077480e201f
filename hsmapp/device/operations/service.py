"""Operations of the supervisor on the HSM as a whole: into and out of rotation, and its health."""

from __future__ import annotations

from hsmapp.device.hsm import Hsm, Session
from hsmapp.device.operations.operation import CONTROL, Answer, Arguments, Operation
from hsmapp.device.protocol import ROLE_CRYPTO_USER


def serve(hsm: Hsm, _session: Session, _given: Arguments) -> Answer:
    hsm.serving = True
    return {}


def standby(hsm: Hsm, _session: Session, _given: Arguments) -> Answer:
    hsm.serving = False
    hsm.end([other for other in hsm.sessions if other.role == ROLE_CRYPTO_USER])
    return {}


def health(hsm: Hsm, _session: Session, _given: Arguments) -> Answer:
    return {
        "ok": hsm.token.session.healthy(),
        "serving": hsm.serving,
        "keys": len(hsm.keys),
        "free": max(0, hsm.capacity - len(hsm.keys)),
        "debris": len(hsm.keys.debris),
        "module_makes_ivs": hsm.keys.module_makes_ivs,
    }


OPERATIONS: dict[str, Operation] = {
    "serve": Operation(serve, CONTROL, {}),
    "standby": Operation(standby, CONTROL, {}),
    "health": Operation(health, CONTROL, {}),
}
