"""I6: what isn't ASCII is kept as it was sent, or refused as the model's pattern says; over the wire and back."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from botocore.exceptions import ClientError

from kmsapp.testing import Casemate
from kmsapp.tests.fuzz.java_patterns import matches
from kmsapp.tests.fuzz.mutations import UNICODE
from kmsapp.tests.fuzz.published import service
from kmsapp.tests.refusals import refusal
from kmsapp.tests.server_logs import no_bug
from kmsapp.tests.signed_http import post

KEY = "1234abcd-12ab-34cd-56ef-1234567890ab"
STORE = "cks-1234567890abcdef0"
NAME = "ExampleKeyStore"
ROLE, TRUST = (
    "unicode",
    '{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"*"},"Action":"sts:AssumeRole"}]}',
)
TEXTS = [*UNICODE.values(), "naïve “quoted” 日本語 עברית ไทย", "\U0010ffff", "\u0130", "\ufb03", "\u1e9e"]


@pytest.fixture(autouse=True)
def the_server_meets_no_bug_of_its_own(casemate: Casemate) -> Iterator[None]:
    with no_bug(casemate):
        yield


class Place:
    """Where a text can stand: how it is put there and read again, and what its pattern is."""

    def __init__(self, shape: str, put: Callable[[str], Any], read: Callable[[], list[str]], *, prefix: str = "kms"):
        self.put, self.read = put, read
        self._shape = service(prefix).shape(shape)

    def is_allowed(self, text: str) -> bool:
        shape = self._shape
        fits = shape.get("min", 0) <= len(text) <= shape.get("max", len(text))
        return fits and ("pattern" not in shape or matches(shape["pattern"], text))


def places(casemate: Casemate) -> dict[str, Place]:
    kms, iam = (casemate.boto3(name, parameter_validation=False) for name in ("kms", "iam"))
    key = {"KeyId": KEY}
    store = {"CustomKeyStoreId": STORE}

    def rename(text: str) -> Any:
        return kms.update_custom_key_store(**store, NewCustomKeyStoreName=text)

    def names() -> list[str]:
        (found,) = kms.describe_custom_key_stores(**store)["CustomKeyStores"]
        return [found["CustomKeyStoreName"]]

    def tagged(text: str) -> Any:
        return iam.tag_role(RoleName=ROLE, Tags=[{"Key": "unicode", "Value": text}])

    return {
        "a store's name": Place("CustomKeyStoreNameType", rename, names),
        "a role's description": Place(
            "roleDescriptionType",
            lambda text: iam.update_role_description(RoleName=ROLE, Description=text),
            lambda: [iam.get_role(RoleName=ROLE)["Role"].get("Description", "")],
            prefix="iam",
        ),
        "the value of a role's tag": Place(
            "tagValueType",
            tagged,
            lambda: [tag["Value"] for tag in iam.list_role_tags(RoleName=ROLE)["Tags"]],
            prefix="iam",
        ),
        "a user's name": Place(
            "userNameType",
            lambda text: iam.create_user(UserName=text),
            lambda: [user["UserName"] for user in iam.list_users()["Users"]],
            prefix="iam",
        ),
        "an alias": Place(
            "AliasNameType",
            lambda text: kms.create_alias(AliasName=f"alias/{text}", TargetKeyId=KEY),
            lambda: [alias["AliasName"].removeprefix("alias/") for alias in kms.list_aliases(Limit=100)["Aliases"]],
        ),
        "a grant's name": Place(
            "GrantNameType",
            lambda text: kms.create_grant(
                **key, GranteePrincipal="arn:aws:iam::111122223333:user/bob", Operations=["Decrypt"], Name=text
            ),
            lambda: [grant.get("Name", "") for grant in kms.list_grants(**key)["Grants"]],
        ),
    }


def test_a_text_is_kept_as_it_was_sent_or_refused_by_its_pattern(casemate: Casemate) -> None:
    iam, kms = casemate.boto3("iam"), casemate.boto3("kms")
    iam.create_role(RoleName=ROLE, AssumeRolePolicyDocument=TRUST)
    counts: Counter[str] = Counter()
    try:
        for (name, place), text in itertools.product(places(casemate).items(), TEXTS):
            if place.is_allowed(text):
                place.put(text)
                assert text in place.read(), (name, ascii(text))
                counts["kept"] += 1
            else:
                with pytest.raises(ClientError) as refused:
                    place.put(text)
                error = refused.value.response
                assert error["ResponseMetadata"]["HTTPStatusCode"] == 400, (name, ascii(text))
                assert error["Error"]["Code"] in ("ValidationException", "ValidationError"), (name, ascii(text))
                counts["refused"] += 1
    finally:
        kms.update_custom_key_store(CustomKeyStoreId=STORE, NewCustomKeyStoreName=NAME)
        iam.delete_role(RoleName=ROLE)
    assert counts["kept"] > 20 and counts["refused"] > 20
    print(f"I6: {len(TEXTS)} texts in {len(places(casemate))} places: {dict(counts)}")


def test_a_description_of_a_key_holds_any_text(casemate: Casemate) -> None:
    """All of them in one, and as many characters beyond the basic plane as a description has."""
    kms = casemate.boto3("kms", parameter_validation=False)
    in_store = {"Origin": "AWS_CLOUDHSM", "CustomKeyStoreId": STORE}
    for description in ("|".join(TEXTS), "\U0001f511" * 8192):
        made = kms.create_key(**in_store, Description=description)["KeyMetadata"]
        assert made["Description"] == description
        assert kms.describe_key(KeyId=made["KeyId"])["KeyMetadata"]["Description"] == description
    refused = refusal(kms.create_key, **in_store, Description="\U0001f511" * 8193)
    assert refused is not None and refused.code == "ValidationException"


def test_texts_that_look_alike_are_not_the_same(casemate: Casemate) -> None:
    """Composed and decomposed, full width, Cyrillic: as tags two tags, as an encryption context another one."""
    kms = casemate.boto3("kms")
    alike = [
        ("caf\u00e9", "cafe\u0301"),
        ("alias", "\uff41\uff4c\uff49\uff41\uff53"),
        ("pay", "p\u0430y"),
        ("K", "\u212a"),
    ]
    for one, other in alike:
        blob = kms.encrypt(KeyId=KEY, Plaintext=b"x", EncryptionContext={"text": one})["CiphertextBlob"]
        assert kms.decrypt(CiphertextBlob=blob, EncryptionContext={"text": one})["Plaintext"] == b"x"
        for wrong in ({"text": other}, {"text": one.swapcase()}, {}):
            refused = refusal(kms.decrypt, CiphertextBlob=blob, EncryptionContext=wrong)
            assert refused is not None and refused.code == "InvalidCiphertextException", (one, wrong)
    print(f"I6: {len(alike)} pairs of texts that look alike, told apart by Decrypt")


def test_what_no_text_holds_is_refused_in_every_member(casemate: Casemate) -> None:
    """NUL and half a pair, spelt as JSON spells them, in every member of KMS's that is a text."""
    counts: Counter[str] = Counter()
    kms = service("kms")
    for operation in ("DescribeKey", "CreateKey", "CreateAlias", "CreateGrant", "ListKeys", "UpdateCustomKeyStore"):
        for name, member in kms.input(operation)["members"].items():
            if kms.shape(member["shape"])["type"] != "string":
                continue
            for spelt in ("\\u0000", "a\\u0000b", "\\ud800", "\\udc00\\ud800", "\\ud83d\\ud83d\\udd11"):
                answer = post(casemate, f'{{"{name}":"{spelt}"}}'.encode(), operation=operation)
                assert (answer.status, answer.code) == (400, "ValidationException"), (operation, name, spelt)
                counts[operation] += 1
    print(f"I6: {counts.total()} texts with NUL or half a pair refused: {dict(counts)}")
