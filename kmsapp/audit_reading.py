"""The job that copies the lines of audit files into rows, each exactly once by its event id, and notes uses of keys.

A file whose writer is gone and which was read to its end is closed: its row says so, the file stays, and nobody looks
at it again. One that can't be read is left to a person at the byte where that began, and holds up no other.
"""

from __future__ import annotations

import datetime
import fcntl
import functools
import json
import logging
import uuid
from typing import IO, Any, NamedTuple

from django.conf import settings
from django.db import connection, transaction

from hsmapp import jobs
from kmsapp import audit, key_usage
from kmsapp.models import AuditChain, AuditEvent
from kmsapp.models.audit import ChainState

logger = logging.getLogger(__name__)

READ_LINES = 500
COLUMNS = tuple(field.attname for field in AuditEvent._meta.concrete_fields if not field.primary_key)


class Record(NamedTuple):
    """A line that was read."""

    event: audit.Event
    row: tuple[Any, ...]  # a value for each of COLUMNS


@jobs.handler("read in audit files")
def read_in(now: datetime.datetime) -> int:
    """Copy new lines of all open chains. A line counts only with its newline: a torn tail waits for the rest."""
    return sum(_read_in_chain(chain) for chain in AuditChain.objects.filter(state=ChainState.OPEN))


def _read_in_chain(chain: AuditChain) -> int:
    path = settings.DATA / "audit" / chain.file_name
    if not path.exists():
        return 0  # a file of another machine
    with path.open("rb") as file:
        ended = _writer_is_gone(file)  # asked first: what is there now is then all that will ever be
        lines = _whole_lines(file, chain.read_bytes)
    records = _records(chain, lines)
    if len(records) < len(lines):
        state = ChainState.DAMAGED
    else:
        state = ChainState.CLOSED if ended and len(lines) < READ_LINES else ChainState.OPEN
    if not records and state == ChainState.OPEN:
        return 0
    with transaction.atomic():
        end = chain.read_bytes + sum(map(len, lines[: len(records)]))
        if not _move(chain, end=end, state=state):
            return 0
        _insert([record.row for record in records])
        key_usage.note(record.event for record in records)
    return len(records)


def _insert(rows: list[tuple[Any, ...]]) -> None:
    """Write the rows. Plain SQL, because every call comes by here: the ORM needs twice the processor time for it."""
    columns = ", ".join(f'"{column}"' for column in COLUMNS)
    values = ", ".join(["%s"] * len(COLUMNS))
    table = AuditEvent._meta.db_table
    with connection.cursor() as cursor:
        # Names of our own model; the values are parameters.
        cursor.executemany(f'INSERT INTO "{table}" ({columns}) VALUES ({values}) ON CONFLICT DO NOTHING', rows)  # noqa: S608


def _records(chain: AuditChain, lines: list[bytes]) -> list[Record]:
    """The records of these lines, up to the first that is none."""
    records: list[Record] = []
    for line in lines:
        try:
            text = audit.event_of_line(line)
            event = json.loads(text)
            fields = audit.row(event)
            fields["event_id"] = uuid.UUID(fields["event_id"]).hex
            fields["event_time"] = _stored_time(fields["event_time"])
            fields["event"] = text
            records.append(Record(event, tuple(fields[column] for column in COLUMNS)))
        except (ValueError, KeyError, TypeError):
            logger.exception(
                "the audit file %s is damaged: line %d after byte %d", chain, len(records), chain.read_bytes
            )
            break
    return records


@functools.lru_cache(maxsize=64)  # thousands of lines may have one second
def _stored_time(moment: datetime.datetime) -> Any:
    return connection.ops.adapt_datetimefield_value(moment)


def _move(chain: AuditChain, *, end: int, state: ChainState) -> bool:
    """Whoever moves the offset copies the lines before it; a second reader finds it moved and copies nothing."""
    as_read = AuditChain.objects.filter(pk=chain.pk, read_bytes=chain.read_bytes, state=ChainState.OPEN)
    return bool(as_read.update(read_bytes=end, state=state))


def _writer_is_gone(file: IO[bytes]) -> bool:
    """The writer's lock goes with its process, however that ends."""
    try:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _whole_lines(file: IO[bytes], start: int) -> list[bytes]:
    file.seek(start)
    lines: list[bytes] = []
    while len(lines) < READ_LINES and (line := file.readline()).endswith(b"\n"):
        lines.append(line)
    return lines
