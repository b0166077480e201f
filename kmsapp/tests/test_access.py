"""Who may come in and what they see: other accounts, and people who were switched off."""

from __future__ import annotations

from pathlib import Path

from kmsapp.tests.people import ALICE, call


def test_the_caller_of_another_account_sees_nothing(installation: Path) -> None:
    from kmsapp.tests.people import CAROL

    assert call("ListKeys", CAROL)["Keys"] == []
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
