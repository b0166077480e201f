"""The database at a start: is it this code's and this master key's, and is it up to date?

Imported only after django.setup(). `check` changes nothing; `bring_up_to_date` does.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

from django.apps import apps
from django.conf import settings
from django.contrib.staticfiles.finders import get_finders
from django.core.management import call_command
from django.db import DatabaseError, connection, models
from django.db.migrations.executor import MigrationExecutor
from django.db.migrations.recorder import MigrationRecorder

from console.serving.options import CannotStartError
from hsmapp import hsms, schema
from hsmapp.sealing import Keyring


def is_new() -> bool:
    """Whether there is no database yet, or one without a table of ours."""
    if connection.vendor == "sqlite" and not Path(connection.settings_dict["NAME"]).exists():
        return True  # to look into the file would make it
    try:
        return not MigrationRecorder(connection).applied_migrations()
    except DatabaseError as error:
        raise _unreadable(error) from error


def check(master_key_file: Path) -> None:
    """Check the database against the code and the master key. Raises CannotStartError."""
    try:
        _check_age()
        _check_master_key(master_key_file)
    except DatabaseError as error:
        raise _unreadable(error) from error


def note_that_no_hsm_runs() -> None:
    """A server that was killed left its HSMs ACTIVE in the database; they are that again when they serve again."""
    hsms.none_runs()


def _unreadable(error: DatabaseError) -> CannotStartError:
    return CannotStartError(f"The database can't be read: {str(error).strip().splitlines()[0]}.")


def _check_age() -> None:
    unknown = schema.unknown_migrations()
    if unknown:
        raise CannotStartError(
            f"The database is newer than this code ({unknown[0]} is unknown here): start the newer version."
        )


def _check_master_key(path: Path) -> None:
    sealed = next(_sealed_values(), None)
    if sealed is None:
        return
    if not path.exists():
        raise CannotStartError(
            f"The master key file {path} is missing, and this installation's secrets are sealed under it."
        )
    if sealed[1:9] != Keyring.from_master_key(path.read_bytes()).master_key_id:
        raise CannotStartError(
            f"The master key file {path} is not the one this installation's secrets are sealed under."
        )


def _sealed_values() -> Iterator[bytes]:
    """One sealed value of each column that has any (columns with sealed values are named …_sealed)."""
    tables = set(connection.introspection.table_names())
    for model in apps.get_models():
        for field in model._meta.concrete_fields:
            if (
                field.name.endswith("_sealed")
                and isinstance(field, models.BinaryField)
                and model._meta.db_table in tables
            ):
                rows = model._default_manager.filter(**{f"{field.name}__isnull": False}).order_by("pk")
                yield from (bytes(value) for value in rows.values_list(field.name, flat=True)[:1])


def needs_migration() -> bool:
    executor = MigrationExecutor(connection)
    return bool(executor.migration_plan(executor.loader.graph.leaf_nodes()))


def migrate() -> None:
    call_command("migrate", interactive=False, verbosity=0)


def static_files_changed() -> bool:
    """Whether the static files are others than those collected last."""
    return not _mark().exists() or _mark().read_text() != _fingerprint_of_static_files()


def collect_static_files() -> None:
    call_command("collectstatic", interactive=False, verbosity=0, clear=True)
    _mark().write_text(_fingerprint_of_static_files())


def _mark() -> Path:
    return Path(settings.STATIC_ROOT) / "collected-from"


def _fingerprint_of_static_files() -> str:
    digest = hashlib.sha256(str(settings.STORAGES["staticfiles"]).encode())
    for finder in get_finders():
        for name, storage in finder.list([]):
            digest.update(f"{name} {storage.size(name)} {storage.get_modified_time(name).timestamp()}\n".encode())
    return digest.hexdigest()
