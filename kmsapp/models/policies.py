"""Managed IAM policies and their versions. Inline policies stand beside the identities they belong to."""

from __future__ import annotations

from django.db import models
from django.db.models.functions import Lower

from kmsapp.models.epoch_rows import RaisesEpoch

AWS = "aws"  # the account of AWS managed policies, as their ARNs have it


class ManagedPolicy(RaisesEpoch):
    """A policy that can be attached to users, groups and roles of its account; an AWS managed one to those of all."""

    policy_id = models.CharField(max_length=32, unique=True)  # ANPA…
    account = models.CharField(max_length=12)  # 12 digits, or AWS
    name = models.CharField(max_length=128)
    path = models.CharField(max_length=512, default="/")
    description = models.CharField(max_length=1000, blank=True)
    tags = models.JSONField(default=dict, blank=True)  # tag key -> value
    versions_made = models.PositiveIntegerField(default=1)  # the number of the newest, which is never given twice
    created_at = models.DateTimeField()
    updated_at = models.DateTimeField()

    class Meta:
        ordering = ["account", "name"]
        verbose_name_plural = "managed policies"
        constraints = [
            models.UniqueConstraint("account", Lower("name"), name="policy_name_is_unique_in_its_account"),
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def arn(self) -> str:
        return f"arn:aws:iam::{self.account}:policy{self.path}{self.name}"

    def account_of_row(self) -> str:
        return self.account


class PolicyVersion(RaisesEpoch):
    """A version of a managed policy; the default one is in force."""

    policy = models.ForeignKey(ManagedPolicy, on_delete=models.CASCADE, related_name="versions")
    number = models.PositiveIntegerField()
    document = models.TextField()
    is_default = models.BooleanField(default=False)
    created_at = models.DateTimeField()

    class Meta:
        ordering = ["policy", "number"]
        constraints = [
            models.UniqueConstraint(fields=["policy", "number"], name="policy_version_is_unique"),
            models.UniqueConstraint(
                fields=["policy"], condition=models.Q(is_default=True), name="policy_has_one_default_version"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.policy} {self.version_id}"

    @property
    def version_id(self) -> str:
        return f"v{self.number}"

    def account_of_row(self) -> str:
        return self.policy.account
