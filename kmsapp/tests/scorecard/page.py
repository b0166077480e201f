"""The text of docs/coverage.md: generated tables, and the hand-written parts of docs/coverage in their places."""

from __future__ import annotations

import json
import re
import textwrap
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from kmsapp.registry import OPERATIONS
from kmsapp.testing import ROOT
from kmsapp.tests.scorecard import published, unconfirmed
from kmsapp.tests.scorecard.wire_calls import SUCCESS, WireCalls

PAGE = ROOT / "docs" / "coverage.md"
SOURCES = ROOT / "docs" / "coverage"
CALLS = SOURCES / "calls.json"
NOTES = SOURCES / "operations.md"
# Hand-written, whole sections, in this order; those that are there.
SECTIONS = ("clients.md", "differences.md")

_INTRODUCTION = f"""# What is built

`bin/coverage` writes this page: from AWS's published service models (botocore {published.VERSION}), the operations that
are built, the calls that servers of the tests were really asked over the wire, comments in the code, and the
hand-written parts in [docs/coverage](coverage). A test fails if it is not what `bin/coverage` writes; the counts are of
the run that is named below. An operation that AWS has and this version has not answers `UnsupportedOperationException`
with a sentence; one that AWS has not either answers `UnknownOperationException`.
"""
_UNCONFIRMED = """## Where AWS's answer is not known

What nobody has confirmed of AWS is decided as a user would expect, and says so where it is decided. These are all the
places.
"""
_NOT_SEEN = """## Not seen

Of what is built: errors that AWS's models list for an operation, and constraints of its members, that no server was
asked for in the run above. An error may have been drawn by other means than the wire, and some can't come about here.
"""


@dataclass(frozen=True)
class Run:
    """The run of the tests that the counts are of."""

    command: str
    date: str
    counted: WireCalls

    @classmethod
    def of(cls, file: Path) -> Run:
        """What bin/test has left in a file, or `keep` in CALLS."""
        document = json.loads(file.read_text())
        return cls(document["command"], document["date"], WireCalls.of_json(document))

    def keep(self) -> None:
        document = {"command": self.command, "date": self.date, **self.counted.as_json()}
        CALLS.write_text(json.dumps(document, indent=1) + "\n")


@dataclass(frozen=True)
class Operation:
    """One operation that is built, with what was seen of it."""

    name: str  # service:Operation
    errors: list[str]  # that the model lists
    constraints: list[str]
    answers: Counter[str]
    broken: Counter[str]

    @classmethod
    def of(cls, name: str, run: Run) -> Operation:
        prefix, _, operation = name.partition(":")
        return cls(
            name,
            published.errors(prefix, operation),
            published.constraints(prefix, operation),
            run.counted.calls.get(name, Counter()),
            run.counted.constraints.get(name, Counter()),
        )

    @property
    def errors_seen(self) -> list[str]:
        return [error for error in self.errors if self.answers[error]]

    @property
    def errors_not_seen(self) -> list[str]:
        return [error for error in self.errors if not self.answers[error]]

    @property
    def constraints_not_seen(self) -> list[str]:
        return [constraint for constraint in self.constraints if not self.broken[constraint]]

    def row(self, note: str) -> str:
        refused = sorted((answer, count) for answer, count in self.answers.items() if answer != SUCCESS)
        shown = ", ".join(f"{answer} {count:,}" for answer, count in refused)
        seen = len(self.constraints) - len(self.constraints_not_seen)
        of = f"{seen} of {len(self.constraints)}" if self.constraints else ""
        name = self.name.partition(":")[2]
        return f"| {name} | {note} | {self.answers[SUCCESS]:,} | {shown} | {of} |"


def text(run: Run) -> str:
    """The whole page."""
    built = {prefix: _built(prefix, run) for prefix in published.TITLES}
    parts = [_INTRODUCTION, _glance(built, run)]
    for prefix, operations in built.items():
        parts += _service(prefix, operations)
    parts += [_NOT_SEEN + _not_seen(built)]
    parts += [(SOURCES / name).read_text() for name in SECTIONS if (SOURCES / name).exists()]
    parts += [_UNCONFIRMED + _choices(ROOT)]
    return "\n".join(part.strip("\n") + "\n" for part in parts)


