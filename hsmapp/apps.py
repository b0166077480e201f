from __future__ import annotations

from django.apps import AppConfig


class HsmappConfig(AppConfig):
    name = "hsmapp"
    verbose_name = "AWS CloudHSM"
