"""Wrong requests by the thousand against a running server, each answer compared with what AWS answers."""

from __future__ import annotations

import itertools
import json
import random
import re
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from kmsapp.testing import Casemate
from kmsapp.tests.fuzz import mutations
from kmsapp.tests.fuzz.answers import Expected, expected
from kmsapp.tests.fuzz.client import Answer, Client, Encoded, can_be_sent, encoded
from kmsapp.tests.fuzz.mutations import Mutation
from kmsapp.tests.fuzz.published import service
from kmsapp.tests.fuzz.requests import ADMINISTRATOR, NOBODY, Base, bases

KEY = "alias/ExampleKey"
# Of these there are many for each text; the random part has its share of them.
_BY_CHANCE = {"Unicode", "hostile"}
_MOST_AT_ONCE = 4
_SHARE_OF_NOBODY = 0.3
_FAULTS_SHOWN = 20
_CONTENT_TYPES = {"json": "application/x-amz-json-1.1", "query": "text/xml"}


@dataclass(frozen=True)
class Case:
    """One request, what is wrong with it, and what AWS answers."""

    base: Base
    request: dict[str, Any]
    encoded: Encoded
    kinds: tuple[str, ...]
    expected: Expected
    person: str

    def __str__(self) -> str:
        shown = json.dumps(self.request, default=repr)
        return f"{self.base.operation} as {self.person}, {' and '.join(self.kinds)}: {shown[:600]}"


@dataclass
class Report:
    """What was sent and answered. `faults` are answers that AWS would not give."""

    seed: int = 0
    cases: int = 0
    not_sent: int = 0  # nobody can send it without making something
    kinds: Counter[str] = field(default_factory=Counter)
    codes: Counter[str] = field(default_factory=Counter)
    operations: set[str] = field(default_factory=set)
    faults: list[str] = field(default_factory=list)
    seconds: float = 0.0

    def note(self, case: Case, answer: Answer) -> None:
        self.cases += 1
        self.kinds.update(case.kinds)
        self.codes[answer.code or "success"] += 1
        self.operations.add(case.base.operation)
        if fault := _fault(case, answer):
            self.faults.append(f"{case}\n    {fault}\n    {answer.status} {answer.code} {answer.message[:600]}")

    def lines(self) -> list[str]:
        rate = self.cases / self.seconds if self.seconds else 0
        kinds = ", ".join(f"{kind} {count:,}" for kind, count in self.kinds.most_common())
        codes = ", ".join(f"{code} {count:,}" for code, count in self.codes.most_common())
        return [
            f"{self.cases:,} requests (seed {self.seed}) of {len(self.operations)} operations in {self.seconds:.0f} s "
            f"({rate:,.0f} a second), {self.not_sent} more not sent, for they would make something",
            f"what was wrong with them: {kinds}",
            f"answered: {codes}",
            f"answered otherwise than AWS would: {len(self.faults)}",
            *self.faults[:_FAULTS_SHOWN],
        ]


def run(casemate: Casemate, *, count: int, seed: int, connections: int) -> Report:
    """Send `count` requests: each member of each operation wrong in each way, then several at once, by chance.

    The server has what `requests.prepare` makes.
    """
    ciphertext = casemate.boto3("kms").encrypt(KeyId=KEY, Plaintext=b"x")["CiphertextBlob"]
    report, lock = Report(seed), threading.Lock()
    cases = itertools.islice(_sendable(_cases(bases(ciphertext), seed), report), count)
    began = time.monotonic()

    def send() -> None:
        clients = {person: Client(casemate, person) for person in (ADMINISTRATOR, NOBODY)}
        while True:
            with lock:
                case = next(cases, None)
            if case is None:
                return
            prefix, _, name = case.base.operation.partition(":")
            answer = clients[case.person].send(service(prefix), name, case.encoded)
            with lock:
                report.note(case, answer)

    with ThreadPoolExecutor(connections) as pool:
        for done in [pool.submit(send) for _ in range(connections)]:
            done.result()
    report.seconds = time.monotonic() - began
    return report


# Which requests


def _sendable(cases: Iterator[Case | None], report: Report) -> Iterator[Case]:
    for case in cases:
        if case is None:
            continue
        if case.person:
            yield case
        else:
            report.not_sent += 1


def _cases(every: list[Base], seed: int) -> Iterator[Case | None]:
    chance = random.Random(seed)  # noqa: S311
    of_base = [(base, list(_mutations(base))) for base in every]
    for base, found in of_base:
        yield _case(base, [], chance)
        for mutation in found:
            if mutation.kind not in _BY_CHANCE:
                yield _case(base, [mutation], chance)
    while True:
        base, found = chance.choice(of_base)
        yield _case(base, chance.choices(found, k=chance.randint(1, _MOST_AT_ONCE)), chance)


def _mutations(base: Base) -> Iterator[Mutation]:
    prefix, _, name = base.operation.partition(":")
    return mutations.of_operation(service(prefix), name)


def _case(base: Base, found: list[Mutation], chance: random.Random) -> Case | None:
    """The case, or None if the protocol has no spelling for it."""
    prefix, _, name = base.operation.partition(":")
    model, request = service(prefix), base.params
    for mutation in found:
        request = mutations.apply(model, name, request, mutation)
    if not all(can_be_sent(model, value) for value in request.values()):
        return None
    sent = encoded(model, name, request)
    answer = expected(model, name, request, len(sent.body))
    person = base.who_may_send(request, is_refused=bool(answer.code))
    if answer.code and chance.random() < _SHARE_OF_NOBODY:
        person = NOBODY  # the form is looked at before the right
    return Case(base, request, sent, tuple(mutation.kind for mutation in found) or ("nothing",), answer, person)


# What is wrong with an answer


def _fault(case: Case, answer: Answer) -> str:
    """What AWS would not have answered; empty if it might have."""
    prefix, _, name = case.base.operation.partition(":")
    model = service(prefix)
    if answer.status >= 500:
        return "a fault of the server's"
    if answer.headers.get("content-type") != _CONTENT_TYPES[model.protocol] or "x-amzn-requestid" not in answer.headers:
        return f"no answer of AWS's: {answer.headers}"
    if case.expected.code:
        right = answer.code == case.expected.code and case.expected.is_said_by(answer.message)
        return "" if right else f"expected {case.expected}"
    if answer.code and not model.may_answer(name, answer.code, answer.message):
        return f"{answer.code} is no error of {name}"
    if not case.expected.is_said_by(answer.message) and not _is_required_by_the_service(case, answer.message):
        return "its form was right"
    return ""


def _is_required_by_the_service(case: Case, message: str) -> bool:
    """Whether that is the sentence for a missing member which the model has as optional: CiphertextBlob of Decrypt."""
    missing = re.fullmatch(r"1 validation error detected: Value null at '(\w+)' .*: Member must not be null", message)
    return missing is not None and case.request.get(missing[1][0].upper() + missing[1][1:]) is None
