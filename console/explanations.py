"""What a denial means, in plain words: which permission was missing, and where it is looked for."""

from __future__ import annotations

from kmsapp import denials

# What AWS's sentence ends in, and what that says. {who} {action} {what} are filled in.
_ENDINGS = {
    "explicit deny in a resource-based policy": (
        "The key policy has a statement that denies {action} to {who}. No permission elsewhere overrules it."
    ),
    "explicit deny in an identity-based policy": (
        "A policy of {who} (or of its groups) denies {action}. No permission elsewhere overrules it."
    ),
    "explicit deny in a permissions boundary": "The permissions boundary of {who} denies {action}.",
    "explicit deny in a session policy": "A policy that came with the session of {who} denies {action}.",
    "no resource-based policy": (
        "The key policy of {what} neither names {who} for {action} nor leaves the decision to the account's own "
        "policies. No grant gives it either."
    ),
    "no identity-based policy": (
        "No policy of {who} allows {action} on {what}: neither an own one nor one of its groups."
    ),
    "no permissions boundary": (
        "A policy may allow it, but {action} lies outside of the permissions boundary of {who}, which is the most that "
        "its policies can allow."
    ),
    "no session policy": (
        "A policy may allow it, but none of the policies that came with the session of {who} allows {action}."
    ),
}


def explained(sentence: str) -> str:
    """In other words what a denial's sentence says; empty for another sentence."""
    denied = denials.read(sentence)
    if denied is None:
        return ""
    ending = next((words for end, words in _ENDINGS.items() if end in sentence), "")
    who = denied.principal.rpartition(":")[2]
    what = "any resource" if denied.resource == "*" else denied.resource.rpartition(":")[2]
    what = f"{what}*" if what.endswith("/") else what  # a list is of everything below a path
    return ending.format(who=who, action=denied.action, what=what)
