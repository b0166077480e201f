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
ANYTHING_ELSE = Remedy("Try again. If it fails again, read the help page.", "Troubleshooting", TROUBLESHOOTING)

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
    "KMSInternalException": Remedy(
        "Nothing of the key remains, and your choices are kept. Wait a moment, and then choose Finish again.",
        "Troubleshooting a custom key store",
        TROUBLESHOOTING,
        "KMSInternalException",
    ),
    "AccessDeniedException": Remedy(
        "Ask an administrator of your account for the permission.", "Key policies", "key-policies"
    ),
}


def remedy(code: str) -> Remedy:
    return REMEDIES.get(code, ANYTHING_ELSE)
