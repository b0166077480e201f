"""ScheduleKeyDeletion and CancelKeyDeletion. What is due is carried out by kmsapp/key_deletion_jobs.py."""

from __future__ import annotations

import datetime
from typing import Any

from hsmapp import clock, clock_watch, steps
from hsmapp.steps import Step
from hsmapp.unproven_time import IN_WORDS
from kmsapp import access, audit, key_states
from kmsapp.call import Call
from kmsapp.errors import KMSInvalidStateException, ValidationException
from kmsapp.models import KmsKey
from kmsapp.operations.keys import locked
from kmsapp.registry import operation

# https://docs.aws.amazon.com/kms/latest/APIReference/API_ScheduleKeyDeletion.html; the model allows 1 to 365.
SHORTEST_WINDOW_DAYS, LONGEST_WINDOW_DAYS = 7, 30
DEFAULT_WINDOW_DAYS = 30


@operation("kms:ScheduleKeyDeletion")
def schedule_key_deletion(call: Call, params: dict[str, Any]) -> dict[str, Any]:
    """https://docs.aws.amazon.com/kms/latest/APIReference/API_ScheduleKeyDeletion.html"""
    days = params.get("PendingWindowInDays") or DEFAULT_WINDOW_DAYS
    call.audit_parameters.update(keyId=params["KeyId"], pendingWindowInDays=days)
    if not SHORTEST_WINDOW_DAYS <= days <= LONGEST_WINDOW_DAYS:
        raise ValidationException(
            f"PendingWindowInDays is {days}. It must be between {SHORTEST_WINDOW_DAYS} and {LONGEST_WINDOW_DAYS} days."
        )
    found = access.key(call, params["KeyId"], "kms:ScheduleKeyDeletion")
    key_states.require("ScheduleKeyDeletion", found)
    deletion_date = clock.for_account(found.account) + datetime.timedelta(days=days)
    state = KmsKey.State.PENDING_DELETION
    response = {
        "keyId": found.arn,
        "keyState": state.value,
        "deletionDate": audit.time_in_response(deletion_date),
        "pendingWindowInDays": days,
    }
    with call.change(response):
        key = locked(found, "ScheduleKeyDeletion")
        steps.reach(Step.SCHEDULING)
        key.key_state, key.deletion_date, key.deletion_scheduled_at = state, deletion_date, clock.now()
        _save(key)
    steps.reach(Step.SCHEDULED)
    return {
        "KeyId": found.arn,
        "DeletionDate": deletion_date,
        "KeyState": state.value,
        "PendingWindowInDays": days,
    }


@operation("kms:CancelKeyDeletion")
def cancel_key_deletion(call: Call, params: dict[str, Any]) -> dict[str, Any]:
    """The key is Disabled then, whatever it was before.

    https://docs.aws.amazon.com/kms/latest/APIReference/API_CancelKeyDeletion.html
    """
    call.audit_parameters["keyId"] = params["KeyId"]
    found = access.key(call, params["KeyId"], "kms:CancelKeyDeletion")
    key_states.require("CancelKeyDeletion", found)
    with call.change({"keyId": found.arn}):
        key = locked(found, "CancelKeyDeletion")
        steps.reach(Step.CANCELLING)
        key.key_state, key.deletion_date, key.deletion_scheduled_at = KmsKey.State.DISABLED, None, None
        key.deletion_confirmed_at = None
        _save(key)
    steps.reach(Step.CANCELLED)
    return {"KeyId": found.arn}


def _save(key: KmsKey) -> None:
    key.save(update_fields=["key_state", "deletion_date", "deletion_scheduled_at", "deletion_confirmed_at"])


# What AWS has not: time of which nobody can prove that it passed


@operation("console:ConfirmKeyDeletion", recorded_as="kms:ScheduleKeyDeletion")
def confirm_key_deletion(call: Call, params: dict[str, Any]) -> dict[str, Any]:
    """Say that the time of a deletion has come, which is due by a clock that may be wrong. It is carried out then."""
    call.audit_parameters.update(keyId=params["KeyId"], confirms=True)
    found = access.key(call, params["KeyId"], "kms:ScheduleKeyDeletion")
    key_states.require("CancelKeyDeletion", found)  # it must be pending deletion
    with call.change({"keyId": found.arn}):
        key = locked(found, "CancelKeyDeletion")
        if not held_because(key):
            raise KMSInvalidStateException(f"The deletion of {found.arn} does not wait for a confirmation.")
        key.deletion_confirmed_at = clock.now()
        _save(key)
    return {}


def held_because(key: KmsKey) -> str:
    """Why a deletion that is due waits for a confirmation, for people; empty if it does not."""
    if key.deletion_date is None or key.deletion_scheduled_at is None or key.deletion_confirmed_at is not None:
        return ""
    if clock.for_account(key.account) < key.deletion_date:
        return ""
    holds = clock_watch.noted_holds()
    if holds.on(key.account, scheduled_at=key.deletion_scheduled_at, due_at=key.deletion_date) is None:
        return ""
    return "; ".join(IN_WORDS[reason] for reason in holds.reasons(scheduled_at=key.deletion_scheduled_at))
