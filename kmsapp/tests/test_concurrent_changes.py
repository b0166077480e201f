"""R22: many callers change one key and its aliases at once: what is left is what some order of their calls would leave.

Each change writes its audit event in its own transaction, so the order of the events is that order: the events are done
once more, one after the other, on a model that knows AWS's rules, and must lead to what the database holds.
CASEMATE_CHANGES sets another number of calls.
"""

from __future__ import annotations

import json
import os
import random
import threading
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from django.db import connection

from hsmapp import epochs
from kmsapp import demo, dispatch
from kmsapp.errors import AlreadyExistsException, KmsError, NotFoundException
from kmsapp.models import Alias, AuditEvent, KmsKey
from kmsapp.tests.people import ALICE, call

CALLS = int(os.environ.get("CASEMATE_CHANGES", "240"))
CALLERS = 6
KEY = demo.KEY_ID
OTHER = "00000001-0000-4000-8000-000000000000"
ALIASES = ("alias/one", "alias/two")
TAGS = ("team", "stage")
ROOT = f"arn:aws:iam::{demo.ACCOUNT}:root"
# What a call may be refused with: a name that is taken, an alias that is not there.
MAY_BE_REFUSED = {
    "CreateAlias": AlreadyExistsException,
    "UpdateAlias": NotFoundException,
    "DeleteAlias": NotFoundException,
}


def policy(number: int) -> str:
    own = {"Sid": str(number), "Effect": "Allow", "Principal": {"AWS": ROOT}, "Action": "kms:*", "Resource": "*"}
    return json.dumps({"Version": "2012-10-17", "Statement": [own]})


def drawn(chance: random.Random) -> tuple[str, dict[str, Any]]:
    """A call about one of the two aliases, or about the key."""
    operation = chance.choice(
        [
            *MAY_BE_REFUSED,
            "PutKeyPolicy",
            "TagResource",
            "UntagResource",
            "EnableKey",
            "DisableKey",
            "UpdateKeyDescription",
        ]
    )
    number = chance.randrange(1_000_000)
    on_key: dict[str, Any] = {"KeyId": KEY}
    params: dict[str, dict[str, Any]] = {
        "CreateAlias": {"AliasName": chance.choice(ALIASES), "TargetKeyId": chance.choice([KEY, OTHER])},
        "UpdateAlias": {"AliasName": chance.choice(ALIASES), "TargetKeyId": chance.choice([KEY, OTHER])},
        "DeleteAlias": {"AliasName": chance.choice(ALIASES)},
        "PutKeyPolicy": {**on_key, "Policy": policy(number)},
        "TagResource": {**on_key, "Tags": [{"TagKey": chance.choice(TAGS), "TagValue": str(number)}]},
        "UntagResource": {**on_key, "TagKeys": [chance.choice(TAGS)]},
        "EnableKey": on_key,
        "DisableKey": on_key,
        "UpdateKeyDescription": {**on_key, "Description": str(number)},
    }
    return operation, params[operation]


@dataclass
class Model:
    """A key and two aliases, by AWS's rules."""

    aliases: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    policy: str = ""
    description: str = ""
    state: str = "Enabled"

    def do(self, name: str, asked: dict[str, Any]) -> None:
        """Do what an event says that was done. Fails if it can't have been."""
        match name:
            case "CreateAlias":
                assert asked["aliasName"] not in self.aliases, asked
                self.aliases[asked["aliasName"]] = asked["targetKeyId"]
            case "UpdateAlias":
                assert asked["aliasName"] in self.aliases, asked
                self.aliases[asked["aliasName"]] = asked["targetKeyId"]
            case "DeleteAlias":
                del self.aliases[asked["aliasName"]]
            case "PutKeyPolicy":
                self.policy = asked["policy"]
            case "TagResource":
                self.tags |= {tag["tagKey"]: tag["tagValue"] for tag in asked["tags"]}
            case "UntagResource":
                for key in asked["tagKeys"]:
                    self.tags.pop(key, None)
            case "EnableKey" | "DisableKey":
                self.state = f"{name.removesuffix('Key')}d"
            case "UpdateKeyDescription":
                self.description = asked["description"]
            case _:
                raise AssertionError(name)


def in_database() -> Model:
    """What the database holds, as everybody sees it."""
    metadata = call("DescribeKey", KeyId=KEY)["KeyMetadata"]
    rows = Alias.objects.filter(name__in=ALIASES).values_list("name", "key__key_id")
    assert len(rows) == len(dict(rows)), "no name twice"
    return Model(
        dict(rows),
        {tag["TagKey"]: tag["TagValue"] for tag in call("ListResourceTags", KeyId=KEY)["Tags"]},
        call("GetKeyPolicy", KeyId=KEY)["Policy"],
        metadata["Description"],
        metadata["KeyState"],
    )


def test_what_many_callers_leave_is_what_some_order_of_their_calls_would_leave(rows: Path) -> None:
    other = KmsKey.objects.get(key_id=KEY)
    other.pk, other.material, other.key_id = None, None, OTHER
    other.save(force_insert=True)
    call("PutKeyPolicy", KeyId=KEY, Policy=policy(0))
    epochs.raise_epoch(demo.ACCOUNT)
    model, last = in_database(), AuditEvent.objects.order_by("-id").values_list("id", flat=True)[0]
    answered: Counter[str] = Counter()
    refused: Counter[tuple[str, str]] = Counter()
    wrong: list[BaseException] = []

    def change(seed: int) -> None:
        chance = random.Random(seed)  # noqa: S311  which calls, no secret
        try:
            for _ in range(CALLS // CALLERS):
                operation, params = drawn(chance)
                try:
                    dispatch.call(ALICE, f"kms:{operation}", params)
                    answered[operation] += 1
                except KmsError as error:
                    refused[operation, type(error).__name__] += 1
        except BaseException as error:
            wrong.append(error)
        finally:
            connection.close()

    threads = [threading.Thread(target=change, args=(seed,)) for seed in range(CALLERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
        assert not thread.is_alive(), "a caller waits for ever"
    assert not wrong, wrong
    assert refused.keys() <= {(operation, error.__name__) for operation, error in MAY_BE_REFUSED.items()}
    events = AuditEvent.objects.filter(id__gt=last, error_code="").order_by("id")
    assert Counter(event.event_name for event in events) == answered, "one event for each call that was done"
    for event in events:
        model.do(event.event_name, event.event["requestParameters"])
    assert in_database() == model
    assert answered.total() + refused.total() == CALLS // CALLERS * CALLERS and refused.total() > 0
    print(f"{answered.total()} changes of 9 kinds by {CALLERS} callers at once, {refused.total()} refused, one order")
