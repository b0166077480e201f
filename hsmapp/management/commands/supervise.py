"""`manage.py supervise`: run the HSM processes of this machine (supervisor.py). bin/serve starts it."""

from __future__ import annotations

from django.core.management.base import BaseCommand

from hsmapp import supervisor


class Command(BaseCommand):
    help = "Run the HSM processes that the database wants, until SIGTERM."
    requires_system_checks = ()

    def handle(self, *args: object, **options: object) -> None:
        supervisor.run()
