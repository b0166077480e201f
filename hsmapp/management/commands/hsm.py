"""`manage.py hsm`: look at HSMs and what is wrong with them, stop and start them, open a demo token from outside."""

from __future__ import annotations

import shlex
from argparse import ArgumentParser

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from hsmapp import hsm_processes, hsms, sealing, softhsm
from hsmapp.models import Finding, Hsm, MaskedKey


class Command(BaseCommand):
    help = "List HSMs; stop or start one; print what a PKCS#11 client needs to open a token (demo and test data only)."
    requires_system_checks = ()

    def add_arguments(self, parser: ArgumentParser) -> None:
        verbs = parser.add_subparsers(dest="verb", required=True)
        verbs.add_parser("list", help="every HSM with its state")
        verbs.add_parser("findings", help="what is known to be wrong with the keys in HSMs")
        for verb, text in (
            ("stop", "take an HSM out of its cluster until it is started again"),
            ("start", "start an HSM that was stopped"),
            ("token-env", "module, configuration and PIN of an HSM's token, as shell lines"),
        ):
            verbs.add_parser(verb, help=text).add_argument("hsm_id")

    def handle(self, *args: object, **options: object) -> None:
        verb = options["verb"]
        if verb == "list":
            self._list()
            return
        if verb == "findings":
            self._findings()
            return
        hsm = Hsm.objects.select_related("cluster").filter(hsm_id=options["hsm_id"]).first()
        if hsm is None:
            raise CommandError(f"There is no HSM {options['hsm_id']}.")
        if verb == "token-env":
            self._token_env(hsm)
        elif verb == "stop":
            hsms.stop(hsm)
            self.stdout.write(f"{hsm.hsm_id} is being stopped.")
        else:
            hsms.start(hsm)
            self.stdout.write(f"{hsm.hsm_id} is being started.")

    def _list(self) -> None:
        for hsm in Hsm.objects.select_related("cluster").order_by("cluster__cluster_id", "hsm_id"):
            keys = MaskedKey.objects.filter(cluster=hsm.cluster).count()
            zone, message = hsm.availability_zone, hsm.state_message
            self.stdout.write(f"{hsm.hsm_id}  {hsm.cluster}  {zone}  {hsm.state}  {keys} keys  {message}")

    def _findings(self) -> None:
        rows = Finding.objects.filter(resolved_at=None).select_related("cluster", "hsm").order_by("cluster", "found_at")
        for row in rows:
            where = row.hsm or row.cluster
            self.stdout.write(
                f"{row.get_kind_display()}  {where}  {row.label}  since {row.found_at:%F %T}  {row.detail}"
            )
        if not rows:
            self.stdout.write("Nothing is known to be wrong.")

    def _token_env(self, hsm: Hsm) -> None:
        """Whoever has PIN and token folder has the keys, so this is for data that nobody depends on."""
        if not (settings.DATA / "demo").is_dir():
            raise CommandError("token-env is for demo and test installations only; this one is neither.")
        try:
            pin = hsms.pin(hsm)
        except sealing.SealingError as error:
            raise CommandError(str(error)) from error
        folder = hsm_processes.hsm_folder(hsm.hsm_id)
        for name, value in (
            ("PKCS11_MODULE", str(softhsm.find_module(settings.DATA))),
            ("SOFTHSM2_CONF", str(folder / "softhsm2.conf")),
            ("TOKEN_LABEL", hsm.hsm_id),
            ("TOKEN_FOLDER", str(folder / "tokens")),
            ("TOKEN_PIN", pin),
        ):
            self.stdout.write(f"{name}={shlex.quote(value)}")
