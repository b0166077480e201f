"""Keys of the demo that are scheduled for deletion in this process, and time that passes for their account."""

from __future__ import annotations

import datetime
from typing import Any

from hsmapp import clock
from kmsapp import demo, key_deletion_jobs
from kmsapp.tests.people import call

DAY = datetime.timedelta(days=1)


def arn(key_id: str) -> str:
    return f"arn:aws:kms:{demo.REGION}:{demo.ACCOUNT}:key/{key_id}"


def state(key_id: str) -> str:
    return str(call("DescribeKey", KeyId=key_id)["KeyMetadata"]["KeyState"])


def schedule(key_id: str, days: int = 7) -> dict[str, Any]:
    return call("ScheduleKeyDeletion", KeyId=key_id, PendingWindowInDays=days)


def let_pass(days: float) -> int:
    """Set the account's clock ahead, and have the job look once; return how many keys it has deleted."""
    clock.move(demo.ACCOUNT, clock.offset_of(demo.ACCOUNT) + days * DAY)
    return key_deletion_jobs.delete_due(clock.now())
