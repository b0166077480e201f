"""CreateKey refused, by every way in: boto3, the AWS CLI, the wizard. No key, alias, row or token object remains.

Django admin makes no keys: that it offers no way to is tested here too.
"""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from kmsapp.access import CIPHERTEXT_DENIED
from kmsapp.testing import Casemate
from kmsapp.tests.browser_client import BrowserClient, Page
from kmsapp.tests.refusals import refusal
from kmsapp.tests.remains import nothing_remains, query, remains
from kmsapp.tests.token_copies import HSMS

STORE = "cks-1234567890abcdef0"
DEMO_KEY = "1234abcd-12ab-34cd-56ef-1234567890ab"
KEY_ARN = f"arn:aws:kms:us-west-2:111122223333:key/{DEMO_KEY}"
IN_STORE = {"Origin": "AWS_CLOUDHSM", "CustomKeyStoreId": STORE}
POLICY = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Principal": "*", "Action": "kms:*"}]}


def tag(key: str, value: str = "") -> dict[str, str]:
    return {"TagKey": key, "TagValue": value}


# CreateKey's parameters -> the error that reference/keys.md or the API Reference names.
CREATE_KEY: dict[str, tuple[dict[str, Any], str]] = {
    "unknown store": ({**IN_STORE, "CustomKeyStoreId": "cks-00000000000000000"}, "CustomKeyStoreNotFoundException"),
    "store id of another form": ({**IN_STORE, "CustomKeyStoreId": "no store"}, "CustomKeyStoreNotFoundException"),
    "origin without a store": ({"Origin": "AWS_CLOUDHSM"}, "ValidationException"),
    "store without the origin": ({"CustomKeyStoreId": STORE}, "ValidationException"),
    "store with origin EXTERNAL": ({**IN_STORE, "Origin": "EXTERNAL"}, "ValidationException"),
    "imported key material": ({"Origin": "EXTERNAL"}, "UnsupportedOperationException"),
    "origin AWS_KMS": ({}, "UnsupportedOperationException"),
    "unknown origin": ({**IN_STORE, "Origin": "SOMEWHERE"}, "ValidationException"),
    "RSA": ({**IN_STORE, "KeySpec": "RSA_2048", "KeyUsage": "ENCRYPT_DECRYPT"}, "UnsupportedOperationException"),
    "RSA for signing": (
        {**IN_STORE, "KeySpec": "RSA_4096", "KeyUsage": "SIGN_VERIFY"},
        "UnsupportedOperationException",
    ),
    "ECC": ({**IN_STORE, "KeySpec": "ECC_NIST_P256", "KeyUsage": "SIGN_VERIFY"}, "UnsupportedOperationException"),
    "the old name of KeySpec": (
        {**IN_STORE, "CustomerMasterKeySpec": "RSA_2048", "KeyUsage": "SIGN_VERIFY"},
        "UnsupportedOperationException",
    ),
    "RSA without a usage": ({**IN_STORE, "KeySpec": "RSA_2048"}, "ValidationException"),
    "HMAC": ({**IN_STORE, "KeySpec": "HMAC_256", "KeyUsage": "GENERATE_VERIFY_MAC"}, "UnsupportedOperationException"),
    "symmetric for signing": ({**IN_STORE, "KeyUsage": "SIGN_VERIFY"}, "UnsupportedOperationException"),
    "MultiRegion": ({**IN_STORE, "MultiRegion": True}, "UnsupportedOperationException"),
    "unknown spec": ({**IN_STORE, "KeySpec": "AES_512"}, "ValidationException"),
    "51 tags": ({**IN_STORE, "Tags": [tag(f"t{number}") for number in range(51)]}, "TagException"),
    "a tag twice": ({**IN_STORE, "Tags": [tag("team", "a"), tag("team", "b")]}, "TagException"),
    "a tag of AWS's": ({**IN_STORE, "Tags": [tag("aws:team")]}, "TagException"),
    "a tag with another character": ({**IN_STORE, "Tags": [tag("team!")]}, "TagException"),
    "a tag key too long": ({**IN_STORE, "Tags": [tag("k" * 129)]}, "ValidationException"),
    "a tag value too long": ({**IN_STORE, "Tags": [tag("k", "v" * 257)]}, "ValidationException"),
    "policy that is not JSON": ({**IN_STORE, "Policy": "{not JSON"}, "MalformedPolicyDocumentException"),
    "policy that is a list": ({**IN_STORE, "Policy": "[]"}, "MalformedPolicyDocumentException"),
    "policy without a statement": ({**IN_STORE, "Policy": '{"Version": "x"}'}, "MalformedPolicyDocumentException"),
    "policy about nobody": (
        {**IN_STORE, "Policy": '{"Statement": {"Effect": "Allow", "Action": "kms:*", "Resource": "*"}}'},
        "MalformedPolicyDocumentException",
    ),
    "policy nested 5,000 deep": ({**IN_STORE, "Policy": "[" * 5000 + "]" * 5000}, "MalformedPolicyDocumentException"),
    "policy over 32 KB": ({**IN_STORE, "Policy": json.dumps(POLICY | {"Id": "x" * 32768})}, "LimitExceededException"),
    "policy over 128 KB": ({**IN_STORE, "Policy": json.dumps(POLICY | {"Id": "x" * 131072})}, "ValidationException"),
    "description too long": ({**IN_STORE, "Description": "x" * 8193}, "ValidationException"),
    "description with a NUL": ({**IN_STORE, "Description": "a\0b"}, "ValidationException"),
}
CREATE_ALIAS: dict[str, tuple[dict[str, str], str]] = {
    "no prefix": ({"AliasName": "payments"}, "ValidationException"),
    "AWS's prefix": ({"AliasName": "alias/aws/payments"}, "NotAuthorizedException"),
    "another character": ({"AliasName": "alias/pay ments"}, "ValidationException"),
    "a newline at the end": ({"AliasName": "alias/payments\n"}, "ValidationException"),
    "too long": ({"AliasName": "alias/" + "x" * 251}, "ValidationException"),
    "nothing after the prefix": ({"AliasName": "alias/"}, "ValidationException"),
    "an alias as its target": ({"AliasName": "alias/x", "TargetKeyId": "alias/taken"}, "ValidationException"),
    "no such key": ({"AliasName": "alias/x", "TargetKeyId": "0" * 8 + DEMO_KEY[8:]}, "NotFoundException"),
    "taken": ({"AliasName": "alias/taken"}, "AlreadyExistsException"),
}


