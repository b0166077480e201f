"""Key states: what is shown, and which operation is refused in which state.

https://docs.aws.amazon.com/kms/latest/developerguide/key-state.html
"""

from __future__ import annotations

from kmsapp.errors import DisabledException, KmsError, KMSInvalidStateException

ENABLED = "Enabled"
DISABLED = "Disabled"
PENDING_DELETION = "PendingDeletion"
UNAVAILABLE = "Unavailable"

_CRYPTOGRAPHIC = ("Encrypt", "Decrypt", "GenerateDataKey", "GenerateDataKeyWithoutPlaintext")

# (operation, state) -> exception and the end of its sentence, which begins with the key ARN. What is absent is allowed.
REFUSED: dict[tuple[str, str], tuple[type[KmsError], str]] = {
    **{(operation, DISABLED): (DisabledException, "is disabled.") for operation in (*_CRYPTOGRAPHIC, "CreateGrant")},
    **{
        (operation, PENDING_DELETION): (KMSInvalidStateException, "is pending deletion.")
        for operation in (*_CRYPTOGRAPHIC, "CreateAlias", "CreateGrant", "TagResource")
    },
    **{(operation, UNAVAILABLE): (KMSInvalidStateException, "is unavailable.") for operation in _CRYPTOGRAPHIC},
}


def shown(own_state: str, *, store_connected: bool) -> str:
    """The KeyState that people and clients see.

    A key of a store that is not connected is Unavailable; PendingDeletion hides that, so that a deletion can be
    cancelled meanwhile.
    """
    if own_state == PENDING_DELETION or store_connected:
        return own_state
    return UNAVAILABLE


def require(operation: str, state: str, key_arn: str) -> None:
    """Raise AWS's exception if the operation is refused in this state. operation: without its service."""
    refusal = REFUSED.get((operation, state))
    if refusal is not None:
        exception, ending = refusal
        raise exception(f"{key_arn} {ending}")
