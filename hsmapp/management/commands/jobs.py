"""`manage.py jobs`: carry out what is due (jobs.py). bin/serve starts it."""

from __future__ import annotations

from django.core.management.base import BaseCommand

from hsmapp import jobs


class Command(BaseCommand):
    help = "Carry out transitions that are due, until SIGTERM."
    requires_system_checks = ()

    def handle(self, *args: object, **options: object) -> None:
        jobs.run()