@contextmanager
def disconnected_store(casemate: Casemate) -> Iterator[None]:
    kms = casemate.boto3("kms")
    kms.disconnect_custom_key_store(CustomKeyStoreId=STORE)
    wait_for_connection(casemate, "DISCONNECTED")
    try:
        yield
    finally:
        kms.connect_custom_key_store(CustomKeyStoreId=STORE)
        wait_for_connection(casemate, "CONNECTED")


def wait_for_connection(casemate: Casemate, state: str) -> None:
    kms = casemate.boto3("kms")
    casemate.wait_until(
        lambda: kms.describe_custom_key_stores()["CustomKeyStores"][0]["ConnectionState"] == state, f"store {state}"
    )


@contextmanager
def stopped_hsm(casemate: Casemate, hsm_id: str) -> Iterator[None]:
    casemate.manage("hsm", "stop", hsm_id)
    casemate.wait_for_hsms(1)
    try:
        yield
    finally:
        casemate.manage("hsm", "start", hsm_id)
        casemate.wait_for_hsms(2)


@pytest.fixture(scope="module")
def alice(casemate: Casemate) -> BrowserClient:
    browser = BrowserClient(casemate)
    browser.sign_in("alice")
    return browser


@pytest.fixture(scope="module", autouse=True)
def taken_alias(casemate: Casemate) -> None:
    """A name that somebody else has."""
    casemate.boto3("kms").create_alias(AliasName="alias/taken", TargetKeyId=DEMO_KEY)


