"""Every call is recorded by the name that AWS has for it."""

from __future__ import annotations

import pytest

from kmsapp import dispatch, service_models
from kmsapp.registry import OPERATIONS, Operation

assert dispatch.is_built("kms:CreateKey"), "importing dispatch has filled the table"


@pytest.mark.parametrize("found", OPERATIONS.values(), ids=OPERATIONS)
def test_an_operation_is_recorded_as_one_of_aws(found: Operation) -> None:
    service, _, name = (found.recorded_as or found.name).partition(":")
    assert name in service_models.service(service)
