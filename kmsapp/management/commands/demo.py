"""`manage.py demo`: a further cluster for the demo account, and what its crypto officer would do there."""

from __future__ import annotations

from argparse import ArgumentParser

from django.conf import settings
from django.core.management.base import CommandError

from hsmapp.errors import HsmError
from hsmapp.management.installation_command import InstallationCommand
from hsmapp.states import CAPACITY
from kmsapp import demo
from kmsapp.seeding.errors import SeedingError


class Command(InstallationCommand):
    help = "Add to the demo. Needs a running server on the same data folder."

    def add_arguments(self, parser: ArgumentParser) -> None:
        verbs = parser.add_subparsers(dest="verb", required=True)
        add = verbs.add_parser("add-cluster", help="one more ACTIVE cluster, not bound to a key store")
        add.add_argument("--hsm-type", choices=sorted(CAPACITY), default=demo.HSM_TYPE, help="how many keys it takes")
        verbs.add_parser(
            "kmsuser-password", help="give kmsuser of a cluster a new password, which KMS is not told"
        ).add_argument("cluster_id")

    def handle(self, *args: object, **options: object) -> None:
        if not demo.is_seeded():
            raise CommandError(f"There is no demo in {settings.DATA}. Start bin/serve on it first.")
        try:
            if options["verb"] == "add-cluster":
                self._add_cluster(str(options["hsm_type"]))
            else:
                self._new_password(str(options["cluster_id"]))
        except SeedingError as error:
            raise CommandError(str(error)) from error
        except HsmError as error:
            raise CommandError(str(error)) from error

    def _add_cluster(self, hsm_type: str) -> None:
        try:
            cluster = demo.add_further_cluster(hsm_type)
        except SeedingError as error:
            raise CommandError(f"{error} Is the server running?") from error
        folder = settings.DATA / "demo"
        self.stdout.write(f"{cluster.cluster_id} is {cluster.state} with {cluster.hsms.count()} HSMs.")
        self.stdout.write(f"kmsuser password: {folder / f'{cluster.cluster_id}-kmsuser-password'}")
        self.stdout.write(f"trust anchor:     {folder / f'{cluster.cluster_id}-customerCA.crt'}")

    def _new_password(self, cluster_id: str) -> None:
        path = demo.new_kmsuser_password(cluster_id)
        self.stdout.write(f"kmsuser of {cluster_id} has a new password: {path}")
        self.stdout.write(
            "Tell it to KMS: UpdateCustomKeyStore with KeyStorePassword, while the store is disconnected."
        )