def test_a_key_that_is_made_is_seen_to_remain(casemate: Casemate) -> None:
    """The measure of all tests below: one key more, and one object more in each token."""
    before = remains(casemate)
    key_id = casemate.boto3("kms").create_key(**IN_STORE, Tags=[tag("a")])["KeyMetadata"]["KeyId"]
    after = remains(casemate)
    assert after.keys - before.keys == {key_id}
    assert [now - then for now, then in zip(after.rows, before.rows, strict=True)] == [1, 0, 1, 1]
    assert [now - then for now, then in zip(after.token_objects, before.token_objects, strict=True)] == [1, 1]


# The wire


@pytest.mark.parametrize(("params", "code"), CREATE_KEY.values(), ids=CREATE_KEY)
def test_create_key_on_the_wire_is_refused(casemate: Casemate, params: dict[str, Any], code: str) -> None:
    kms = casemate.boto3("kms", parameter_validation=False)
    with nothing_remains(casemate):
        refused = refusal(kms.create_key, **params)
    assert refused is not None and (refused.code, refused.status) == (code, 400), refused
    assert refused.message


@pytest.mark.parametrize(("params", "code"), CREATE_ALIAS.values(), ids=CREATE_ALIAS)
def test_create_alias_on_the_wire_is_refused(casemate: Casemate, params: dict[str, str], code: str) -> None:
    kms = casemate.boto3("kms", parameter_validation=False)
    with nothing_remains(casemate):
        refused = refusal(kms.create_alias, **{"TargetKeyId": DEMO_KEY, **params})
    assert refused is not None and (refused.code, refused.status) == (code, 400), refused


def test_a_tag_of_aws_is_refused_for_a_key_that_exists(casemate: Casemate) -> None:
    kms = casemate.boto3("kms")
    with nothing_remains(casemate):
        refused = refusal(kms.tag_resource, KeyId=DEMO_KEY, Tags=[tag("fine"), tag("aws:team")])
    assert refused is not None and refused.code == "TagException"
    assert kms.list_resource_tags(KeyId=DEMO_KEY)["Tags"] == []


# The AWS CLI

CLI_OPTIONS = {
    "unknown store": ["--custom-key-store-id", "cks-00000000000000000"],
    "an asymmetric spec": ["--custom-key-store-id", STORE, "--key-spec", "RSA_2048", "--key-usage", "SIGN_VERIFY"],
    "an HMAC spec": ["--custom-key-store-id", STORE, "--key-spec", "HMAC_256", "--key-usage", "GENERATE_VERIFY_MAC"],
    "MultiRegion": ["--custom-key-store-id", STORE, "--multi-region"],
    "a tag twice": ["--custom-key-store-id", STORE, "--tags", "TagKey=a,TagValue=b", "TagKey=a,TagValue=c"],
}
CLI_CODES = {"unknown store": "CustomKeyStoreNotFoundException", "a tag twice": "TagException"}


def test_the_aws_cli_is_refused_too(casemate: Casemate) -> None:
    """The stock client reads the error's name and sentence."""
    with nothing_remains(casemate):
        for name, options in CLI_OPTIONS.items():
            code = CLI_CODES.get(name, "UnsupportedOperationException")
            assert f"({code}) when calling the CreateKey operation: " in cli_refusal(casemate, *options), name
        imported = casemate.cli("kms", "create-key", "--origin", "EXTERNAL")
        assert "(UnsupportedOperationException) when calling the CreateKey operation: " in imported.stderr
        taken = casemate.cli("kms", "create-alias", "--alias-name", "alias/taken", "--target-key-id", DEMO_KEY)
        assert "(AlreadyExistsException) when calling the CreateAlias operation: " in taken.stderr
    print(f"{len(CLI_OPTIONS) + 2} refusals, as the AWS CLI shows them")


# The wizard


