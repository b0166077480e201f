"""AWS's sentences for a denial, and how to read one again, so that a page can explain it.

Texts: https://docs.aws.amazon.com/IAM/latest/UserGuide/troubleshoot_access-denied.html
"""

from __future__ import annotations

import re
from dataclasses import dataclass

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
