"""Custom key stores."""

from __future__ import annotations

from django.db import models

from hsmapp.models import Cluster, ClusterCredential


class ConnectionState(models.TextChoices):
    CONNECTED = "CONNECTED"
    CONNECTING = "CONNECTING"
    FAILED = "FAILED"
    DISCONNECTED = "DISCONNECTED"
    DISCONNECTING = "DISCONNECTING"


class CustomKeyStore(models.Model):
    """A custom key store of type AWS_CLOUDHSM: one CloudHSM cluster under a name of the customer's."""

    custom_key_store_id = models.CharField(max_length=64, unique=True)
    account = models.CharField(max_length=12)
    region = models.CharField(max_length=32)
    name = models.CharField(max_length=256)
    cluster = models.ForeignKey(Cluster, on_delete=models.PROTECT, related_name="key_stores")
    # kmsuser of the cluster, as far as this key store knows its password.
    credential = models.ForeignKey(ClusterCredential, on_delete=models.PROTECT, related_name="key_stores")
    trust_anchor_certificate = models.TextField()
    connection_state = models.CharField(
        max_length=16, choices=ConnectionState.choices, default=ConnectionState.DISCONNECTED
    )
    connection_error_code = models.CharField(max_length=64, blank=True)  # only in FAILED
    # When the transition that CONNECTING and DISCONNECTING announce may be carried out (kmsapp/key_store_jobs.py).
    transition_due_at = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField()

    class Meta:
        ordering = ["name"]
        constraints = [
            models.UniqueConstraint(fields=["account", "region", "name"], name="key_store_name_is_unique"),
            models.UniqueConstraint(fields=["cluster"], name="one_key_store_per_cluster"),
        ]

    def __str__(self) -> str:
        return f"{self.name} ({self.custom_key_store_id})"

    @property
    def is_connected(self) -> bool:
        return self.connection_state == ConnectionState.CONNECTED
