"""When keys were last used."""

from __future__ import annotations

from django.db import models

from kmsapp.models.keys import KmsKey


class KeyLastUsage(models.Model):
    """The last successful cryptographic operation with a key, of which there is a row once there was one.

    Copied from the audit record (kmsapp/key_usage.py), so that it costs a call nothing.
    """

    key = models.OneToOneField(KmsKey, on_delete=models.CASCADE, primary_key=True, related_name="last_usage")
    operation = models.CharField(max_length=64)
    used_at = models.DateTimeField()  # to the second, as the audit record has it
    event_id = models.CharField(max_length=36)
    request_id = models.CharField(max_length=64)

    def __str__(self) -> str:
        return f"{self.operation} at {self.used_at:%Y-%m-%dT%H:%M:%SZ}"
