"""The AWS SDK for JavaScript: its tests are in javascript/kms.test.mjs and run in one process of Node.js."""

from __future__ import annotations

import re

import pytest

from kmsapp.testing import Casemate
from kmsapp.tests.clients.installed import SCRIPT, javascript_version, run_javascript
from kmsapp.tests.clients.shell import environment_of

TITLES = re.findall(r'^test\("([^"]+)"', SCRIPT.read_text(), re.MULTILINE)


@pytest.fixture(scope="module")
def outcomes(casemate: Casemate, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bool]:
    folder = tmp_path_factory.mktemp("javascript")
    return run_javascript(environment_of(casemate, folder), folder)


@pytest.mark.parametrize("title", TITLES)
def test_javascript(outcomes: dict[str, bool], title: str) -> None:
    assert outcomes[title]


def test_every_test_of_the_script_has_run(outcomes: dict[str, bool]) -> None:
    assert outcomes.keys() == set(TITLES)
    print(f"{len(outcomes)} tests with @aws-sdk/client-kms {javascript_version()}")
