"""kms:ResourceAliases on a key that has more aliases than the quota, as one that was lowered leaves it.

https://docs.aws.amazon.com/kms/latest/developerguide/conditions-kms.html#conditions-kms-resource-aliases
"""

from __future__ import annotations

import json
from typing import Any

import pytest

from hsmapp import clock, epochs
from kmsapp import demo
from kmsapp.condition_keys import ALIASES_PER_KEY
from kmsapp.errors import AccessDeniedException
from kmsapp.models import Alias, InlinePolicy, KmsKey, User
from kmsapp.tests.grant_world import ARN, rows
from kmsapp.tests.people import MALLORY, call

__all__ = ["rows"]
pytestmark = pytest.mark.usefixtures("rows")

# Effect and condition of a statement of mallory's, which lets her in while the key conforms to the quota.
CONDITIONS: dict[str, tuple[str, dict[str, Any]]] = {
    "any": ("Allow", {"ForAnyValue:StringLike": {"kms:ResourceAliases": "alias/*"}}),
    "all": ("Allow", {"ForAllValues:StringLike": {"kms:ResourceAliases": "alias/*"}}),
    "none of these": ("Allow", {"ForAllValues:StringNotEquals": {"kms:ResourceAliases": "alias/x"}}),
    "denied by none": ("Deny", {"ForAnyValue:StringEquals": {"kms:ResourceAliases": "alias/x"}}),
}


def fill_up(count: int) -> None:
    """Give the demo's key aliases until it has so many."""
    key, now = KmsKey.objects.get(key_id=demo.KEY_ID), clock.now()
    row = {"account": key.account, "region": key.region, "key": key, "created_at": now, "updated_at": now}
    missing = count - key.aliases.count()
    Alias.objects.bulk_create(Alias(name=f"alias/of-{count}-{number}", **row) for number in range(missing))
    epochs.raise_epoch(demo.ACCOUNT)


def is_let_in() -> bool:
    try:
        call("DescribeKey", MALLORY, KeyId=ARN)
    except AccessDeniedException:
        return False
    return True


@pytest.mark.parametrize(("effect", "condition"), CONDITIONS.values(), ids=CONDITIONS)
def test_nobody_is_let_in_by_aliases_beyond_the_quota(effect: str, condition: dict[str, Any]) -> None:
    statements = [{"Effect": effect, "Action": "kms:DescribeKey", "Resource": "*", "Condition": condition}]
    if effect == "Deny":
        statements.append({"Effect": "Allow", "Action": "kms:DescribeKey", "Resource": "*"})
    document = json.dumps({"Version": "2012-10-17", "Statement": statements})
    user = User.objects.get(user_id=MALLORY.principal_id)
    InlinePolicy.objects.create(user=user, name="by alias", document=document)
    fill_up(ALIASES_PER_KEY)
    assert is_let_in()
    fill_up(ALIASES_PER_KEY + 1)
    assert not is_let_in()
