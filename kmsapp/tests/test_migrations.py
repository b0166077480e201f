"""What becomes of an installation of an older version."""

from __future__ import annotations

import importlib

import pytest
from django.apps import apps
from django.db import connection

from hsmapp import clock
from kmsapp import demo, dispatch
from kmsapp.caller import Caller
from kmsapp.models import Account, User


@pytest.mark.django_db
def test_users_of_an_older_version_go_on_as_before() -> None:
    account = Account.objects.create(account_id=demo.ACCOUNT, created_at=clock.now())
    user = User.objects.create_user(account=account, user_name="dora", user_id="AIDADORA", created_at=clock.now())
    migration = importlib.import_module("kmsapp.migrations.0003_as_before")
    for _ in range(2):  # one that was cut short runs again
        migration.let_go_on(apps, connection.schema_editor())
    dora = Caller(demo.ACCOUNT, demo.REGION, user.arn, user.user_id, "dora")
    assert dispatch.call(dora, "kms:ListKeys", {})["Keys"] == []
    root = User.objects.get(account=account, is_root=True)
    assert not root.has_usable_password() and root.arn == f"arn:aws:iam::{demo.ACCOUNT}:root"
    assert user.inline_policies.count() == 1
