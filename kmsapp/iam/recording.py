"""What the audit record says of an IAM call: its parameters and what it made, in CloudTrail's spelling, nothing secret.

Members that the model marks as sensitive (passwords, secret access keys) are left out.
"""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from typing import Any

from kmsapp import service_models
from kmsapp.call import Call
from kmsapp.service_models import Operation, Shape
from kmsapp.shapes import lower_camel


def note(call: Call, params: Mapping[str, Any]) -> None:
    """Let the record hold the call's parameters."""
    call.audit_parameters.update(_spelled(params, _operation(call).input))


def response(call: Call, answer: Mapping[str, Any]) -> dict[str, Any]:
    """An answer as responseElements."""
    output = _operation(call).output
    if output is None:
        raise ValueError(f"{call.operation} answers nothing")
    spelled: dict[str, Any] = _spelled(answer, output)
    return spelled


def _operation(call: Call) -> Operation:
    service, _, name = call.recorded_as.partition(":")
    return service_models.service(service).operation(name)


def _spelled(value: Any, shape: Shape) -> Any:
    if shape.kind == "structure":
        return {
            lower_camel(name): _spelled(item, shape.parts[name])
            for name, item in value.items()
            if item is not None and name in shape.parts and not shape.parts[name].sensitive
        }
    if shape.kind == "list":
        return [_spelled(item, shape.parts["member"]) for item in value]
    if isinstance(value, datetime.datetime):
        return f"{value:%b %d, %Y %I:%M:%S %p}"  # so CloudTrail has IAM's dates
    return value
