"""Who may come in and what they see: other accounts, and people who were switched off."""

from __future__ import annotations

from pathlib import Path

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from hsmapp import epochs
from kmsapp import demo
from kmsapp.errors import InvalidArnException
from kmsapp.tests.people import ALICE, call, create_key


def test_the_caller_of_another_account_sees_nothing(installation: Path) -> None:
    from kmsapp.tests.people import ELSEWHERE

    assert call("ListKeys", ELSEWHERE)["Keys"] == []
    assert len(call("ListKeys", ALICE)["Keys"]) == 1


def test_whoever_switches_a_person_off_switches_their_access_keys_off(installation: Path) -> None:
    from kmsapp.iam import credentials as access_keys
    from kmsapp.models import AccessKey, User

    access_key = AccessKey.objects.select_related("user").get(user__user_name="bob")
    found = access_keys.find(access_key.access_key_id)
    assert found is not None and found.active
    person = User.objects.get(pk=access_key.user.pk)
    person.is_active = False
    person.save()
    found = access_keys.find(access_key.access_key_id)
    assert found is not None and not found.active
    access_key.delete()
    assert access_keys.find(access_key.access_key_id) is None


def test_a_key_that_was_described_is_described_without_a_query_until_something_changes(installation: Path) -> None:
    key_id = create_key()
    with epochs.one_reading():
        call("DescribeKey", KeyId=key_id)
    with CaptureQueriesContext(connection) as queries, epochs.one_reading():
        call("DescribeKey", KeyId=key_id)
    assert queries.captured_queries == []
    call("DisconnectCustomKeyStore", CustomKeyStoreId=demo.KEY_STORE_ID)
    described = call("DescribeKey", KeyId=key_id)["KeyMetadata"]
    assert (described["KeyState"], described["Enabled"]) == ("Unavailable", False)
    described["KeyState"] = "changed by a caller"
    assert call("DescribeKey", KeyId=key_id)["KeyMetadata"]["KeyState"] == "Unavailable"


def test_an_arn_of_another_partition_names_nothing(installation: Path) -> None:
    arn = call("DescribeKey", KeyId=demo.KEY_ID)["KeyMetadata"]["Arn"]
    for partition in ("aws-cn", "aws-us-gov", "", "AWS"):
        with pytest.raises(InvalidArnException):
            call("DescribeKey", KeyId=arn.replace("arn:aws:", f"arn:{partition}:"))


def test_no_key_is_shared_by_other_accounts(installation: Path) -> None:
    assert len(call("ListKeys", ResourceOwners=["SELF", "OTHER_ACCOUNTS_VIA_RAM"])["Keys"]) == 1
    assert call("ListKeys", ResourceOwners=["OTHER_ACCOUNTS_VIA_RAM"]) == {"Keys": [], "Truncated": False}