def to_review(alice: BrowserClient, alias: str) -> str:
    """Fill in the wizard up to Review; return the draft's address."""
    page = alice.post("/keys/create/", **CONFIGURED)
    draft = page.location.removesuffix("key-store/")
    steps: tuple[tuple[str, dict[str, str | list[str]]], ...] = (
        ("key-store", {"custom_key_store_id": STORE, "go": "next"}),
        ("labels", {"alias": alias, "description": "kept", "go": "next"}),
        ("tags", {"go": "review"}),
    )
    for step, fields in steps:
        page = alice.post(f"{draft}{step}/", "", **fields)
        assert page.status == 302, page.words
    assert page.location == f"{draft}review/"
    return draft


CONFIGURED = {
    "key_type": "symmetric",
    "key_usage": "ENCRYPT_DECRYPT",
    "origin": "AWS_CLOUDHSM",
    "regionality": "single",
}
# Step, what is posted there, a part of the sentence that must be shown.
WIZARD: dict[str, tuple[str, dict[str, str | list[str]], str]] = {
    "unknown store": ("key-store", {"custom_key_store_id": "cks-00000000000000000"}, "Select a key store"),
    "no alias": ("labels", {"alias": ""}, "alias"),
    "alias with another character": ("labels", {"alias": "pay ments"}, "alias"),
    "AWS's alias prefix": ("labels", {"alias": "aws/payments"}, "aws/"),
    "alias taken": ("labels", {"alias": "taken"}, "taken"),
    "alias too long": ("labels", {"alias": "x" * 251}, "250"),
    "a tag twice": ("tags", {"tag_key": ["team", "team"], "tag_value": ["a", "b"]}, "team"),
    "a tag of AWS's": ("tags", {"tag_key": "aws:team", "tag_value": ""}, "aws:"),
    "a tag with another character": ("tags", {"tag_key": "team!", "tag_value": ""}, "letters"),
    "another account that is none": ("users", {"other_account": "12"}, "12"),
    "policy that is not JSON": ("policy", {"policy": "{not JSON"}, "JSON"),
    "policy over 32 KB": ("policy", {"policy": json.dumps(POLICY | {"Id": "x" * 32768})}, "32"),
}
CONFIGURATIONS = {
    "asymmetric": {"key_type": "asymmetric"},
    "HMAC": {"key_usage": "GENERATE_VERIFY_MAC"},
    "imported key material": {"origin": "EXTERNAL"},
    "origin KMS": {"origin": "AWS_KMS"},
    "Multi-Region": {"regionality": "multi"},
}


@pytest.mark.parametrize("fields", CONFIGURATIONS.values(), ids=CONFIGURATIONS)
def test_the_wizard_refuses_a_key_that_no_custom_key_store_holds(
    casemate: Casemate, alice: BrowserClient, fields: dict[str, str]
) -> None:
    with nothing_remains(casemate):
        page = alice.post("/keys/create/", **CONFIGURED | fields)
    assert page.status == 422


@pytest.mark.parametrize(("step", "fields", "shown"), WIZARD.values(), ids=WIZARD)
def test_a_step_of_the_wizard_refuses(
    casemate: Casemate, alice: BrowserClient, step: str, fields: dict[str, str | list[str]], shown: str
) -> None:
    with nothing_remains(casemate):
        draft = to_review(alice, "correct")
        page = alice.post(f"{draft}{step}/", "", go="next", **fields)
        assert page.status == 422 and shown in page.words, page.words
        finish = alice.post(f"{draft}review/", page=f"{draft}{step}/")
    assert finish.status == 302 and finish.location == f"{draft}{step}/", "Finish leads back to what must be corrected"


def assert_kept(alice: BrowserClient, draft: str, page: Page, code: str, *, help_topic: str) -> None:
    """The wizard shows the error, what to do and help, and the draft is there to go on with."""
    assert code in page.words and "The key wasn't created." in page.words
    assert f'href="/help/{help_topic}' in page.text
    assert alice.get(f"/help/{help_topic}/").status == 200
    again = alice.get(f"{draft}review/")
    assert again.status == 200 and "kept" in again.words


