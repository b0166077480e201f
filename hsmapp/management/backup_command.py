"""What `manage.py backup` and `manage.py restore` have in common: the master key file, and refusals in one sentence."""

from __future__ import annotations

import sys
from argparse import ArgumentParser
from pathlib import Path
from typing import Any, NoReturn

from django.conf import settings
from django.core.management.base import BaseCommand

from hsmapp import sealing


class BackupCommand(BaseCommand):
    requires_system_checks = ()

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("file", type=Path, help="the backup")
        parser.add_argument("--master-key-file", type=Path, help="default: <data>/secret/master.key")

    def handle(self, *args: object, **options: Any) -> None:
        if options["master_key_file"]:
            settings.MASTER_KEY_FILE = options["master_key_file"].absolute()
        if not settings.KEYRING and not settings.MASTER_KEY_FILE.exists():
            self.refuse(f"There is no master key file at {settings.MASTER_KEY_FILE}: name it with --master-key-file.")
        sealing.keyring.cache_clear()
        try:
            sealing.keyring()
        except (sealing.SealingError, OSError) as error:
            self.refuse(f"The master key file {settings.MASTER_KEY_FILE} can't be used. {error}")
        self.carry_out(options["file"].absolute(), options)

    def carry_out(self, file: Path, options: dict[str, Any]) -> None:
        raise NotImplementedError

    def refuse(self, sentence: str) -> NoReturn:
        self.stderr.write(sentence)
        sys.exit(2)

    def show(self, counts: dict[str, int]) -> str:
        return ", ".join(f"{number} {what}" for what, number in counts.items())
