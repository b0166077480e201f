"""The last use of each key, kept from the audit record as it is read in: nothing is written when a key is used.

https://docs.aws.amazon.com/kms/latest/APIReference/API_GetKeyLastUsage.html
"""

from __future__ import annotations

import datetime
from collections.abc import Iterable
from typing import Any

from django.db import connection

from hsmapp import clock
from kmsapp import arns
from kmsapp.models import KeyLastUsage, KmsKey

# The model's KeyLastUsageTrackingOperation, which a test compares.
OPERATIONS = frozenset(
    {
        *("Decapsulate", "Decrypt", "DeriveSharedSecret", "Encapsulate", "Encrypt", "GenerateDataKey"),
        *("GenerateDataKeyPair", "GenerateDataKeyPairWithoutPlaintext", "GenerateDataKeyWithoutPlaintext"),
        *("GenerateMac", "ReEncrypt", "Sign", "Verify", "VerifyMac"),
    }
)
# Several workers' records are read in one after the other, so what comes later may have happened before. A key that was
# deleted meanwhile has no row to be found.
_NOTE = """
INSERT INTO "{uses}" ("key_id", "operation", "used_at", "event_id", "request_id")
SELECT "id", %s, %s, %s, %s FROM "{keys}" WHERE "account" = %s AND "region" = %s AND "key_id" = %s
ON CONFLICT ("key_id") DO UPDATE SET "operation" = excluded."operation", "used_at" = excluded."used_at",
"event_id" = excluded."event_id", "request_id" = excluded."request_id" WHERE "{uses}"."used_at" <= excluded."used_at"
"""


def note(events: Iterable[dict[str, Any]]) -> None:
    """Keep the last use of each key that the audit events tell of. events: as they were recorded, the oldest first.

    ReEncrypt is a use of both its keys. Plain SQL, as in audit_reading.py: every call comes by here.
    """
    last = {
        resource["ARN"]: event
        for event in events
        if event["eventName"] in OPERATIONS and "errorCode" not in event
        for resource in event.get("resources") or ()
    }
    rows = [row for arn, event in last.items() if (row := _row(arn, event)) is not None]
    if not rows:
        return
    statement = _NOTE.format(uses=KeyLastUsage._meta.db_table, keys=KmsKey._meta.db_table)
    with connection.cursor() as cursor:
        cursor.executemany(statement, rows)


def days_without_use(key_pk: int, account: str) -> int:
    """Whole days since the last use of a key, or since it was made if it was never used, by its account's clock."""
    created_at, used_at = KmsKey.objects.values_list("created_at", "last_usage__used_at").get(pk=key_pk)
    return max((clock.for_account(account) - (used_at or created_at)).days, 0)


def _row(arn: str, event: dict[str, Any]) -> tuple[Any, ...] | None:
    named = arns.parse(arn)
    if named is None or not named.resource.startswith("key/"):
        return None
    used_at = connection.ops.adapt_datetimefield_value(datetime.datetime.fromisoformat(event["eventTime"]))
    use = (event["eventName"], used_at, event["eventID"], event.get("requestID", ""))
    return *use, named.account, named.region, named.resource.removeprefix("key/")
