"""What a text has to be to become a key's policy: well-formed, naming principals that exist, and not a lockout.

Source: https://docs.aws.amazon.com/kms/latest/APIReference/API_PutKeyPolicy.html
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from kmsapp import access
from kmsapp.call import Call
from kmsapp.errors import MalformedPolicyDocumentException
from kmsapp.iam import principals
from kmsapp.key_facts import KeyFacts
from kmsapp.policy import documents

_LOCKOUT = "The new key policy will not allow you to update the key policy in the future."
_UNKNOWN_PRINCIPAL = "Policy contains a statement with one or more invalid principals."


@dataclass(frozen=True)
class KeyPolicy:
    """A policy as it is stored."""

    text: str
    principals: Mapping[str, str] = field(default_factory=dict)  # ARN in it -> unique id


def accepted(call: Call, key: KeyFacts, text: str, *, bypass_lockout_check: bool) -> KeyPolicy:
    """The policy to store for the key, which need not exist yet.

    Raises: MalformedPolicyDocumentException, LimitExceededException.
    """
    documents.require_valid(text)
    try:
        policy = KeyPolicy(text, principals.resolve(principals.named(text)))
    except principals.UnknownPrincipalError as error:
        raise MalformedPolicyDocumentException(_UNKNOWN_PRINCIPAL) from error
    if not bypass_lockout_check:
        later = replace(key, policy=policy.text, policy_principals=policy.principals)
        # The caller's own right counts, not only that somebody of the account could have one.
        if not access.would_allow(call, "kms:PutKeyPolicy", later):
            raise MalformedPolicyDocumentException(_LOCKOUT)
    return policy
