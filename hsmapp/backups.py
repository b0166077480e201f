"""Make a backup: one consistent copy of the database, while the service runs.

The masked keys are in it and the masking keys wrapped under their clusters' backup keys, so a backup and the master
key file bring every key back into empty tokens (restore.py). What is not in it: the master key, tokens, HSM users other
than those the service logs in as, the audit record's files, and browser sessions, which a thief could go on with.
"""

from __future__ import annotations

import hashlib
import tempfile
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from django.contrib.sessions.models import Session
from django.db import connections
from django.db.migrations.recorder import MigrationRecorder

from hsmapp import backup_file, clock, database_files, sealing
from hsmapp.backup_file import BackupFileError, Manifest
from hsmapp.models import Cluster, Hsm, InstallationRoot, KeyIntent, MaskedKey
from hsmapp.states import ClusterState, HsmState, IntentState


@dataclass(frozen=True)
class Backup:
    """A backup that was written."""

    path: Path
    size: int  # bytes
    manifest: Manifest


def make(path: Path) -> Backup:
    """Write a backup to a file, which appears whole or not at all. Raises: BackupFileError, SealingError."""
    if not database_files.is_sqlite():
        raise BackupFileError("This installation's database is not SQLite: make the backup with its own tools.")
    keyring = sealing.keyring()
    try:
        with tempfile.TemporaryDirectory(prefix=f".{path.name}.", dir=path.parent) as folder:
            copy = Path(folder) / "database"
            database_files.copy(copy)
            with database_files.opened(copy) as alias:
                _refuse_damaged(alias)
                Session.objects.using(alias).all().delete()
                manifest = _manifest(alias, keyring.master_key_id.hex())
            return Backup(path, backup_file.write(path, copy, manifest, keyring), manifest)
    except OSError as error:
        raise BackupFileError(f"The backup {path} can't be written: {error.strerror}.") from error


def _refuse_damaged(alias: str) -> None:
    problem = database_files.problem_in(alias)
    if problem:
        raise BackupFileError(f"The database is damaged, and a backup of it would be: {problem}.")


def _manifest(alias: str, master_key_id: str) -> Manifest:
    applied = MigrationRecorder(connections[alias]).applied_migrations()
    return Manifest(
        created_at=clock.now().isoformat(timespec="seconds"),
        master_key_id=master_key_id,
        installation_root=root_fingerprint(alias),
        migrations=sorted(f"{app}.{name}" for app, name in applied),
        counts=counts(alias),
    )


def counts(alias: str) -> dict[str, int]:
    """How many there are of what people ask for."""
    return {
        "clusters": Cluster.objects.using(alias).exclude(state=ClusterState.DELETED).count(),
        "HSMs": Hsm.objects.using(alias).exclude(state=HsmState.DELETED).count(),
        "keys": MaskedKey.objects.using(alias).count(),
        "open intents": KeyIntent.objects.using(alias).filter(state=IntentState.OPEN).count(),
    }


def root_fingerprint(alias: str) -> str:
    """SHA-256 of the installation root's certificate, which no two installations share."""
    root = InstallationRoot.objects.using(alias).order_by("pk").first()
    if root is None:
        return ""
    der = x509.load_pem_x509_certificate(root.certificate.encode()).public_bytes(serialization.Encoding.DER)
    return hashlib.sha256(der).hexdigest()
