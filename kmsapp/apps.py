from __future__ import annotations

from django.apps import AppConfig
from django.db.models.signals import post_migrate


class KmsappConfig(AppConfig):
    name = "kmsapp"
    verbose_name = "AWS KMS and identities"

    def ready(self) -> None:
        # Their job handlers must be known wherever jobs run, also where no call is ever dispatched.
        from kmsapp import audit_reading, key_deletion_jobs, key_store_jobs  # noqa: F401
        from kmsapp.iam import aws_managed, sessions  # noqa: F401

        post_migrate.connect(aws_managed.put, sender=self)
