"""What the commands that work on an installation have in common: without one they say so, and make no database."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from hsmapp import database_files


class InstallationCommand(BaseCommand):
    requires_system_checks = ()

    def execute(self, *args: Any, **options: Any) -> str | None:
        if not database_files.is_there():
            raise CommandError(
                f"There is no Casemate in the data folder {settings.DATA}: start bin/serve on it, or name another one "
                "in CASEMATE_DATA."
            )
        return super().execute(*args, **options)
