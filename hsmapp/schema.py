"""The database's migrations beside this code's."""

from __future__ import annotations

from django.db import DEFAULT_DB_ALIAS, connections
from django.db.migrations.executor import MigrationExecutor
from django.db.migrations.recorder import MigrationRecorder


def unknown_migrations(using: str = DEFAULT_DB_ALIAS) -> list[str]:
    """Migrations of the database that this code does not know, as "app.name": it is newer than this code then."""
    applied = set(MigrationRecorder(connections[using]).applied_migrations())
    known = set(MigrationExecutor(connections[using]).loader.disk_migrations)
    return sorted(f"{app}.{name}" for app, name in applied - known)
