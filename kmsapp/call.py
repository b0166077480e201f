"""One call on its way through dispatch: who asks what, what was decided, and what the audit record will say."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from django.db import transaction

from hsmapp import epochs
from kmsapp import arns
from kmsapp.caller import Caller


@dataclass
class Call:
    """A call. Operations read `caller` and `params`, and tell what the audit record should hold."""

    caller: Caller
    service: str  # IAM prefix: kms, cloudhsm, sts, console
    operation: str
    params: dict[str, Any] = field(repr=False)  # may hold plaintext
    request_id: str
    read_only: bool
    audit_parameters: dict[str, Any] = field(default_factory=dict)  # lowerCamel, nothing secret
    resources: list[str] = field(default_factory=list)  # ARNs
    additional_event_data: dict[str, Any] = field(default_factory=dict)
    checked: list[str] = field(default_factory=list)  # actions that access.py allowed
    conditions: dict[str, str] = field(
        default_factory=dict
    )  # condition keys that its parameters do not tell, lower-case
    granted_by: str = ""  # the grant by which access.py allowed the last of them; empty: policies did
    recorded: bool = False
    recorded_as: str = ""  # AWS's name of what is being done, "kms:CreateKey"; empty: the operation's own

    def __post_init__(self) -> None:
        self.recorded_as = self.recorded_as or f"{self.service}:{self.operation}"

    @contextmanager
    def part(self, recorded_as: str, parameters: dict[str, Any]) -> Iterator[None]:
        """A part that is an event of its own: what is recorded inside, and a refusal there, is recorded as that."""
        whole = self.recorded_as, self.audit_parameters
        self.recorded_as, self.audit_parameters = recorded_as, parameters
        yield
        self.recorded_as, self.audit_parameters = whole

    @contextmanager
    def change(self, response: dict[str, Any] | None = None) -> Iterator[None]:
        """One transaction: the change inside, the epochs of the accounts it concerns, and the audit record.

        response: responseElements of the record; what is added to it inside counts.
        """
        with transaction.atomic():
            yield
            self.record_change(response)

    def record_change(self, response: dict[str, Any] | None = None) -> None:
        """Raise the epochs and write the success, inside the transaction of the change.

        Of the caller's account and of those whose resources are named: a grant may be on another account's key.
        """
        from kmsapp import audit

        accounts = {self.caller.account, *map(arns.account_of, self.resources)}
        for account in sorted(accounts):  # always in this order, so that two changes do not wait for each other
            epochs.raise_epoch(account)
        for event in audit.events(self, response=response):
            audit.record_change(event)
        self.recorded = True
