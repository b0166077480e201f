"""A bit of each stored key flips on disk: nobody gets a wrong answer, nothing is lost, everything is repaired."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from kmsapp.testing import Casemate, served_copy
from kmsapp.tests.flipped_bits import flip_all, make_keys
from kmsapp.tests.token_copies import HSMS

KEYS = 24
SEED = 20261124


@dataclass(frozen=True)
class World:
    casemate: Casemate
    keys: list[str]


@pytest.fixture(scope="module")
def world(stopped_server: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with served_copy(stopped_server, tmp_path_factory.mktemp("flips") / "data", "--immediate") as casemate:
        yield World(casemate, make_keys(casemate, KEYS))


@pytest.mark.parametrize(("hsm_id", "where"), [(HSMS[0], "value"), (HSMS[1], "file")])
def test_a_bit_of_every_key_flips_under_load(world: World, hsm_id: str, where: str) -> None:
    report = flip_all(world.casemate, hsm_id, world.keys, where, random.Random(SEED))  # noqa: S311 - not for secrets
    print(report.line())
    assert report.flipped == KEYS + 1  # and the demo's
    assert (report.failed, report.wrong, report.not_repaired) == (0, 0, 0), report.users[0].failures
    if where == "value":
        # Whoever used a key before the comparison came to it has repaired it already.
        assert 0 < report.repaired <= report.flipped
    assert "nothing to do" in world.casemate.manage("hsm", "reconcile", hsm_id)
