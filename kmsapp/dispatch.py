"""The one way in: browser, AWS wire, Django admin and jobs all call `dispatch.call`.

count (request quotas) -> validate (AWS's service model; grant tokens) -> run (the operation authorizes through
access.py) -> record (audit.py) -> answer.
A refusal is recorded too. An operation that answers without having asked access.py is a bug and gets no answer out.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kmsapp import audit, grants, ids, operations, request_quotas, service_models, shapes
from kmsapp.call import Call
from kmsapp.caller import Caller
from kmsapp.errors import KmsError, KMSInternalException, UnknownOperationException, UnsupportedOperationException
from kmsapp.iam.sts import require_open_to_session
from kmsapp.registry import OPERATIONS, Operation

operations.load()


class UncheckedOperationError(Exception):
    """An operation answered without an access check."""


def is_built(name: str) -> bool:
    """Whether the operation "service:Operation" can be called."""
    return name in OPERATIONS


def call(
    caller: Caller, name: str, params: dict[str, Any], *, request_id: str = "", chosen: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """Run one operation for a caller and return AWS's answer (PascalCase; bytes for blobs, datetimes for times).

    chosen: ids, and secrets of access keys, that are drawn otherwise. Only a seed file chooses them (kmsapp/seeding).
    Raises: KmsError subclasses, AWS's answer to a call that can't be done.
    """
    found = OPERATIONS.get(name)
    this = _begin(caller, name, params, request_id)
    try:
        answer = _run(this, found, params, chosen or {})
    except KmsError as error:
        _record(this, error)
        raise
    except Exception:
        _record(this, KMSInternalException("An internal error occurred."))
        raise
    if not this.recorded:
        _record(this)
    return answer


def refuse(caller: Caller, name: str, error: KmsError, *, request_id: str) -> None:
    """Record a request of a known caller that ended before it could be called, such as one with a malformed body."""
    _record(_begin(caller, name, {}, request_id), error)


def _record(this: Call, error: KmsError | None = None) -> None:
    for event in audit.events(this, error=error):
        audit.append(event)


def _begin(caller: Caller, name: str, params: dict[str, Any], request_id: str) -> Call:
    service, _, operation_name = name.partition(":")
    found = OPERATIONS.get(name)
    return Call(
        caller=caller,
        service=service,
        operation=operation_name,
        params=params,
        request_id=request_id or ids.new_request_id(),
        read_only=found.read_only if found else True,
        recorded_as=found.recorded_as if found else "",
    )


def _run(this: Call, found: Operation | None, params: dict[str, Any], chosen: Mapping[str, str]) -> dict[str, Any]:
    if found is None:
        raise _not_built(this)
    request_quotas.require_within(this)
    require_open_to_session(this.caller, found.name)
    if this.service != "console":
        shapes.validate(this.service, this.operation, params)
        grants.require_valid_tokens(this)
    answer = found.run(this, params, **chosen)
    if not this.checked:
        raise UncheckedOperationError(found.name)
    return answer


def _not_built(this: Call) -> KmsError:
    if this.service in service_models.MODEL_NAMES and this.operation in service_models.service(this.service):
        return UnsupportedOperationException(f"{this.operation} is not built in this version of Casemate.")
    return UnknownOperationException()
