"""20,000 wrong requests of every operation that is built, over the wire: I1. bin/fuzz sends any number of them.

What each should be answered is computed from the models that AWS publishes, by code that knows nothing of the product.
"""

from __future__ import annotations

import ast
from pathlib import Path

from kmsapp import dispatch  # noqa: F401  fills the registry
from kmsapp.registry import OPERATIONS
from kmsapp.testing import Casemate
from kmsapp.tests import fuzz
from kmsapp.tests.fuzz import campaign, requests
from kmsapp.tests.fuzz.answers import Expected
from kmsapp.tests.fuzz.java_patterns import matches
from kmsapp.tests.remains import digests, nothing_remains
from kmsapp.tests.server_logs import no_bug

COUNT, SEED, CONNECTIONS = 20_000, 1, 4
KNOW_NOTHING = ("published", "java_patterns", "answers", "members", "mutations")


def test_what_aws_answers_is_computed_without_the_product() -> None:
    folder = Path(fuzz.__file__).parent
    for name in KNOW_NOTHING:
        nodes = list(ast.walk(ast.parse((folder / f"{name}.py").read_text())))
        imported = [node.module or "" for node in nodes if isinstance(node, ast.ImportFrom)]
        of_ours = [module for module in imported if module.startswith(("kmsapp", "hsmapp", "console"))]
        assert all(module.startswith("kmsapp.tests.fuzz") for module in of_ours), name


def test_wrong_requests_are_refused_in_the_words_of_aws_and_make_nothing(casemate: Casemate) -> None:
    requests.prepare(casemate)
    before = digests(casemate)
    with no_bug(casemate), nothing_remains(casemate):
        report = campaign.run(casemate, count=COUNT, seed=SEED, connections=CONNECTIONS)
    print("I1:", *report.lines(), sep="\n")
    assert not report.faults
    assert report.cases == COUNT
    assert report.operations == {name for name in OPERATIONS if not name.startswith("console:")}
    assert digests(casemate) == before


def test_the_measure_sees_a_sentence_too_few_one_too_many_and_another_one() -> None:
    two = Expected("ValidationException", ("Value '' at 'a' failed", "Value '' at 'b' failed"))
    right = "2 validation errors detected: Value '' at 'b' failed; Value '' at 'a' failed"
    assert two.is_said_by(right)
    wrong = (
        "1 validation error detected: Value '' at 'a' failed",
        right + "; Value '' at 'c' failed",
        right.replace("2", "3"),
        right.replace("'b'", "'c'"),
        right.removeprefix("2 validation errors detected: "),
        "",
    )
    assert not any(two.is_said_by(message) for message in wrong)
    assert Expected("").is_said_by("") and not Expected("").is_said_by(right)


def test_patterns_are_read_as_java_reads_them() -> None:
    assert matches(".*", "a b") and not any(matches(".*", f"a{end}") for end in "\n\r\u0085\u2028\u2029")
    assert matches(r"[\p{L}\p{Z}\p{N}_.]+", "\u00e9\u2003\u0665_.") and not matches(r"[\p{L}]+", "1")
    assert matches(r"[\w]+", "a_1") and not matches(r"[\w]+", "\u00e9")
    assert matches("^a$", "a") and not matches("^a$", "a\n")
