"""The audit record: one event per call (audit.py writes them)."""

from __future__ import annotations

from typing import Any, NoReturn

from django.db import models
from django.db.models import Q


class ChainState(models.TextChoices):
    OPEN = "open"
    CLOSED = "closed"  # its writer is gone, and it was read to its end
    DAMAGED = "damaged"  # what follows read_bytes is no record; a person must look


class AuditChain(models.Model):
    """An append-only file of one process and start, whose lines are hash-chained; and how far it was read in."""

    chain_id = models.CharField(max_length=64, primary_key=True)
    file_name = models.CharField(max_length=200)
    started_at = models.DateTimeField()
    read_bytes = models.BigIntegerField(default=0)
    state = models.CharField(max_length=8, choices=ChainState.choices, default=ChainState.OPEN)

    class Meta:
        # Closed chains stay for ever; looking for the open ones must not cost more with each start.
        indexes = [models.Index(fields=["chain_id"], condition=Q(state=ChainState.OPEN), name="open_audit_chains")]

    def __str__(self) -> str:
        return self.chain_id


class AuditEvent(models.Model):
    """One call. Rows are only ever added; `event` is the whole record, CloudTrail-shaped."""

    event_id = models.UUIDField(unique=True)
    event_time = models.DateTimeField()
    account = models.CharField(max_length=12)
    region = models.CharField(max_length=32)
    event_source = models.CharField(max_length=64)
    event_name = models.CharField(max_length=64)
    principal = models.CharField(max_length=700)
    request_id = models.CharField(max_length=64)
    error_code = models.CharField(max_length=64, blank=True)
    resource = models.CharField(max_length=320, blank=True)  # ARN of the first resource
    event = models.JSONField()

    class Meta:
        ordering = ["-id"]
        indexes = [
            models.Index(fields=["account", "event_time"]),
            models.Index(fields=["resource"]),
            models.Index(fields=["request_id"]),
        ]

    def __str__(self) -> str:
        return f"{self.event_name} {self.event_id}"

    def save(self, *args: Any, **options: Any) -> None:
        if self.pk is not None:
            raise TypeError("an audit event is written once and never changed")
        super().save(*args, **options)

    def delete(self, *args: Any, **options: Any) -> NoReturn:
        raise TypeError("an audit event is never deleted")
