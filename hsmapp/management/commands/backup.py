"""`manage.py backup FILE`: write a backup while the service runs (backups.py)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hsmapp import backups
from hsmapp.backup_file import BackupFileError
from hsmapp.management.backup_command import BackupCommand


class Command(BackupCommand):
    help = "Write a backup of the database, masked keys included; the master key is not in it. The service may run."

    def carry_out(self, file: Path, options: dict[str, Any]) -> None:
        try:
            made = backups.make(file)
        except BackupFileError as error:
            self.refuse(str(error))
        self.stdout.write(f"{made.path}: {made.size:,} bytes, {self.show(made.manifest.counts)}.")
        self.stdout.write("It needs the master key file to be restored, which is not in it: keep that somewhere else.")