def test_finish_after_the_alias_was_taken_meanwhile(casemate: Casemate, alice: BrowserClient) -> None:
    draft = to_review(alice, "meanwhile")
    casemate.boto3("kms").create_alias(AliasName="alias/meanwhile", TargetKeyId=DEMO_KEY)
    with nothing_remains(casemate):
        page = alice.post(f"{draft}review/", go="finish")
        assert page.status == 400
        assert_kept(alice, draft, page, "AlreadyExistsException", help_topic="troubleshooting-a-key-store")


def test_a_store_that_is_not_connected_makes_no_key_by_any_way_in(casemate: Casemate, alice: BrowserClient) -> None:
    code = "CustomKeyStoreInvalidStateException"
    draft = to_review(alice, "not-connected")
    with disconnected_store(casemate), nothing_remains(casemate):
        refused = refusal(casemate.boto3("kms").create_key, **IN_STORE)
        assert refused is not None and refused.code == code and "DISCONNECTED" in refused.message
        assert code in cli_refusal(casemate)
        page = alice.post(f"{draft}review/", go="finish")
        assert_kept(alice, draft, page, code, help_topic="connecting-a-key-store")
        fresh = alice.post("/keys/create/", **CONFIGURED).location
        assert alice.post(fresh, custom_key_store_id=STORE, go="next").status == 422
    assert_finish_makes_the_key(casemate, alice, draft, "alias/not-connected")


@pytest.mark.parametrize("hsm_id", HSMS)
def test_one_active_hsm_makes_no_key_by_any_way_in(casemate: Casemate, alice: BrowserClient, hsm_id: str) -> None:
    """An HSM is stopped between choosing the store and Finish."""
    code = "CloudHsmClusterInvalidConfigurationException"
    draft = to_review(alice, f"one-{hsm_id}")
    with stopped_hsm(casemate, hsm_id), nothing_remains(casemate):
        refused = refusal(casemate.boto3("kms").create_key, **IN_STORE)
        assert refused is not None and refused.code == code and "1 active HSM in 1 Availability Zone" in refused.message
        assert code in cli_refusal(casemate)
        page = alice.post(f"{draft}review/", go="finish")
        assert_kept(alice, draft, page, code, help_topic="adding-an-hsm")
        fresh = alice.post("/keys/create/", **CONFIGURED).location
        assert alice.post(fresh, custom_key_store_id=STORE, go="next").status == 422
    assert_finish_makes_the_key(casemate, alice, draft, f"alias/one-{hsm_id}")


def test_a_frozen_hsm_makes_no_key(casemate: Casemate) -> None:
    """It still counts as active when the key is begun, takes nothing, and is replaced by a new process of that HSM."""
    pid = casemate.hsm_pid(HSMS[0])
    before = remains(casemate)
    os.kill(pid, signal.SIGSTOP)
    refused = refusal(casemate.boto3("kms").create_key, **IN_STORE)
    assert refused is not None and refused.code == "CloudHsmClusterInvalidConfigurationException"
    casemate.wait_until(lambda: pid not in casemate.server.pids(), "the frozen HSM process to be ended")
    casemate.wait_until(lambda: remains(casemate) == before, "what the frozen HSM held to be cleaned up")
    create_key = casemate.boto3("kms").create_key
    casemate.wait_until(lambda: refusal(create_key, **IN_STORE) is None, "a key on both HSMs")
    casemate.wait_for_hsms(2)


def cli_refusal(casemate: Casemate, *options: str) -> str:
    """What the AWS CLI says to create-key in a key store (the demo's, if the options name none)."""
    options = options or ("--custom-key-store-id", STORE)
    done = casemate.cli("kms", "create-key", "--origin", "AWS_CLOUDHSM", *options)
    assert done.returncode != 0
    return done.stderr


def assert_finish_makes_the_key(casemate: Casemate, alice: BrowserClient, draft: str, alias: str) -> None:
    """The refusal was for the right reason: once the fault is mended, the same Finish works."""
    page = alice.post(f"{draft}review/", go="finish")
    assert page.status == 302, page.words
    assert casemate.boto3("kms").describe_key(KeyId=alias)["KeyMetadata"]["Description"] == "kept"


