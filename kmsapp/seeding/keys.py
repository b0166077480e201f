"""KMS keys, with their aliases, tags and grants, the states and the policies that they are to have.

A key begins with the default key policy, by which the root user may give it the rest. Its own policy, which need not
let the root user do that, comes last; the state before it, because a key that is disabled takes no grants.
"""

from __future__ import annotations

from django.db import transaction

from kmsapp.models import Alias, Grant, KmsKey
from kmsapp.seed_file import key_entries, requests
from kmsapp.seeding.callers import call, root
from kmsapp.seeding.drawing import Drawn, value
from kmsapp.seeding.errors import making

# The operation that brings a new key into the state.
OPERATIONS = {"Disabled": "kms:DisableKey", "PendingDeletion": "kms:ScheduleKeyDeletion"}


def make(entry: key_entries.Key, custom_key_store_id: str, drawn: Drawn) -> None:
    """Make what is not there yet of the key."""
    key_id = value(entry, "id", drawn)
    rows = KmsKey.objects.filter(account=entry.account, region=entry.region, key_id=key_id)
    with making(entry):
        if not rows.exists():
            params = requests.key(entry, custom_key_store_id=custom_key_store_id)
            call(root(entry.account, entry.region), "kms:CreateKey", params, key_id=key_id)
        key = rows.get()
        _aliases(entry, key)
        _grants(entry, key)
        _state(entry, key)
        _policy(entry, key)


def _aliases(entry: key_entries.Key, key: KmsKey) -> None:
    there = set(Alias.objects.filter(key=key).values_list("name", flat=True))
    for name in entry.aliases:
        if name not in there:
            params = {"AliasName": str(name), "TargetKeyId": key.key_id}
            call(root(entry.account, entry.region), "kms:CreateAlias", params)


def _grants(entry: key_entries.Key, key: KmsKey) -> None:
    """All of them or none: two grants may be alike, so that those that are missing could not be told."""
    if not Grant.objects.filter(key=key).exists():
        with transaction.atomic():
            for grant in entry.grants:
                params = {"KeyId": key.key_id, **requests.grant(grant)}
                call(root(entry.account, entry.region), "kms:CreateGrant", params)


def _state(entry: key_entries.Key, key: KmsKey) -> None:
    operation = OPERATIONS.get(entry.state)
    if operation and key.key_state != entry.state:
        params: dict[str, object] = {"KeyId": key.key_id}
        if entry.pending_window_in_days is not None:
            params["PendingWindowInDays"] = entry.pending_window_in_days
        call(root(entry.account, entry.region), operation, params)


def _policy(entry: key_entries.Key, key: KmsKey) -> None:
    if entry.policy is not None and key.policy != entry.policy.text:
        params = {"KeyId": key.key_id, **requests.key_policy(entry.policy)}
        call(root(entry.account, entry.region), "kms:PutKeyPolicy", params)
