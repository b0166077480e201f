"""An account as it was at one moment, and the way back to it: what the test kit's reset does.

Not an operation of anybody's: like a restore it turns the installation back, for whoever holds the data folder, and
only where the server was started for that (bin/serve --resettable).

What comes back: keys with their policies, aliases, tags and grants, users, groups, roles and policies, access keys,
sessions, the account's clock. Keys made since are deleted as if their waiting period were over, their material in
every HSM too. What doesn't: clusters, HSMs and key stores. If one of those has changed, `put_back` says so and changes
nothing. The audit record goes on.
"""

from __future__ import annotations

import datetime
import json
from collections.abc import Iterable
from typing import Any

from django.core import serializers
from django.db import models, transaction
from django.db.models import Q, QuerySet

from hsmapp import epochs, key_deletion
from hsmapp.models import AccountClock, Cluster, Hsm, MaskedKey, Tombstone
from kmsapp import audit
from kmsapp.models import (
    AccessKey,
    Account,
    Alias,
    CustomKeyStore,
    Grant,
    Group,
    InlinePolicy,
    KeyLastUsage,
    KmsKey,
    ManagedPolicy,
    PolicyVersion,
    Role,
    Tag,
    TemporaryCredential,
    User,
)

# Where CloudTrail shows what belongs to no Region.
REGION_OF_GLOBAL_EVENTS = "us-east-1"

Row = dict[str, Any]  # as Django's serializers have it: model, pk, fields
Rows = dict[str, dict[str, Row]]  # model -> primary key as text -> row

# Each after what it refers to. Model, and how its rows lead to the account.
_ROWS: tuple[tuple[type[models.Model], tuple[str, ...]], ...] = (
    (Account, ("account_id",)),
    (AccountClock, ("account",)),
    (ManagedPolicy, ("account",)),
    (PolicyVersion, ("policy__account",)),
    (User, ("account_id",)),
    (User.managed_policies.through, ("user__account_id",)),
    (Group, ("account_id",)),
    (Group.users.through, ("group__account_id",)),
    (Group.managed_policies.through, ("group__account_id",)),
    (Role, ("account_id",)),
    (Role.managed_policies.through, ("role__account_id",)),
    (AccessKey, ("user__account_id",)),
    (InlinePolicy, ("user__account_id", "group__account_id", "role__account_id")),
    (TemporaryCredential, ("user__account_id", "role__account_id")),
    (MaskedKey, ("kms_key__account",)),
    (KmsKey, ("account",)),
    (Alias, ("account",)),
    (Tag, ("key__account",)),
    (Grant, ("key__account",)),
    (KeyLastUsage, ("key__account",)),
)
# What must be as it was, for it can't be put back by rows: there are tokens and passwords behind it.
_STANDING: tuple[tuple[type[models.Model], str, tuple[str, ...]], ...] = (
    (CustomKeyStore, "account", ("custom_key_store_id", "name", "connection_state")),
    (Cluster, "account", ("cluster_id", "state")),
    (Hsm, "cluster__account", ("hsm_id", "state")),
)


class CannotPutBackError(Exception):
    """Something has changed that rows don't bring back. The message says what."""


def take(account: str) -> str:
    """The account as it is now, as JSON. Secrets in it are sealed, as they are in the database."""
    with transaction.atomic():
        return json.dumps({"rows": _rows(account), "standing": _standing(account)})


def put_back(account: str, snapshot: str) -> None:
    """Make the account what it was when the snapshot was taken, in one transaction.

    Raises: CannotPutBackError, and nothing is changed.
    """
    then = json.loads(snapshot)
    with transaction.atomic():
        _require_unchanged(account, then["standing"])
        _delete_new_keys(account, then["rows"])
        _put_back_rows(account, then["rows"])
        epochs.raise_epoch(account)
        audit.record_change(audit.reset_event(account, REGION_OF_GLOBAL_EVENTS))


def _rows(account: str) -> Rows:
    return {model._meta.label_lower: _as_rows(_of_account(model, paths, account)) for model, paths in _ROWS}


def _of_account(model: type[models.Model], paths: Iterable[str], account: str) -> QuerySet[Any]:
    condition = Q()
    for path in paths:
        condition |= Q(**{path: account})
    return model._default_manager.filter(condition)


def _as_rows(found: QuerySet[Any]) -> dict[str, Row]:
    # Many-to-many fields are rows of their own here.
    fields = [field.name for field in found.model._meta.local_fields]
    rows = serializers.serialize("python", found, fields=fields)
    # Django's JSON has times to the millisecond only.
    text = json.dumps(rows, default=datetime.datetime.isoformat)
    return {str(row["pk"]): row for row in json.loads(text)}


def _standing(account: str) -> dict[str, list[list[str]]]:
    return {
        str(model._meta.verbose_name_plural): sorted(
            map(list, model._default_manager.filter(**{path: account}).values_list(*columns))
        )
        for model, path, columns in _STANDING
    }


def _require_unchanged(account: str, then: dict[str, list[list[str]]]) -> None:
    for what, now in _standing(account).items():
        if now != then[what]:
            raise CannotPutBackError(f"The {what} of account {account} are {now}. They were {then[what]}.")


def _delete_new_keys(account: str, then: Rows) -> None:
    known = then[MaskedKey._meta.label_lower]
    new = MaskedKey.objects.filter(kms_key__account=account).exclude(pk__in=known)
    for material in new.select_related("cluster", "kms_key__custom_key_store"):
        store = material.kms_key.custom_key_store
        KmsKey.objects.filter(material=material).update(material=None)
        key_deletion.erase(material, leave_objects=store is not None and not store.is_connected)


def _put_back_rows(account: str, then: Rows) -> None:
    """Rows that are new or different go, and then what is missing comes: no name is taken twice meanwhile."""
    now = _rows(account)
    changed = {label: [pk for pk, row in rows.items() if then[label].get(pk) != row] for label, rows in now.items()}
    for model, _ in reversed(_ROWS):
        gone = changed[model._meta.label_lower]
        # By plain SQL: the rows that refer to one that only changes must stay.
        model._default_manager.filter(pk__in=gone)._raw_delete(using="default")
    for model, _ in _ROWS:
        label = model._meta.label_lower
        missing = [row for pk, row in then[label].items() if now[label].get(pk) != row]
        rows = [found.object for found in serializers.deserialize("python", missing)]
        model._default_manager.bulk_create(rows)
        if model is MaskedKey:
            Tombstone.objects.filter(label__in=[row["fields"]["label"] for row in missing]).delete()
