"""`manage.py hsm`: look at HSMs and what is wrong with them, have them compared with the database, stop and start them,
open a demo token from outside.
"""

from __future__ import annotations

import datetime
import shlex
import time
from argparse import ArgumentParser
from dataclasses import fields
from typing import Any

from django.conf import settings
from django.core.management.base import CommandError

from hsmapp import hsm_processes, hsms, reconcile, sealing, softhsm
from hsmapp.management.installation_command import InstallationCommand
from hsmapp.models import Finding, Hsm, MaskedKey, Reconciliation
from hsmapp.reconcile import Report
from hsmapp.states import HsmState

ANSWER_SECONDS = 120.0
PATIENT_SECONDS = 5.0  # then whoever waits is told for what
POLL_SECONDS = 0.1


class Command(InstallationCommand):
    help = (
        "List HSMs; compare them with the database; stop or start one; print what a PKCS#11 client needs for a token "
        "(demo and test data only)."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        verbs = parser.add_subparsers(dest="verb", required=True)
        verbs.add_parser("list", help="every HSM with its state")
        verbs.add_parser("findings", help="what is known to be wrong with the keys in HSMs")
        reconciling = verbs.add_parser("reconcile", help="compare HSMs with the database, repair, and report")
        reconciling.add_argument("hsm_ids", nargs="*", metavar="hsm_id", help="all that are wanted, if none is named")
        for verb, text in (
            ("stop", "take an HSM out of its cluster until it is started again"),
            ("start", "start an HSM that was stopped"),
            ("token-env", "module, configuration and PIN of an HSM's token, as shell lines"),
        ):
            verbs.add_parser(verb, help=text).add_argument("hsm_id")

    def handle(self, *args: object, **options: Any) -> None:
        verb = options["verb"]
        if verb == "list":
            self._list()
            return
        if verb == "findings":
            self._findings()
            return
        if verb == "reconcile":
            self._reconcile(options["hsm_ids"])
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

    def _reconcile(self, hsm_ids: list[str]) -> None:
        """Have the running server do it, for it alone opens the tokens; show what it did, and what stays wrong."""
        rows = self._to_reconcile(hsm_ids)
        asked_at = reconcile.ask(rows)
        end = time.monotonic() + ANSWER_SECONDS
        late = [hsm for hsm in rows if not self._reported(hsm, asked_at, end)]
        self._findings()
        if late:
            raise CommandError(
                f"{', '.join(hsm.hsm_id for hsm in late)}: not compared within {ANSWER_SECONDS:.0f} s. It is done when "
                "the HSM serves again. Does the server run on this data folder?"
            )

    def _reported(self, hsm: Hsm, asked_at: datetime.datetime, end: float) -> bool:
        """Whether the HSM was compared in time; show what was done, or its state."""
        done = self._wait_for(hsm, asked_at, end)
        if done is None:
            self.stdout.write(f"{hsm.hsm_id}  not compared: it is {hsm.state}. {hsm.state_message}")
            return False
        report = Report(**{field.name: getattr(done, field.name) for field in fields(Report)})
        self.stdout.write(f"{hsm.hsm_id}  keys as they should be: {report.keys}; {report.sentence()}")
        return True

    def _to_reconcile(self, hsm_ids: list[str]) -> list[Hsm]:
        found = Hsm.objects.exclude(state=HsmState.DELETED).order_by("cluster__cluster_id", "hsm_id")
        if not hsm_ids:
            return list(found.filter(wanted=True))
        rows = list(found.filter(hsm_id__in=hsm_ids))
        unknown = sorted(set(hsm_ids) - {row.hsm_id for row in rows})
        if unknown:
            raise CommandError(f"There is no HSM {unknown[0]}.")
        return rows

    def _wait_for(self, hsm: Hsm, asked_at: datetime.datetime, end: float) -> Reconciliation | None:
        say_at = time.monotonic() + PATIENT_SECONDS
        while True:
            # Begun after it was asked for: one that was under way may have passed over what is wrong.
            done = hsm.reconciliations.filter(begun_at__gte=asked_at).first()
            now = time.monotonic()
            if done is not None or now >= end:
                hsm.refresh_from_db()
                return done
            if now >= say_at:
                hsm.refresh_from_db()
                self.stderr.write(f"Waiting for {hsm.hsm_id}, which is {hsm.state}. {hsm.state_message}")
                say_at = end
            time.sleep(POLL_SECONDS)

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
