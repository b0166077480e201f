"""The repository's papers say what the code does."""

from __future__ import annotations

import json
import re

from kmsapp import dispatch  # noqa: F401  fills the registry
from kmsapp.registry import OPERATIONS
from kmsapp.testing import ROOT
from kmsapp.tests.scorecard import page

CLIENTS = ROOT / "kmsapp" / "tests" / "clients"


def test_coverage_is_what_bin_coverage_writes() -> None:
    run = page.Run.of(page.CALLS)
    assert page.PAGE.read_text() == page.text(run), "docs/coverage.md is out of date: bin/coverage writes it"


def test_coverage_has_something_to_say_of_operations_that_are_built_alone() -> None:
    assert page.read_notes().keys() <= {name for name in OPERATIONS if not name.startswith("console:")}


def test_papers_name_only_files_that_are_there() -> None:
    missing = []
    for paper in [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]:
        if paper.parent == page.SOURCES:
            continue  # parts of docs/coverage.md, which has them whole
        for target in re.findall(r"\]\(([^)#:\s]+)\)", paper.read_text()):
            if not (paper.parent / target).exists():
                missing.append(f"{paper.relative_to(ROOT)}: {target}")
    assert not missing, missing


def test_every_dependency_is_pinned_and_says_what_it_is_for() -> None:
    pinned = re.compile(r"[\w.-]+==[\w.]+ +# \S.*")
    ansible = [str(path.relative_to(ROOT)) for path in (CLIENTS / "ansible").glob("*.txt")]
    assert len(ansible) == 2
    for name in ("requirements.txt", "requirements-dev.txt", *ansible):
        lines = [line for line in (ROOT / name).read_text().splitlines() if line and not line.startswith(("#", "-r "))]
        assert lines
        assert not [line for line in lines if not pinned.fullmatch(line)]


def test_packages_for_node_are_pinned_by_their_digests_and_name_no_registry() -> None:
    wanted = json.loads((CLIENTS / "javascript" / "package.json").read_text())["dependencies"]
    locked = json.loads((CLIENTS / "javascript" / "package-lock.json").read_text())["packages"]
    assert locked.pop("")["dependencies"] == wanted
    assert all(re.fullmatch(r"\d+\.\d+\.\d+", version) for version in wanted.values())
    assert all("integrity" in package and "resolved" not in package for package in locked.values())


def test_the_coverage_names_the_versions_of_the_clients_that_run() -> None:
    text = (page.SOURCES / "clients.md").read_text()
    pins = (ROOT / "requirements-dev.txt").read_text() + (CLIENTS / "ansible" / "requirements.txt").read_text()
    names = ("boto3", "awscli", "aws-encryption-sdk", "aws-cryptographic-material-providers", "ansible-core")
    versions = [version for name in names for version in re.findall(rf"^{name}==(\S+)", pins, re.MULTILINE)]
    versions += json.loads((CLIENTS / "javascript" / "package.json").read_text())["dependencies"].values()
    assert len(versions) > len(names)
    assert not [version for version in versions if version not in text]


def test_every_promise_names_its_tests_and_what_they_count() -> None:
    text = (ROOT / "docs" / "promises.md").read_text()
    rows = re.findall(r"^\| ([A-Z]\d+): ([^|]+)\|([^|]*)\|([^|]*)\|([^|]*)\|([^|]*)\|$", text, re.MULTILINE)
    assert len(rows) >= 15 and len({name for name, *_ in rows}) == len(rows)
    for name, _, tests, count, largest, _ in rows:
        files = re.findall(r"\]\(\.\./([^)]+)\)", tests)
        assert files and all((ROOT / file).is_file() for file in files), name
        assert re.search(r"\d", count) or "pairs" in count, f"{name} has no count"
        assert largest.strip(), name
        sources = [(ROOT / file).read_text() for file in files]
        assert any("print(" in source for source in sources), f"no test of {name} prints what it counted"
