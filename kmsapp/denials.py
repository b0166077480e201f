"""AWS's sentences for a denial, and how to read one again, so that a page can explain it.

Texts: https://docs.aws.amazon.com/IAM/latest/UserGuide/troubleshoot_access-denied.html
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from kmsapp.call import Call
from kmsapp.errors import AccessDeniedException
from kmsapp.policy import explanation
from kmsapp.policy.evaluation import Decision

_SENTENCE = re.compile(
    r"User: (?P<principal>arn:\S+) is not authorized to perform: (?P<action>[a-z0-9]+:[A-Za-z]+)"
    r"(?: on resource: (?P<resource>\S+))? (?:because|with) "
)


@dataclass(frozen=True)
class Denied:
    """Who was denied what."""

    principal: str  # ARN
    action: str
    resource: str  # ARN, what the request named, or "*"
    source_ip: str = ""
    encryption_context: Mapping[str, str] = field(default_factory=dict)


def denial(call: Call, decision: Decision, action: str, resource: str) -> AccessDeniedException:
    """The exception for a decision that is no ALLOW. resource: as it is shown; empty: not at all."""
    return AccessDeniedException(f"{_beginning(call, action, resource)} {explanation.because(decision)}")


def foreign(call: Call, action: str, resource: str) -> AccessDeniedException:
    """For another account's key, whether it exists or not."""
    because = f"because no resource-based policy allows the {action} action"
    return AccessDeniedException(f"{_beginning(call, action, resource)} {because}")


def _beginning(call: Call, action: str, resource: str) -> str:
    beginning = f"User: {call.caller.principal_arn} is not authorized to perform: {action}"
    return f"{beginning} on resource: {resource}" if resource else beginning


def read(message: str) -> Denied | None:
    """What a denial's message says, or None if it is no such message."""
    found = _SENTENCE.match(message)
    return Denied(found["principal"], found["action"], found["resource"] or "*") if found else None


def of_event(event: Mapping[str, Any]) -> Denied | None:
    """What an audit event says was denied, or None if it is of no denial."""
    denied, resources = read(str(event.get("errorMessage") or "")), event.get("resources") or []
    if denied is None and event.get("errorCode") == "AccessDenied" and resources:
        # A ciphertext's key: the answer names nothing.
        service, name = str(event["eventSource"]).partition(".")[0], event["eventName"]
        principal = str(event["userIdentity"].get("arn", ""))
        denied = Denied(principal, f"{service}:{name}", resources[0].get("ARN", ""))
    if denied is None:
        return None
    context = (event.get("requestParameters") or {}).get("encryptionContext") or {}
    source = str(event.get("sourceIPAddress") or "")
    # A call from inside has a name there instead of an address.
    return replace(denied, source_ip="" if " " in source else source, encryption_context=context)