# Django admin


def test_django_admin_offers_no_way_to_make_or_change_a_key(casemate: Casemate, alice: BrowserClient) -> None:
    primary_key = query(casemate, "SELECT id FROM kmsapp_kmskey WHERE key_id = ?", DEMO_KEY)[0][0]
    with nothing_remains(casemate):
        for model in ("kmsapp/kmskey", "kmsapp/alias", "kmsapp/tag", "hsmapp/maskedkey"):
            assert alice.get(f"/admin/{model}/add/").status == 403, model
        for path in ("delete", "change"):
            page = alice.post(f"/admin/kmsapp/kmskey/{primary_key}/{path}/", page="/keys/create/", post="yes")
            assert page.status == 403, path


# Another account


def test_another_accounts_key_is_denied_whether_it_exists_or_not(casemate: Casemate) -> None:
    carol = casemate.boto3("kms", "carol")
    blob = casemate.boto3("kms").encrypt(KeyId=DEMO_KEY, Plaintext=b"alice's")["CiphertextBlob"]
    absent = KEY_ARN.replace("1234abcd", "00000000")
    calls: dict[str, dict[str, Any]] = {
        "describe_key": {},
        "get_key_policy": {},
        "list_resource_tags": {},
        "tag_resource": {"Tags": [tag("mine")]},
        "encrypt": {"Plaintext": b"x"},
        "decrypt": {"CiphertextBlob": blob},
        "generate_data_key": {"KeySpec": "AES_256"},
        "generate_data_key_without_plaintext": {"KeySpec": "AES_256"},
    }
    with nothing_remains(casemate):
        for name, params in calls.items():
            answers = [refusal(getattr(carol, name), KeyId=arn, **params) for arn in (KEY_ARN, absent)]
            first, second = answers
            assert first is not None and second is not None and first.code == "AccessDeniedException", name
            assert first.message == second.message.replace(absent, KEY_ARN), "the text does not tell which exists"
            assert first.message.startswith("User: arn:aws:iam::444455556666:user/carol is not authorized to perform: ")
            assert f" on resource: {KEY_ARN} because no resource-based policy allows the kms:" in first.message
        assert refusal(carol.decrypt, CiphertextBlob=blob) == ("AccessDeniedException", CIPHERTEXT_DENIED, 400)
        own = refusal(carol.describe_key, KeyId=DEMO_KEY)
        assert own is not None and own.code == "NotFoundException", "an id alone means a key of one's own account"
        theirs = refusal(casemate.boto3("kms", "root of 444455556666").create_key, **IN_STORE)
        assert theirs is not None and theirs.code == "CustomKeyStoreNotFoundException"
    print(f"{len(calls)} operations on another account's key: denied, the key there or not")


def test_another_accounts_key_and_store_are_not_in_the_console(casemate: Casemate) -> None:
    carol = BrowserClient(casemate)
    carol.sign_in("carol")
    root = casemate.boto3("iam", "root of 444455556666")
    everything = "arn:aws:iam::aws:policy/AdministratorAccess"
    root.attach_user_policy(UserName="carol", PolicyArn=everything)
    try:
        _sees_nothing_of_another_account(casemate, carol)
    finally:
        root.detach_user_policy(UserName="carol", PolicyArn=everything)


def _sees_nothing_of_another_account(casemate: Casemate, carol: BrowserClient) -> None:
    with nothing_remains(casemate):
        for path in (f"/keys/{DEMO_KEY}/", f"/key-stores/{STORE}/", "/clusters/cluster-1a23b4cdefg/"):
            page, absent = carol.get(path), carol.get(path.replace("1", "2"))
            assert page.status == absent.status == 404, path
        draft = carol.post("/keys/create/", **CONFIGURED).location
        page = carol.post(draft, custom_key_store_id=STORE, go="next")
        assert page.status == 422 and "Select a key store" in page.words
