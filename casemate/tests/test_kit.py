"""The test kit: an account that is put back, and a server that starts anew where rows are not enough."""

from __future__ import annotations

import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from statistics import median
from typing import Any

import pytest

from casemate.testing import Casemate, ResetError, running
from hsmapp.tests import token_files

KEY = "1234abcd-12ab-34cd-56ef-1234567890ab"
ACCOUNT, OTHER = "111122223333", "444455556666"


@pytest.fixture(scope="module")
def kit(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Casemate]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CASEMATE_CACHE", str(tmp_path_factory.mktemp("cache")))
        with running() as casemate:
            yield casemate


def what_there_is(casemate: Casemate) -> dict[str, Any]:
    """What clients can see of the account."""
    kms, iam = casemate.client("kms"), casemate.client("iam")
    keys = [key["KeyId"] for key in kms.list_keys()["Keys"]]
    return {
        "keys": {key: described(kms.describe_key(KeyId=key)) for key in keys},
        "policies": {key: kms.get_key_policy(KeyId=key)["Policy"] for key in keys},
        "tags": {key: kms.list_resource_tags(KeyId=key)["Tags"] for key in keys},
        "grants": {key: kms.list_grants(KeyId=key)["Grants"] for key in keys},
        "aliases": described(kms.list_aliases()),
        "stores": described(kms.describe_custom_key_stores()),
        "details": described(iam.get_account_authorization_details()),
    }


def described(answer: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in answer.items() if name != "ResponseMetadata"}


def change_everything(casemate: Casemate) -> None:
    """New keys and identities; the seeded ones changed, disabled, renamed, deleted."""
    kms, iam = casemate.client("kms"), casemate.client("iam")
    new = casemate.create_key(Tags=[{"TagKey": "a", "TagValue": "b"}])
    kms.create_alias(AliasName="alias/new", TargetKeyId=new)
    kms.create_grant(KeyId=new, GranteePrincipal=f"arn:aws:iam::{ACCOUNT}:user/bob", Operations=["Decrypt"])
    kms.tag_resource(KeyId=KEY, Tags=[{"TagKey": "changed", "TagValue": "yes"}])
    kms.put_key_policy(KeyId=KEY, Policy=kms.get_key_policy(KeyId=KEY)["Policy"].replace("bob", "mallory"))
    kms.disable_key(KeyId=KEY)
    iam.create_user(UserName="zoe")
    iam.create_access_key(UserName="zoe")
    iam.create_policy(PolicyName="new", PolicyDocument=EVERYTHING)
    iam.attach_user_policy(UserName="mallory", PolicyArn=f"arn:aws:iam::{ACCOUNT}:policy/new")
    iam.create_group(GroupName="new")
    iam.add_user_to_group(GroupName="new", UserName="bob")
    iam.put_user_policy(UserName="bob", PolicyName="all", PolicyDocument=EVERYTHING)
    iam.create_role(RoleName="new", AssumeRolePolicyDocument=TRUST.replace("PRINCIPAL", f"arn:aws:iam::{ACCOUNT}:root"))


EVERYTHING = '{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}'
TRUST = (
    '{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "sts:AssumeRole", '
    '"Principal": {"AWS": "PRINCIPAL"}}]}'
)


def test_an_account_is_put_back(kit: Casemate) -> None:
    before = what_there_is(kit)
    sealed = kit.client().encrypt(KeyId=KEY, Plaintext=b"from before")["CiphertextBlob"]
    objects = key_objects(kit)
    seconds = []
    for _ in range(3):
        change_everything(kit)
        changed = what_there_is(kit)
        assert all(changed[part] != before[part] for part in before if part != "stores")
        port, started = kit.port, time.monotonic()
        kit.reset(ACCOUNT)
        seconds.append(time.monotonic() - started)
        assert kit.port == port
        assert what_there_is(kit) == before
        assert kit.client().decrypt(CiphertextBlob=sealed)["Plaintext"] == b"from before"
    print(f"an account put back in {median(seconds) * 1000:.0f} ms (median of {len(seconds)})")
    # What a deleted key leaves in the HSMs goes too, soon after.
    deadline = time.monotonic() + 60
    while key_objects(kit) != objects:
        assert time.monotonic() < deadline, f"objects by HSM: {key_objects(kit)}, before {objects}"
        time.sleep(0.2)


def key_objects(kit: Casemate) -> list[int]:
    """How many keys each HSM's token holds."""
    return [len(token_files.keys(folder)) for folder in sorted((kit.data / "hsm").glob("hsm-*")) if folder.is_dir()]


def test_a_person_is_who_they_were(kit: Casemate) -> None:
    """What was deleted comes back as the same: access keys, and what key policies call by unique ids."""
    iam = kit.client("iam")
    bob = kit.person("bob")
    for key in iam.list_access_keys(UserName="bob")["AccessKeyMetadata"]:
        iam.delete_access_key(UserName="bob", AccessKeyId=key["AccessKeyId"])
    for group in iam.list_groups_for_user(UserName="bob")["Groups"]:
        iam.remove_user_from_group(GroupName=group["GroupName"], UserName="bob")
    iam.delete_login_profile(UserName="bob")
    iam.delete_user(UserName="bob")
    with pytest.raises(Exception, match=r"UnrecognizedClientException"):
        kit.client("kms", bob).encrypt(KeyId=KEY, Plaintext=b"x")
    kit.reset()
    assert kit.client("kms", bob).encrypt(KeyId=KEY, Plaintext=b"x")["CiphertextBlob"]


def test_what_rows_do_not_bring_back_does_a_new_copy(kit: Casemate) -> None:
    before = what_there_is(kit)
    kms = kit.client()
    (store,) = kms.describe_custom_key_stores()["CustomKeyStores"]
    kms.disconnect_custom_key_store(CustomKeyStoreId=store["CustomKeyStoreId"])
    port = kit.port
    kit.reset(ACCOUNT)
    assert kit.port == port
    assert what_there_is(kit) == before
    assert kit.create_key()
    kit.reset()


def test_an_account_that_was_not_there_is_refused(kit: Casemate) -> None:
    with pytest.raises(ResetError, match=f"There were: {ACCOUNT}, {OTHER}."):
        kit.reset("999999999999")


@pytest.mark.parametrize("token", ["", "Bearer ", "Bearer wrong", "Basic eDp5"])
@pytest.mark.parametrize("account", [ACCOUNT, "../token", ""])
def test_nobody_else_can_ask(kit: Casemate, token: str, account: str) -> None:
    kms = kit.client()
    kms.tag_resource(KeyId=KEY, Tags=[{"TagKey": "stays", "TagValue": "yes"}])
    request = urllib.request.Request(  # noqa: S310
        f"{kit.url}/reset/", data=f"account={account}".encode(), headers={"Authorization": token}
    )
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(request)  # noqa: S310
    assert refused.value.code == 404
    assert kms.list_resource_tags(KeyId=KEY)["Tags"]
    kit.reset()


def test_a_person_who_is_not_there_is_named(kit: Casemate) -> None:
    with pytest.raises(LookupError, match="There is no 'zoe' here"):
        kit.person("zoe")
