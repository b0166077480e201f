"""What servers were asked over the wire, and what they answered, counted from their audit records.

Every call that a caller was known of has a record before its answer leaves, so nothing is counted that wasn't sent, and
nothing is missed but what was refused before: a wrong signature, an unknown target. Calls of the console, of Django
admin and of jobs say so in their records, and are left out.
"""

from __future__ import annotations

import json
import os
import re
import sqlite3
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

SUCCESS = "success"
DATABASE = "casemate.sqlite3"
_SOURCES = {"kms": "kms", "cloudhsm": "cloudhsm", "sts": "sts", "iam": "iam"}
# As the audit record spells it.
_DENIED = {"AccessDenied": "AccessDeniedException"}
_BROKEN = re.compile(
    r" at '(?P<path>[^']+)' failed to satisfy constraint: "
    r"(?P<keys>Map keys must satisfy constraint: \[)?Member must (?P<constraint>not be null"
    r"|have (?:length|value) (?:greater|less) than or equal to \d+"
    r"|satisfy (?:regular expression pattern|enum value set))"
)
_POSITION = re.compile(r"\.\d+\.member")


@dataclass
class WireCalls:
    """Counts by "service:Operation": of its answers (`success` or an error's name), of constraints that were broken."""

    calls: dict[str, Counter[str]] = field(default_factory=dict)
    constraints: dict[str, Counter[str]] = field(default_factory=dict)

    @property
    def total(self) -> int:
        return sum(counter.total() for counter in self.calls.values())

    def note(self, operation: str, answer: str, message: str) -> None:
        self.calls.setdefault(operation, Counter())[answer] += 1
        for broken in _BROKEN.finditer(message):
            keys = "keys " if broken["keys"] else ""
            constraint = broken["constraint"].removeprefix("have ")
            name = f"{_POSITION.sub('.member', broken['path'])}: {keys}{constraint}"
            self.constraints.setdefault(operation, Counter())[name] += 1

    def add(self, other: WireCalls) -> None:
        for mine, theirs in ((self.calls, other.calls), (self.constraints, other.constraints)):
            for operation, counter in theirs.items():
                mine.setdefault(operation, Counter()).update(counter)

    def as_json(self) -> dict[str, Any]:
        return {
            name: {operation: dict(sorted(counter.items())) for operation, counter in sorted(counters.items())}
            for name, counters in (("calls", self.calls), ("constraints", self.constraints))
        }

    @classmethod
    def of_json(cls, document: dict[str, Any]) -> WireCalls:
        return cls(
            *({op: Counter(counts) for op, counts in document[name].items()} for name in ("calls", "constraints"))
        )


def below(folder: Path) -> WireCalls:
    """What all servers were asked whose data folders lie anywhere below; copies of a record count once."""
    found, seen = WireCalls(), set[str]()
    for data in _data_folders(folder):
        for event in _events(data, seen):
            if "invokedBy" not in event["userIdentity"]:
                source = event["eventSource"].partition(".")[0]
                error = event.get("errorCode", "")
                answer = _DENIED.get(error, error) or SUCCESS
                found.note(f"{source}:{event['eventName']}", answer, event.get("errorMessage") or "")
    return found


def merged(files: Iterable[Path]) -> WireCalls:
    """What was written with `as_json`, together."""
    found = WireCalls()
    for file in files:
        found.add(WireCalls.of_json(json.loads(file.read_text())))
    return found


def _data_folders(folder: Path) -> Iterator[Path]:
    for path, folders, files in os.walk(folder):
        if DATABASE in files:
            folders.clear()  # tokens lie below, by the thousand
            yield Path(path)


def _events(data: Path, seen: set[str]) -> Iterator[dict[str, Any]]:
    """The records of a data folder that have not been seen yet: lines of files, and rows for what changed something."""
    for file in sorted((data / "audit").glob("*.jsonl")):
        for line in file.read_bytes().splitlines():
            with suppress(ValueError, KeyError):  # a line that was cut off, in tests that do that
                event = json.loads(line)["event"]
                if _is_new(event["eventID"], seen):
                    yield event
    for event_id, text in _rows(data / DATABASE):
        if _is_new(event_id, seen):
            yield json.loads(text)


def _rows(path: Path) -> Iterator[tuple[str, str]]:
    try:
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as database:
            yield from database.execute("SELECT event_id, event FROM kmsapp_auditevent")
    except sqlite3.DatabaseError:
        return  # no database yet, or one that a test has destroyed


def _is_new(event_id: str, seen: set[str]) -> bool:
    known = event_id.replace("-", "")
    is_new = known not in seen
    seen.add(known)
    return is_new
