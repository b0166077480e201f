"""The AWS SDK for JavaScript: its tests are in javascript/kms.test.mjs and run in one process of Node.js."""

from __future__ import annotations

import re

import pytest

from kmsapp.testing import Casemate
from kmsapp.tests.clients.installed import SCRIPT, JavascriptRun, javascript_version, run_javascript
from kmsapp.tests.clients.shell import environment_of

TITLES = re.findall(r'^test\("([^"]+)"', SCRIPT.read_text(), re.MULTILINE)


@pytest.fixture(scope="module")
def ran(casemate: Casemate, tmp_path_factory: pytest.TempPathFactory) -> JavascriptRun:
    folder = tmp_path_factory.mktemp("javascript")
    return run_javascript(environment_of(casemate, folder), folder)


@pytest.mark.parametrize("title", TITLES)
def test_javascript(ran: JavascriptRun, title: str) -> None:
    assert ran.outcomes.get(title), ran.output


def test_every_test_of_the_script_has_run(ran: JavascriptRun) -> None:
    assert ran.outcomes.keys() == set(TITLES), ran.output
    print(f"{len(ran.outcomes)} tests with @aws-sdk/client-kms {javascript_version()}")
