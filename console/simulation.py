"""What is asked of the policy simulator, as its address has it, and where a denial leads.

The address is the question: it can be kept, sent to somebody else, and asked again after a policy was changed.
"""

from __future__ import annotations

import datetime
import ipaddress
from dataclasses import dataclass, field
from typing import Any

from django.http import QueryDict
from django.urls import reverse

from kmsapp import arns, denials, service_models
from kmsapp.caller import Caller

Problems = dict[str, str]  # id of the field -> sentence
Pairs = list[tuple[str, str]]

OPERATION = "console:SimulateKeyAccess"
MOST_PAIRS = 20
LONGEST_TEXT = 2048
CLOCK = "%Y-%m-%dT%H:%M"
# Of the members that name a key in KMS's service model. RetireGrant is the grant's to allow, and ListAliases only
# filters by it.
_KEY_MEMBERS = ("KeyId", "TargetKeyId")
_NOT_OF_A_KEY = {"RetireGrant", "ListAliases"}
# Actions whose names differ from their operations'.
# https://docs.aws.amazon.com/kms/latest/developerguide/kms-api-permissions-reference.html
_FURTHER_ACTIONS = {"ReEncryptFrom", "ReEncryptTo", "DeleteAlias"}


def actions() -> list[str]:
    """The actions on a key: kms:Decrypt and its like, in the order of the alphabet."""
    kms = service_models.service("kms")
    named = {
        name
        for name in kms.operation_names
        if any(member in kms.operation(name).input.parts for member in _KEY_MEMBERS)
    }
    return [f"kms:{name}" for name in sorted(named - _NOT_OF_A_KEY | _FURTHER_ACTIONS)]


@dataclass(frozen=True)
class Question:
    """May this principal do this with the key, in such a request?"""

    principal: str = ""  # ARN
    action: str = "kms:Decrypt"
    encryption_context: Pairs = field(default_factory=list)
    source_ip: str = ""
    secure: bool = True
    time: str = ""  # as an input for local times has it, in UTC; empty: now
    conditions: Pairs = field(default_factory=list)  # further condition keys; one key may have several values

    @classmethod
    def of(cls, query: QueryDict, *, is_secure: bool) -> Question:
        """is_secure: whether calls come by TLS to this server, if the question does not say how this one would."""
        return cls(
            principal=(_text(query, "arn") or _text(query, "principal")),
            action=_text(query, "action") or "kms:Decrypt",
            encryption_context=_pairs(query, "context"),
            source_ip=_text(query, "source_ip"),
            secure=_text(query, "secure") == "yes" if "secure" in query else is_secure,
            time=_text(query, "time"),
            conditions=_pairs(query, "condition"),
        )

    def problems(self) -> Problems:
        """What must be corrected before it can be asked."""
        problems = {
            "id_principal": "" if arns.parse_principal(self.principal) else NO_PRINCIPAL,
            "id_action": "" if self.action in actions() else "Choose an operation of the list.",
            "id_source_ip": "" if _is_ip(self.source_ip) else "Enter an IP address, such as 203.0.113.7.",
            "id_time": "" if not self.time or self.moment else "Enter a date and a time.",
        }
        return {name: sentence for name, sentence in problems.items() if sentence}

    @property
    def moment(self) -> datetime.datetime | None:
        try:
            return datetime.datetime.strptime(self.time[:16], CLOCK).replace(tzinfo=datetime.UTC)
        except ValueError:
            return None

    def parameters(self, key_id: str) -> dict[str, Any]:
        """Of console:SimulateKeyAccess."""
        more: dict[str, list[str]] = {}
        for name, value in self.conditions:
            more.setdefault(name, []).append(value)
        return {
            "KeyId": key_id,
            "PrincipalArn": self.principal,
            "Action": self.action,
            "EncryptionContext": dict(self.encryption_context),
            "SecureTransport": self.secure,
            **({"SourceIp": self.source_ip} if self.source_ip else {}),
            **({"CurrentTime": self.moment.isoformat()} if self.moment else {}),
            "MoreContext": {name: values if len(values) > 1 else values[0] for name, values in more.items()},
        }


NO_PRINCIPAL = "Choose a user or role, or enter the ARN of a user, role, session or account root."


def _text(query: QueryDict, name: str) -> str:
    return query.get(name, "").replace("\0", "").strip()[:LONGEST_TEXT]


def _pairs(query: QueryDict, name: str) -> Pairs:
    """Filled rows: an empty name is an empty row."""
    keys, values = query.getlist(f"{name}_key"), query.getlist(f"{name}_value")
    pairs = [(key.replace("\0", "").strip(), value.replace("\0", "")) for key, value in zip(keys, values, strict=False)]
    return [(key[:LONGEST_TEXT], value[:LONGEST_TEXT]) for key, value in pairs if key][:MOST_PAIRS]


def _is_ip(text: str) -> bool:
    if not text:
        return True
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def address(key_id: str, principal: str, action: str) -> str:
    """The simulator of a key, asked about a principal and an action."""
    return reverse("console:key-simulator", args=[key_id], query={"principal": principal, "action": action})


def address_of(sentence: str, caller: Caller) -> str:
    """Where a denial is explained; empty for what is not about a key of the caller's account and Region."""
    denied = denials.read(sentence)
    arn = arns.parse(denied.resource) if denied else None
    if denied is None or arn is None or (arn.account, arn.region) != (caller.account, caller.region):
        return ""
    kind, _, key_id = arn.resource.partition("/")
    return address(key_id, denied.principal, denied.action) if kind == "key" and key_id else ""
