"""The repository's papers say what the code does."""

from __future__ import annotations

import json
import re

import pytest

from kmsapp import dispatch, service_models
from kmsapp.testing import ROOT

TITLES = {"AWS KMS": "kms", "AWS CloudHSM v2": "cloudhsm", "AWS STS": "sts", "AWS IAM": "iam"}
CLIENTS = ROOT / "kmsapp" / "tests" / "clients"
OPERATION = re.compile(r"\b[A-Z][A-Za-z]+\b")


def section(title: str) -> str:
    text = (ROOT / "docs" / "coverage.md").read_text()
    found = re.search(rf"^## {re.escape(title)}[^\n]*\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)
    assert found, f"docs/coverage.md has no section {title!r}"
    return found.group(1)


def built_in(title: str) -> set[str]:
    rows = re.findall(r"^\| ([A-Z]\w+) \|", section(f"{title}: built"), re.MULTILINE)
    return set(rows)


@pytest.mark.parametrize(("title", "service"), TITLES.items(), ids=TITLES.values())
def test_coverage_names_every_operation_where_it_belongs(title: str, service: str) -> None:
    published = set(service_models.service(service).operation_names)
    built = {name for name in published if dispatch.is_built(f"{service}:{name}")}
    assert built_in(title) == built
    assert set(OPERATION.findall(section(f"{title}: not built yet"))) == published - built
    text = (ROOT / "docs" / "coverage.md").read_text()
    assert f"## {title}: built ({len(built)} of {len(published)})" in text


def test_papers_name_only_files_that_are_there() -> None:
    missing = []
    for paper in [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]:
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
    text = section("Clients")
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
