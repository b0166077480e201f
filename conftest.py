"""Fixtures for the tests of all three apps."""

from __future__ import annotations

import atexit
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from copy import copy
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.core.management import call_command
from django.template import Context
from django.test import client
from django.test.utils import ContextList
from playwright.sync_api import expect

from hsmapp.parent import die_with_parent
from hsmapp.softhsm import find_module
from hsmapp.testing import load_database, save_database
from hsmapp.tests import faulty_module
from kmsapp import demo, testing
from kmsapp.testing import Casemate, served_copy
from kmsapp.tests.installations import DATABASE_COPY, copy_of, in_folder, in_folder_without_hsms
from kmsapp.tests.scorecard import wire_calls

# Five seconds is what a page may take on a machine that does nothing else.
expect.set_options(timeout=20_000)

# Playwright runs an event loop in the main thread for as long as the tests last; without this every test that uses the
# database after it would be refused.
os.environ.setdefault("DJANGO_ALLOW_ASYNC_UNSAFE", "true")


# Files whose tests take half a minute and more, together; the longest first.
LONGEST = (
    "test_crash",
    "test_restore",
    "test_access_matrix_urls",
    "test_browser_identities",
    "test_browser_walk",
    "test_browser_key_stores",
    "test_revocation",
    "test_access_matrix",
    "test_audit_survives_kills",
    "test_key_store_cli",
    "test_admin",
)


def pytest_addoption(parser: pytest.Parser) -> None:
    """bin/checks.py runs the two parts one after the other, and shows what both have counted."""
    group = parser.getgroup("casemate")
    parts = "run only the tests that share the machine, or only those that are marked to have it alone"
    group.addoption("--part", choices=["shared", "alone"], help=parts)
    group.addoption("--counts", type=Path, help="append what the tests counted to this file instead of showing it")
    asked = "write into this folder what the tests' servers were asked over the wire, a file for each process"
    group.addoption("--wire-calls", type=Path, help=asked)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out the tests of the other part. (Not by -m, which may be given beside it.)"""
    part = config.getoption("--part")
    others = [item for item in items if part and (part == "alone") != bool(item.get_closest_marker("alone"))]
    config.hook.pytest_deselected(items=others)
    chosen = [item for item in items if item not in others]
    # Two processes end at about the same time if what takes longest does not come last.
    places = {name: place for place, name in enumerate(LONGEST)}
    items[:] = sorted(chosen, key=lambda item: places.get(item.path.stem, len(LONGEST)))


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """Show what tests that passed have printed: how many cases, kills, seconds."""
    if hasattr(config, "workerinput"):
        return  # one of two processes; the one above them has its reports
    counts = [
        f"{report.nodeid.partition('::')[0]}: {line}"
        for report in terminalreporter.stats.get("passed", [])
        if report.when == "call"
        for line in report.capstdout.splitlines()
    ]
    if path := config.getoption("--counts"):
        with path.open("a") as file:
            file.writelines(f"{line}\n" for line in counts)
    elif counts:
        terminalreporter.section("what was counted")
        terminalreporter.write_line("\n".join(counts))


def pytest_configure(config: pytest.Config) -> None:
    """Keep the tests away from the data folder of the checkout, and from the network once SoftHSM is there."""
    if hasattr(config, "workerinput"):
        die_with_parent(os.getppid())  # one of two processes of bin/test; left alone it would first end its test
    os.environ.setdefault("SOFTHSM2_MODULE", str(find_module(Path(sys.prefix))))
    settings.PKCS11_MODULE = os.environ["SOFTHSM2_MODULE"]
    settings.DATA = Path(tempfile.mkdtemp(prefix="casemate-tests-"))
    atexit.register(shutil.rmtree, settings.DATA, ignore_errors=True)
    settings.STATIC_ROOT = settings.DATA / "static"
    settings.STATIC_ROOT.mkdir()
    settings.PASSWORD_HASHERS = ["console.testing.QuickArgon2"]
    client.store_rendered_templates = _keep_first_context  # type: ignore[attr-defined]
    # Hashed names need collectstatic; tests in this process read the files where they lie.
    settings.STORAGES = {
        **settings.STORAGES,
        "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"},
    }


def _keep_first_context(
    store: dict[str, Any], signal: object, sender: object, template: object, context: Context, **_: object
) -> None:
    """What Django's test client keeps for `answer.context`: that of the page, not a copy of it for each included part.

    A page has hundreds of parts, and the copies take longer than the page.
    """
    if "context" not in store:
        store["context"] = ContextList([copy(context)])  # type: ignore[arg-type]


@pytest.fixture(scope="session", autouse=True)
def counted_wire_calls(pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """At the end, when every server is stopped, count what they were asked, for bin/checks.py."""
    yield
    if folder := pytestconfig.getoption("--wire-calls"):
        counted = wire_calls.below(tmp_path_factory.getbasetemp())
        (folder / f"{os.getpid()}.json").write_text(json.dumps(counted.as_json()))


@pytest.fixture(scope="session")
def stopped_server(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data folder of a server with the demo that was stopped, for `served_copy`: nobody changes it."""
    return testing.stopped_server(tmp_path_factory.mktemp("stopped") / "data")


@pytest.fixture(scope="session")
def casemate(stopped_server: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Casemate]:
    """A running server with the demo, shared by all tests: leave its HSMs and its key store as they were found."""
    with served_copy(stopped_server, tmp_path_factory.mktemp("casemate") / "data", "--immediate") as casemate:
        yield casemate


@pytest.fixture(scope="session")
def browser_type_launch_args(browser_type_launch_args: dict[str, Any]) -> dict[str, Any]:
    """Debian's Chromium instead of a downloaded one."""
    arguments = [*browser_type_launch_args.get("args", []), *(["--no-sandbox"] if os.geteuid() == 0 else [])]
    chromium = os.environ.get("CASEMATE_CHROMIUM") or shutil.which("chromium")
    if chromium is None:
        pytest.fail("Chromium is missing: bin/test says how to install it.")
    return {**browser_type_launch_args, "executable_path": str(Path(chromium)), "args": arguments}


@pytest.fixture(scope="session")
def installation_template(
    django_db_setup: None, django_db_blocker: Any, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A data folder with the demo, its HSMs stopped, and the database that belongs to it; copied for each test."""
    folder = tmp_path_factory.mktemp("template")
    with django_db_blocker.unblock(), pytest.MonkeyPatch.context() as monkeypatch:
        with in_folder(folder, monkeypatch):
            demo.seed()
        save_database(folder / DATABASE_COPY)
        call_command("flush", verbosity=0, interactive=False)
    return folder


@pytest.fixture
def installation(
    transactional_db: None, installation_template: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Path]:
    """The demo in this process, without HTTP: its database is the test's, its HSMs are real; yields its data folder."""
    with copy_of(installation_template, tmp_path, monkeypatch):
        yield tmp_path


@pytest.fixture
def rows(
    transactional_db: None, installation_template: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Path]:
    """The demo's database in this process without its HSMs, for what asks none; yields its data folder."""
    load_database(installation_template / DATABASE_COPY)
    with in_folder_without_hsms(installation_template, tmp_path, monkeypatch):
        yield tmp_path


@pytest.fixture
def faulty_hsms(
    transactional_db: None, installation_template: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Path]:
    """The same over a PKCS#11 module that fails when it is told to; yields the folder of the HSMs' folders."""
    monkeypatch.setenv("SOFTHSM2_MODULE", str(faulty_module.build(tmp_path)))
    with copy_of(installation_template, tmp_path, monkeypatch):
        yield tmp_path / "hsm"
