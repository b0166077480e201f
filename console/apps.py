from __future__ import annotations

from django.apps import AppConfig


class ConsoleConfig(AppConfig):
    name = "console"
    verbose_name = "Console"

    def ready(self) -> None:
        """Stamp every sign-in, however it comes about."""
        from django.contrib.auth.signals import user_logged_in

        from console import sessions

        user_logged_in.connect(sessions.stamp, dispatch_uid="console.sessions")
