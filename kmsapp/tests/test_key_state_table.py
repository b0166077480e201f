"""Each operation is refused in the states in which AWS refuses it, by AWS's name and in AWS's words (promise A11)."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from kmsapp import key_states, service_models
from kmsapp.errors import KmsError
from kmsapp.tests import key_state_table
from kmsapp.tests.key_state_table import Cell

ARN = "arn:aws:kms:us-west-2:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab"


@dataclass(frozen=True)
class Key:
    key_state: str
    origin: str
    arn: str = ARN


def decided(cell: Cell) -> tuple[str, str] | None:
    """What the product says of the cell."""
    try:
        key_states.require(cell.operation, Key(cell.state, cell.origin))
    except KmsError as error:
        return error.code, error.message
    return None


def test_every_cell_is_as_in_awss_table() -> None:
    cells = list(key_state_table.cells("AWS_CLOUDHSM", "AWS_KMS", "EXTERNAL"))
    wrong = {}
    for cell in cells:
        expected = cell.refusal and (cell.refusal.exception, cell.refusal.message.format(arn=ARN))
        if (found := decided(cell)) != expected:
            wrong[cell] = found
    assert not wrong
    refused = sum(cell.refusal is not None for cell in cells)
    assert len(cells) > 600 and refused > 200
    print(f"{len(cells)} cells of {len(key_state_table.OPERATIONS)} operations, of which {refused} refuse")


def test_the_table_has_exactly_awss_operations_and_states() -> None:
    assert set(key_states.REFUSALS) == set(key_state_table.OPERATIONS)
    assert all(operation in service_models.service("kms") for operation in key_state_table.OPERATIONS)
    assert tuple(key_state_table.STATES) == key_states.STATES
    assert all(tuple(row) == key_states.STATES for row in key_states.REFUSALS.values())


def test_an_operation_without_a_row_is_a_bug() -> None:
    with pytest.raises(KeyError):
        key_states.require("NoSuchOperation", Key(key_states.ENABLED, "AWS_CLOUDHSM"))
