"""Put a backup in the place of a stopped installation's database, and see that its HSMs can be used again.

    1. the backup is read whole into a file beside the database, checked, and brought up to this code's schema; its open
       intents become *restored*, so that nobody ever destroys what they may have left in a token, and the deletions of
       keys that it has wait for a confirmation: one of them may have been cancelled since
    2. the tokens are looked at and compared with it (token_survey.py); up to here nothing was changed
    3. the database goes to <data>/replaced/<time>/ and the restored one takes its place, by one rename
    4. the HSMs are made usable (restored_hsms.py): tokens that do not open go to <data>/replaced/<time>/ too, a masking
       key that no token holds comes from the backup key, HSM users get their passwords back
    5. the server brings every HSM up to date when it starts, as it always does: each missing key from its masked key

Killed at any line, it is run again; a server does not start in between (restore_journal.py). Nothing is destroyed.
"""

from __future__ import annotations

import datetime
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from django.conf import settings
from django.core.management import call_command
from django.db import DatabaseError, connections

from hsmapp import (
    backup_file,
    clock,
    clock_watch,
    data_folder,
    database_files,
    restore_journal,
    restored_hsms,
    schema,
    sealing,
    softhsm,
    token_survey,
)
from hsmapp.backup_file import BackupFileError, Manifest
from hsmapp.durable import sync
from hsmapp.models import KeyIntent
from hsmapp.restored_hsms import Say
from hsmapp.states import IntentState
from hsmapp.token_survey import Surveyed


class RestoreError(Exception):
    """Why nothing was restored, in one sentence; nothing was changed."""


@dataclass(frozen=True)
class Report:
    """A backup, and the tokens beside it: what they hold, and how they differ."""

    manifest: Manifest
    found: list[Surveyed]


def check(file: Path) -> Report:
    """Compare a backup with the tokens that are there; change nothing. Raises: RestoreError."""
    with _installation(file), ExitStack() as processes:
        try:
            manifest, found = _prepared(file, processes)
        finally:
            _candidate().unlink(missing_ok=True)
        return Report(manifest, found)


def restore(file: Path, show: Callable[[Report], None], say: Say) -> None:
    """Restore a backup. `show` is given what was found, before anything is changed; `say` each thing that is done.

    Raises: RestoreError, nothing being changed then; after any other error the restore is to be run again.
    """
    with _installation(file), ExitStack() as processes:
        try:
            manifest, found = _prepared(file, processes)
        except BaseException:
            _candidate().unlink(missing_ok=True)
            raise
        show(Report(manifest, found))
        kept = _put_in_place(backup_file.identity(file), say)
        restored_hsms.bring_back(found, kept, processes, say)
        connections.close_all()
        database_files.settle(database_files.path())
        restore_journal.finish(settings.DATA, database_files.path())


@contextmanager
def _installation(file: Path) -> Iterator[None]:
    """Hold the data folder; what can't be restored is refused in a sentence."""
    if not database_files.is_sqlite():
        raise RestoreError("This installation's database is not SQLite: restore it with its own tools.")
    try:
        with data_folder.held(settings.DATA):
            softhsm.find_module(settings.DATA)
            yield
    except data_folder.FolderInUseError as error:
        raise RestoreError(f"A server is running on the data folder {settings.DATA}: stop it first.") from error
    except (BackupFileError, softhsm.SoftHsmMissingError) as error:
        raise RestoreError(str(error)) from error


def _candidate() -> Path:
    """Where the backup's database lies until it takes the other one's place: on the same file system."""
    database = database_files.path()
    return database.with_name(f"{database.name}.restoring")


def _prepared(file: Path, processes: ExitStack) -> tuple[Manifest, list[Surveyed]]:
    candidate = _candidate()
    try:
        manifest = backup_file.extract(file, candidate, sealing.keyring())
        with database_files.opened(candidate) as alias:
            _check_schema(file, alias)
            KeyIntent.objects.using(alias).filter(state=IntentState.OPEN).update(state=IntentState.RESTORED)
            clock_watch.note_restored(alias, made_at=datetime.datetime.fromisoformat(manifest.created_at))
            found = token_survey.survey(alias, processes)
    except OSError as error:
        raise RestoreError(f"The data folder {settings.DATA} can't be written: {error.strerror}.") from error
    except DatabaseError as error:
        raise RestoreError(f"The database in {file} can't be used: {error}.") from error
    sync(candidate)
    return manifest, found


def _check_schema(file: Path, alias: str) -> None:
    """Refuse a database that this code does not know; bring an older one up to date."""
    unknown = schema.unknown_migrations(alias)
    if unknown:
        raise RestoreError(f"The backup {file} is newer than this code ({unknown[0]} is unknown here).")
    problem = database_files.problem_in(alias)
    if problem:
        raise RestoreError(f"The database in {file} is damaged: {problem}.")
    call_command("migrate", database=alias, interactive=False, verbosity=0)


def _put_in_place(backup: str, say: Say) -> Path:
    """Replace the database; return the folder that keeps what was replaced."""
    data, database = settings.DATA, database_files.path()
    journal = restore_journal.read(data)
    readable = database_files.settle(database)
    if journal is None or journal.backup != backup:
        journal = None
    elif readable and restore_journal.digest_of(database) == journal.database:
        _candidate().unlink()
        say("The database is as this backup left it when it was restored: nothing to do there.")
        return _kept(journal.folder)
    is_resumed = journal is not None and not journal.database
    folder = journal.folder if journal and is_resumed else f"{clock.now():%Y%m%dT%H%M%S.%fZ}"
    restore_journal.begin(data, backup, folder)
    _keep_old(database, _kept(folder), say)
    _candidate().replace(database)
    sync(database.parent)
    return _kept(folder)


def _kept(folder: str) -> Path:
    path: Path = settings.DATA / "replaced" / folder
    return path


def _keep_old(database: Path, kept: Path, say: Say) -> None:
    """Give the old database a second name, which stays; its place is taken by the rename that follows.

    A restore that was cut short has kept it already: what is there now came from the backup.
    """
    copy = kept / database.name
    if not database.exists() or copy.exists():
        return
    kept.mkdir(mode=0o700, parents=True, exist_ok=True)
    for side in database_files.side_files(database):
        # Only beside a database that can't be read. Left there, it would be read into the restored one.
        side.rename(kept / side.name)
    try:
        copy.hardlink_to(database)
    except OSError:  # a file system without links
        shutil.copyfile(database, copy)
        sync(copy)
    sync(kept)
    say(f"The database that was here is kept as {copy}.")
