"""`manage.py demo add-cluster`: one more ACTIVE cluster for the demo account, not bound to a key store."""

from __future__ import annotations

from argparse import ArgumentParser

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from kmsapp import demo


class Command(BaseCommand):
    help = "Add to the demo. Needs a running server on the same data folder."
    requires_system_checks = ()

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("verb", choices=["add-cluster"])

    def handle(self, *args: object, **options: object) -> None:
        if not demo.is_seeded():
            raise CommandError(f"There is no demo in {settings.DATA}. Start bin/serve on it first.")
        try:
            cluster = demo.add_further_cluster()
        except demo.DemoError as error:
            raise CommandError(f"{error} Is the server running?") from error
        folder = settings.DATA / "demo"
        self.stdout.write(f"{cluster.cluster_id} is {cluster.state} with {cluster.hsms.count()} HSMs.")
        self.stdout.write(f"kmsuser password: {folder / f'{cluster.cluster_id}-kmsuser-password'}")
        self.stdout.write(f"trust anchor:     {folder / f'{cluster.cluster_id}-customerCA.crt'}")
