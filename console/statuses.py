"""What a state is called on screen, and its icon and colour. Icon and text carry the meaning, never the colour.

Spellings of the states: the KMS and CloudHSM v2 API References.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Status:
    text: str
    kind: str  # success, error, warning, info, inactive: the colour
    icon: str  # a symbol of icons.svg


SUCCESS, ERROR, WARNING = ("success", "success"), ("error", "error"), ("warning", "warning")
STOPPED, PENDING, PROGRESS = ("inactive", "stopped"), ("inactive", "pending"), ("inactive", "progress")

KINDS = {
    # Keys
    "Enabled": SUCCESS,
    "Disabled": STOPPED,
    "PendingDeletion": PENDING,
    "PendingReplicaDeletion": PENDING,
    "PendingImport": PENDING,
    "Creating": PROGRESS,
    "Updating": PROGRESS,
    "Unavailable": ERROR,
    # Custom key stores
    "CONNECTED": SUCCESS,
    "CONNECTING": PROGRESS,
    "DISCONNECTING": PROGRESS,
    "DISCONNECTED": STOPPED,
    "FAILED": ERROR,
    # Clusters and HSMs
    "ACTIVE": SUCCESS,
    "UNINITIALIZED": PENDING,
    "INITIALIZED": ("info", "info"),
    "DEGRADED": WARNING,
    "DELETED": STOPPED,
}


def status(state: str) -> Status:
    """Return how `state` is shown: PendingDeletion -> Pending deletion, CREATE_IN_PROGRESS -> Create in progress."""
    kind, icon = KINDS.get(state, PROGRESS)
    return Status(in_words(state), kind, icon)


def in_words(state: str) -> str:
    """CREATE_IN_PROGRESS and PendingDeletion in sentence case."""
    if state.isupper():
        words = state.replace("_", " ")
    else:
        words = "".join(f" {letter}" if letter.isupper() and at else letter for at, letter in enumerate(state))
    return words[:1].upper() + words[1:].lower()


KEY_USAGES = {
    "ENCRYPT_DECRYPT": "Encrypt and decrypt",
    "SIGN_VERIFY": "Sign and verify",
    "GENERATE_VERIFY_MAC": "Generate and verify MAC",
    "KEY_AGREEMENT": "Key agreement",
}
ORIGINS = {
    "AWS_KMS": "AWS KMS",
    "EXTERNAL": "External (Import key material)",
    "AWS_CLOUDHSM": "CloudHSM (AWS_CLOUDHSM)",
    "EXTERNAL_KEY_STORE": "External key store",
}


def key_type(key_spec: str) -> str:
    """Symmetric for AES and HMAC keys, Asymmetric for key pairs."""
    return "Symmetric" if key_spec.startswith(("SYMMETRIC", "HMAC")) else "Asymmetric"


# https://docs.aws.amazon.com/kms/latest/APIReference/API_CustomKeyStoresListEntry.html, ConnectionErrorCode.
CONNECTION_ERRORS = {
    "CLUSTER_NOT_FOUND": "The CloudHSM cluster doesn't exist any more. Bind the key store to another cluster.",
    "INSUFFICIENT_CLOUDHSM_HSMS": "The cluster has no active HSM. Disconnect, add an HSM, and connect again.",
    "INSUFFICIENT_FREE_ADDRESSES_IN_SUBNET": "A subnet of the cluster has no free address. Free one and connect again.",
    "INTERNAL_ERROR": "KMS could not finish the connection. Disconnect, and connect again.",
    "INVALID_CREDENTIALS": "The cluster refused the password of kmsuser. Disconnect, set the password, connect again.",
    "NETWORK_ERRORS": "KMS could not reach the HSMs. Check that they run, disconnect, and connect again.",
    "SUBNET_NOT_FOUND": "A subnet of the cluster is gone. Bind the key store to another cluster.",
    "USER_LOCKED_OUT": "kmsuser is locked after too many wrong passwords. Reset it in the cluster, then connect again.",
    "USER_LOGGED_IN": "Somebody else is logged in as kmsuser. Log out there, and connect again.",
    "USER_NOT_FOUND": "The cluster has no crypto user kmsuser. Create it, and connect again.",
}
