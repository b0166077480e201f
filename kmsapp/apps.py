from __future__ import annotations

from django.apps import AppConfig


class KmsappConfig(AppConfig):
    name = "kmsapp"
    verbose_name = "AWS KMS and identities"
