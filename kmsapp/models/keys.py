"""KMS keys, their aliases and tags."""

from __future__ import annotations

from django.db import models
from django.db.models import Q

from hsmapp.models import MaskedKey
from kmsapp import arns
from kmsapp.models.key_stores import CustomKeyStore


class KmsKey(models.Model):
    """A KMS key.

    `key_state` is what the key is by itself; a key whose store is not connected is *shown* as Unavailable
    (key_states.py) and comes back to its own state when the store connects again.
    """

    class State(models.TextChoices):
        ENABLED = "Enabled"
        DISABLED = "Disabled"
        PENDING_DELETION = "PendingDeletion"

    account = models.CharField(max_length=12)
    region = models.CharField(max_length=32)
    key_id = models.CharField(max_length=64)
    description = models.TextField(blank=True)
    key_state = models.CharField(max_length=24, choices=State.choices, default=State.ENABLED)
    key_spec = models.CharField(max_length=32, default="SYMMETRIC_DEFAULT")
    key_usage = models.CharField(max_length=32, default="ENCRYPT_DECRYPT")
    origin = models.CharField(max_length=32)
    multi_region = models.BooleanField(default=False)
    custom_key_store = models.ForeignKey(CustomKeyStore, null=True, on_delete=models.PROTECT, related_name="keys")
    material = models.OneToOneField(MaskedKey, null=True, on_delete=models.SET_NULL, related_name="kms_key")
    policy = models.TextField()
    # ARN in the policy -> unique id of whoever had it when the policy was written: a namesake made later has nothing.
    policy_principals = models.JSONField(default=dict, blank=True)
    created_at = models.DateTimeField()
    # Of a key that is PendingDeletion; empty otherwise.
    deletion_date = models.DateTimeField(null=True, blank=True)  # on the account's clock
    deletion_scheduled_at = models.DateTimeField(null=True, blank=True)  # wall time
    # When somebody said that its time has come although nobody can prove it (hsmapp/clock_watch.py).
    deletion_confirmed_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["key_id"]
        verbose_name = "KMS key"
        # The few that wait are looked through several times a second.
        indexes = [
            models.Index(fields=["deletion_date"], condition=Q(key_state="PendingDeletion"), name="keys_to_delete")
        ]
        constraints = [models.UniqueConstraint(fields=["account", "region", "key_id"], name="key_id_is_unique")]

    def __str__(self) -> str:
        return self.key_id

    @property
    def arn(self) -> str:
        return arns.key_arn(self.region, self.account, self.key_id)


class Alias(models.Model):
    """A friendly name of a key; `name` includes the prefix alias/."""

    account = models.CharField(max_length=12)
    region = models.CharField(max_length=32)
    name = models.CharField(max_length=256)
    key = models.ForeignKey(KmsKey, on_delete=models.CASCADE, related_name="aliases")
    created_at = models.DateTimeField()
    updated_at = models.DateTimeField()

    class Meta:
        ordering = ["name"]
        verbose_name_plural = "aliases"
        constraints = [models.UniqueConstraint(fields=["account", "region", "name"], name="alias_name_is_unique")]

    def __str__(self) -> str:
        return self.name

    @property
    def arn(self) -> str:
        return arns.alias_arn(self.region, self.account, self.name)


class Tag(models.Model):
    """A tag of a key."""

    key = models.ForeignKey(KmsKey, on_delete=models.CASCADE, related_name="tags")
    tag_key = models.CharField(max_length=128)
    tag_value = models.CharField(max_length=256, blank=True)

    class Meta:
        ordering = ["tag_key"]
        constraints = [models.UniqueConstraint(fields=["key", "tag_key"], name="tag_key_is_unique_on_its_key")]

    def __str__(self) -> str:
        return f"{self.tag_key}={self.tag_value}"
