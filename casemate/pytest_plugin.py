"""Fixtures for pytest, there as soon as Casemate is installed: `casemate`, and `casemate_server` behind it.

Settings in the project's pytest configuration: casemate_seed (a YAML file, relative to that configuration),
casemate_person (whose credentials the environment holds), casemate_region, casemate_workers.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from casemate.testing import REGION, Casemate, running


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addini("casemate_seed", "YAML file that says what the server begins with (default: the demo)", default="")
    parser.addini("casemate_person", "user whose credentials the environment of a test holds", default="alice")
    parser.addini("casemate_region", "Region of clients and of the environment", default=REGION)
    parser.addini("casemate_workers", "web worker processes", default="1")


@pytest.fixture(scope="session")
def casemate_server(pytestconfig: pytest.Config) -> Iterator[Casemate]:
    """A server for all tests of this run, which nobody resets: what one test makes the next one meets."""
    seed = pytestconfig.getini("casemate_seed")
    with running(
        seed=pytestconfig.rootpath / seed if seed else None,
        workers=int(pytestconfig.getini("casemate_workers")),
        region=pytestconfig.getini("casemate_region"),
    ) as casemate:
        yield casemate


@pytest.fixture
def casemate(
    casemate_server: Casemate, monkeypatch: pytest.MonkeyPatch, pytestconfig: pytest.Config
) -> Iterator[Casemate]:
    """The server, as it was at the start, with an environment in which every AWS client finds it."""
    for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_ENDPOINT_URL_KMS"):
        monkeypatch.delenv(name, raising=False)
    for name, value in casemate_server.environment(pytestconfig.getini("casemate_person")).items():
        monkeypatch.setenv(name, value)
    yield casemate_server
    casemate_server.reset()