def _built(prefix: str, run: Run) -> list[Operation]:
    names = [f"{prefix}:{operation}" for operation in published.operations(prefix)]
    return [Operation.of(name, run) for name in names if name in OPERATIONS]


def _glance(built: dict[str, list[Operation]], run: Run) -> str:
    rows = []
    for prefix, operations in built.items():
        errors = sum(len(each.errors) for each in operations), sum(len(each.errors_seen) for each in operations)
        missed = sum(len(each.constraints_not_seen) for each in operations)
        constraints = sum(len(each.constraints) for each in operations)
        calls = sum(each.answers.total() for each in operations)
        total = len(published.operations(prefix))
        rows.append(
            f"| {published.TITLES[prefix]} | {len(operations)} of {total} | {calls:,} | {errors[1]:,} of {errors[0]:,} "
            f"| {constraints - missed:,} of {constraints:,} |"
        )
    return "\n".join(
        [
            "## At a glance",
            "",
            f"Calls over the wire, counted from the audit records of the servers that `{run.command}` started on "
            f"{run.date}: {run.counted.total:,}.",
            "Requests that were refused before their caller was known have no record and are not among them.",
            "",
            "| service | operations built | calls | errors of those seen | constraints of those seen |",
            "|---|---|---|---|---|",
            *rows,
        ]
    )


def _service(prefix: str, operations: list[Operation]) -> Iterator[str]:
    title, every = published.TITLES[prefix], published.operations(prefix)
    notes = read_notes()
    lines = [
        f"## {title}: built ({len(operations)} of {len(every)})",
        "",
        "| operation | what to know | succeeded | refused | constraints seen |",
        "|---|---|---|---|---|",
        *(operation.row(notes.get(operation.name, "")) for operation in operations),
    ]
    yield "\n".join(lines)
    missing = sorted(set(every) - {operation.name.partition(":")[2] for operation in operations})
    if missing:
        yield f"## {title}: not built yet\n\n" + textwrap.fill(", ".join(missing) + ".", 120, break_on_hyphens=False)


def _not_seen(built: dict[str, list[Operation]]) -> str:
    lines: list[str] = []
    for prefix, operations in built.items():
        rows = [row for operation in operations if (row := _missed(operation))]
        if rows:
            lines += [
                "",
                f"### {published.TITLES[prefix]}",
                "",
                "| operation | errors | constraints |",
                "|---|---|---|",
            ]
            lines += rows
    return "\n".join(lines)


def _missed(operation: Operation) -> str:
    if not operation.errors_not_seen and not operation.constraints_not_seen:
        return ""
    errors = ", ".join(operation.errors_not_seen)
    constraints = ", ".join(operation.constraints_not_seen)
    return f"| {operation.name.partition(':')[2]} | {errors} | {constraints} |"


def _choices(root: Path) -> str:
    lines: list[str] = []
    file = ""
    for choice in unconfirmed.choices(root):
        if choice.file != file:
            file = choice.file
            lines += ["", f"- [{file}](../{file})"]
        subject = f"`{choice.subject}`: " if choice.subject else ""
        lines += [f"  - {subject}{choice.text}"]
    return "\n".join(lines)


def read_notes() -> dict[str, str]:
    """ "service:Operation" -> what to know of it. Raises: ValueError for a line that is no row."""
    prefixes = {title: prefix for prefix, title in published.TITLES.items()}
    prefix, found = "", dict[str, str]()
    for line in NOTES.read_text().splitlines():
        if line.startswith("## "):
            prefix = prefixes[line.removeprefix("## ")]
        elif row := re.fullmatch(r"\| (\w+) \| (.+) \|", line):
            if row[1] != "operation":
                found[f"{prefix}:{row[1]}"] = row[2]
        elif line.startswith("|") and set(line) != set("|-"):
            raise ValueError(f"{NOTES}: {line!r} is no row of an operation and what to know of it")
    return found
