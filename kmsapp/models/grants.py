"""Grants on KMS keys."""

from __future__ import annotations

from django.db import models
from django.db.models import Q

from kmsapp.models.epoch_rows import RaisesEpoch
from kmsapp.models.keys import KmsKey


class Grant(RaisesEpoch):
    """Lets one principal use one key for the operations it lists.

    Principals are ARNs, or names of AWS services, which have no id. The unique ids are those that the principals had
    when the grant was made: a namesake made later has nothing by it.
    """

    grant_id = models.CharField(max_length=64, unique=True)  # hex
    key = models.ForeignKey(KmsKey, on_delete=models.CASCADE, related_name="grants")
    name = models.CharField(max_length=256, blank=True)
    grantee_principal = models.CharField(max_length=256)
    grantee_id = models.CharField(max_length=32, blank=True)
    retiring_principal = models.CharField(max_length=256, blank=True)
    retiring_id = models.CharField(max_length=32, blank=True)
    issuing_account = models.CharField(max_length=12)
    operations = models.JSONField()  # names of GrantOperation
    constraints = models.JSONField(default=dict)  # GrantConstraints, as given
    # SHA-256 of everything but the name: what makes a second CreateGrant with the same name a retry of the first.
    properties_sha256 = models.CharField(max_length=64)
    created_at = models.DateTimeField()

    class Meta:
        ordering = ["grant_id"]
        constraints = [
            models.UniqueConstraint(
                fields=["key", "name", "properties_sha256"],
                condition=~Q(name=""),
                name="named_grant_is_made_once",
            )
        ]
        indexes = [
            models.Index(fields=["key", "grantee_id"]),  # every call that no policy allows
            models.Index(fields=["key", "grant_id"]),  # ListGrants, page by page
            models.Index(fields=["retiring_id", "grant_id"]),  # ListRetirableGrants
        ]

    def __str__(self) -> str:
        return self.grant_id

    def account_of_row(self) -> str:
        return self.key.account
