"""`manage.py policy`: decide requests that stand in a file, without an installation, and say why."""

from __future__ import annotations

import gzip
import itertools
import zlib
from argparse import ArgumentParser
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO

from django.core.management.base import BaseCommand, CommandError

from kmsapp.policy import explanation
from kmsapp.policy.cases import Case, CaseError, read
from kmsapp.policy.evaluation import Decision, Named, PolicyType, evaluate

_GZIP = b"\x1f\x8b"


class Command(BaseCommand):
    help = "Decide requests by their policies: one JSON object per line, as kmsapp/policy/cases.py describes it."
    requires_system_checks = ()

    def add_arguments(self, parser: ArgumentParser) -> None:
        verbs = parser.add_subparsers(dest="verb", required=True)
        deciding = verbs.add_parser("evaluate", help="one verdict per line: allow, explicitDeny or implicitDeny")
        explaining = verbs.add_parser("explain", help="why: the way through the policies, and what was missing")
        for verb in (deciding, explaining):
            verb.add_argument("file", type=Path, metavar="FILE", help="JSON lines, also compressed by gzip")
        explaining.add_argument("--id", help="only the request of this id")

    def handle(self, *args: object, file: Path, verb: str, id: str | None = None, **options: object) -> None:
        cases = _cases(file)
        if verb == "evaluate":
            for case in cases:
                self.stdout.write(evaluate(case.request, case.policies).outcome)
            return
        chosen = (case for case in cases if id is None or case.id == id)
        first = next(chosen, None)
        if first is None and id is not None:
            raise CommandError(f"{file} has no request of id {id}.", returncode=2)
        for number, case in enumerate(itertools.chain([first] if first else [], chosen)):
            self.stdout.writelines(["\n"] if number else [])
            self.stdout.write("\n".join(_explained(case)))


def _cases(file: Path) -> Iterator[Case]:
    try:
        with _opened(file) as lines:
            yield from _read(lines)
    except UnicodeDecodeError as error:
        raise CommandError(f"{file} is not UTF-8: {error}", returncode=2) from error
    except (OSError, EOFError, zlib.error) as error:
        raise CommandError(f"{file} can't be read: {error}", returncode=2) from error


def _opened(file: Path) -> IO[str]:
    with file.open("rb") as beginning:
        is_compressed = beginning.read(2) == _GZIP
    return gzip.open(file, "rt", encoding="utf-8") if is_compressed else file.open(encoding="utf-8")


def _read(lines: Iterable[str]) -> Iterator[Case]:
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            yield read(line)
        except CaseError as error:
            raise CommandError(f"Line {number}: {error}.", returncode=2) from error


def _explained(case: Case) -> Iterator[str]:
    request, decision = case.request, evaluate(case.request, case.policies)
    yield f"{case.id or 'request'}: {decision.outcome}"
    yield f"  {request.principal_arn}"
    yield f"  {request.action} on {request.resource}"
    for step in explanation.path(decision):
        yield f"  {step.state.upper():10}  {step.name}: {step.sentence}"
    if not decision.is_allowed:
        yield f"  {explanation.access_denied(decision)}"
    yield "  Statements:"
    for policy_type, policy in _all(decision):
        for statement in policy.document.statements:
            why_not = explanation.why_not(decision, statement, policy_type)
            verdict = f"does not apply: {why_not}" if why_not else "applies"
            yield f"    {statement.effect} in {explanation.reference(policy.name, statement)}: {verdict}"


def _all(decision: Decision) -> Iterator[tuple[PolicyType, Named]]:
    policies = decision.policies
    if policies.key_policy is not None:
        yield PolicyType.RESOURCE, Named("key policy", policies.key_policy)
    yield from ((PolicyType.IDENTITY, policy) for policy in policies.identity)
    if policies.boundary is not None:
        yield PolicyType.BOUNDARY, policies.boundary
    yield from ((PolicyType.SESSION, policy) for policy in policies.session)
