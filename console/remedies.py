"""What a person can do about a refused call: a sentence and a help topic for each error."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Remedy:
    sentence: str
    link_text: str
    topic: str
    anchor: str = ""


TROUBLESHOOTING = "troubleshooting-a-key-store"
CHANGING = ("Creating, editing and deleting a custom key store", "creating-a-key-store")
ANYTHING_ELSE = Remedy("Try again. If it fails again, read the help page.", "Troubleshooting", TROUBLESHOOTING)
NOTHING_REMAINS = Remedy(
    "Nothing of the key remains, and your choices are kept. Wait a moment, and then choose Finish again.",
    "Troubleshooting a custom key store",
    TROUBLESHOOTING,
    "KMSInternalException",
)

REMEDIES = {
    "CustomKeyStoreInvalidStateException": Remedy(
        "Once it is connected, choose Finish again. What you entered is kept.",
        "Connecting and disconnecting a custom key store",
        "connecting-a-key-store",
    ),
    "CloudHsmClusterInvalidConfigurationException": Remedy(
        "Once two HSMs are active, choose Finish again. What you entered is kept.",
        "Adding an HSM",
        "adding-an-hsm",
    ),
    "CloudHsmClusterNotActiveException": Remedy(
        "Once the cluster is active, choose Finish again. What you entered is kept.",
        "Troubleshooting a custom key store",
        TROUBLESHOOTING,
        "CloudHsmClusterNotActiveException",
    ),
    "CustomKeyStoreNotFoundException": Remedy(
        "Go back to Choose a custom key store and select another one.",
        "Troubleshooting a custom key store",
        TROUBLESHOOTING,
        "CustomKeyStoreNotFoundException",
    ),
    "CustomKeyStoreHasCMKsException": Remedy(
        "Schedule its keys for deletion while it is connected, and delete it when they are deleted.", *CHANGING
    ),
    "CustomKeyStoreNameInUseException": Remedy("Enter another name.", *CHANGING),
    "CloudHsmClusterInUseException": Remedy("Choose another cluster.", *CHANGING),
    "CloudHsmClusterNotFoundException": Remedy("Choose another cluster.", *CHANGING),
    "CloudHsmClusterNotRelatedException": Remedy("Choose another cluster.", *CHANGING),
    "IncorrectTrustAnchorException": Remedy("Choose customerCA.crt of this very cluster.", *CHANGING),
    "AlreadyExistsException": Remedy(
        "Go back to Add labels and enter another alias.",
        "Troubleshooting a custom key store",
        TROUBLESHOOTING,
        "AlreadyExistsException",
    ),
    "MalformedPolicyDocumentException": Remedy(
        "Go back to Edit key policy and correct the policy, or reset it.", "Key policies", "key-policies"
    ),
    "TagException": Remedy("Go back to Add Tags and correct the tags.", "Tagging keys", "tags"),
    "KMSInternalException": NOTHING_REMAINS,
    "DependencyTimeoutException": NOTHING_REMAINS,
    "AccessDeniedException": Remedy(
        "Ask an administrator of your account for the permission.",
        "Permissions, and why a call was denied",
        "permissions",
    ),
}


def remedy(code: str) -> Remedy:
    return REMEDIES.get(code, ANYTHING_ELSE)
