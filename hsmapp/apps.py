from __future__ import annotations

from django.apps import AppConfig


class HsmappConfig(AppConfig):
    name = "hsmapp"
    verbose_name = "AWS CloudHSM"

    def ready(self) -> None:
        # Registered before the handlers of any other app: a clock that is wrong is seen before they act on it.
        from hsmapp import clock_watch  # noqa: F401
