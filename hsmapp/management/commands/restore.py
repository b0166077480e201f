"""`manage.py restore FILE`: restore a backup into a stopped installation (restore.py)."""

from __future__ import annotations

from argparse import ArgumentParser
from collections import Counter
from pathlib import Path
from typing import Any

from hsmapp import restore
from hsmapp.device.protocol import HsmAnswerError, HsmUnreachableError
from hsmapp.hsm_processes import ProcessEndedError
from hsmapp.management.backup_command import BackupCommand
from hsmapp.restore import Report, RestoreError
from hsmapp.token_survey import Kind, Storage, Surveyed

WHAT_IT_MEANS = {
    Kind.MISSING: "in the backup and not in the token: made again from its masked key when the server starts",
    Kind.DAMAGED: "does not pass its check: made again from its masked key when the server starts",
    Kind.UNKNOWN: "in the token and not in the backup: left where it is",
}


class Command(BackupCommand):
    help = "Restore a backup into a stopped installation. Nothing is destroyed: what it replaces is kept."

    def add_arguments(self, parser: ArgumentParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("--check", action="store_true", help="only compare the backup with the tokens")

    def carry_out(self, file: Path, options: dict[str, Any]) -> None:
        try:
            if options["check"]:
                self._show(restore.check(file))
                self.stdout.write("Nothing was changed.")
                return
            restore.restore(file, self._show, self.stdout.write)
        except RestoreError as error:
            self.refuse(str(error))
        except (HsmAnswerError, HsmUnreachableError, ProcessEndedError) as error:
            self.refuse(f"An HSM could not be looked at or made usable: {error}. Run it again when that is mended.")
        self.stdout.write("Restored. bin/serve brings the HSMs up to date.")

    def _show(self, report: Report) -> None:
        manifest = report.manifest
        self.stdout.write(f"Backup of {manifest.created_at}: {self.show(manifest.counts)}.")
        for one in report.found:
            self._show_hsm(one)

    def _show_hsm(self, one: Surveyed) -> None:
        hsm_id = one.hsm.hsm_id
        if one.storage is Storage.GONE:
            self.stdout.write(f"{hsm_id}  no token")
            return
        if one.storage is Storage.UNUSABLE:
            self.stdout.write(f"{hsm_id}  a token that does not open: {one.reason}")
            return
        number = Counter(difference.kind for difference in one.differences)
        counted = ", ".join(f"{number[kind]} {kind}" for kind in Kind)
        masking_key = "with" if one.has_masking_key else "without"
        self.stdout.write(f"{hsm_id}  {one.keys} keys, {masking_key} its masking key; {counted}")
        for difference in one.differences:
            self.stdout.write(f"  {difference.kind}  {difference.label}  {difference.backing_key_id}")
        for kind in Kind:
            if number[kind]:
                self.stdout.write(f"  {kind}: {WHAT_IT_MEANS[kind]}.")
