"""An installation in this process: settings that name its folder, a master key, HSMs that run."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from django.conf import settings

from hsmapp import epochs, sealing
from hsmapp.models import Hsm
from hsmapp.testing import hsms_running, load_database, wait_until
from kmsapp import audit

DATABASE_COPY = "database.sqlite3"


@contextmanager
def in_folder(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Turn this process to the installation of a folder, making its master key if it has none."""
    with in_folder_without_hsms(folder, folder, monkeypatch), hsms_running():
        yield


@contextmanager
def in_folder_without_hsms(template: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Turn this process to a folder whose secrets are those of `template`. Nothing is asked of HSMs."""
    epochs.forget_all()
    monkeypatch.setattr(settings, "DATA", folder)
    monkeypatch.setattr(settings, "MASTER_KEY_FILE", template / "secret" / "master.key")
    monkeypatch.setattr(settings, "IMMEDIATE", True)
    if not settings.MASTER_KEY_FILE.exists():
        sealing.make_master_key(settings.MASTER_KEY_FILE)
    sealing.keyring.cache_clear()
    audit.close_file()
    try:
        yield
    finally:
        audit.close_file()
        sealing.keyring.cache_clear()


@contextmanager
def copy_of(template: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Turn this process to a copy of an installation, and wait until its HSMs serve."""
    shutil.copytree(template, folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns("run"))
    load_database(folder / DATABASE_COPY)
    with in_folder(folder, monkeypatch):
        wait_until(lambda: not Hsm.objects.exclude(state="ACTIVE").exists(), "the HSMs to serve")
        yield
