"""What the console itself remembers: wizard drafts and failed sign-ins.

Verbs live in drafts.py and sign_in_limits.py.
"""

from __future__ import annotations

import uuid

from django.conf import settings
from django.db import models


class KeyDraft(models.Model):
    """A key that somebody is about to create: what was entered in the wizard so far.

    draft -> claimed (Finish is at work) -> done, or back to draft when Finish failed. A claim is taken by a conditional
    UPDATE, so of many Finishes at once one does the work.
    """

    class State(models.TextChoices):
        DRAFT = "draft"
        CLAIMED = "claimed"
        DONE = "done"

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    owner = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="key_drafts")
    account = models.CharField(max_length=12)
    region = models.CharField(max_length=32)
    data = models.JSONField(default=dict)  # the fields of drafts.Choices
    state = models.CharField(max_length=8, choices=State.choices, default=State.DRAFT)
    claimed_at = models.DateTimeField(null=True, blank=True)
    made_key_id = models.CharField(max_length=64, blank=True)
    # Why the last Finish failed ({"code": …, "message": …}), so that a page that was reloaded or lost still says it.
    failure = models.JSONField(default=dict, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        ordering = ["-updated_at"]
        indexes = [models.Index(fields=["owner", "state"])]

    def __str__(self) -> str:
        return str(self.id)


class SignInAttempts(models.Model):
    """Failed tries to sign in during a window of time, under a hashed name of who is tried and from where."""

    counter = models.CharField(max_length=64, primary_key=True)  # SHA-256, hex
    tries = models.PositiveIntegerField(default=0)
    window_ends_at = models.DateTimeField()

    class Meta:
        indexes = [models.Index(fields=["window_ends_at"])]

    def __str__(self) -> str:
        return f"{self.counter[:8]}: {self.tries}"
