"""The AWS Encryption SDK for Python on keys of a custom key store: its master key providers, and the keyrings of the
AWS Cryptographic Material Providers Library that have followed them.
"""

from __future__ import annotations

import io
import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata
from typing import Any

import aws_encryption_sdk
import boto3
import pytest
from aws_cryptographic_material_providers.mpl import AwsCryptographicMaterialProviders
from aws_cryptographic_material_providers.mpl.config import MaterialProvidersConfig
from aws_cryptographic_material_providers.mpl.models import (
    CreateAwsKmsDiscoveryKeyringInput,
    CreateAwsKmsKeyringInput,
    CreateAwsKmsMrkMultiKeyringInput,
    CreateAwsKmsMultiKeyringInput,
    CreateDefaultCryptographicMaterialsManagerInput,
    CreateRequiredEncryptionContextCMMInput,
    DiscoveryFilter,
)
from aws_encryption_sdk import CachingCryptoMaterialsManager, LocalCryptoMaterialsCache
from aws_encryption_sdk.exceptions import AWSEncryptionSDKClientError, DecryptKeyError
from botocore.exceptions import ClientError

from kmsapp.testing import Casemate
from kmsapp.tests.clients.shell import environment_of, this_process_in
from kmsapp.tests.wire_world import IN_STORE

CONTEXT = {"Department": "IT", "Ort": "Zürich"}
OTHER_CONTEXT = {"Department": "HR", "Ort": "Zürich"}
TEN_MEGABYTES = 10_000_000
MPL = "aws-cryptographic-material-providers"
MESSAGE = b"meet me at noon"


@dataclass(frozen=True)
class Kms:
    """alice's client, what it was answered, and the ARNs of two keys."""

    client: Any
    answers: Counter[str]
    first: str
    second: str


def answers_to(client: Any) -> Counter[str]:
    """Counts from now on what the client is answered: "Decrypt", "Decrypt: InvalidCiphertextException"."""
    answers = Counter[str]()

    def count(model: Any, parsed: dict[str, Any], **_: Any) -> None:
        answers[": ".join([model.name, *([parsed["Error"]["Code"]] if "Error" in parsed else [])])] += 1

    client.meta.events.register("after-call.kms", count)
    return answers


@pytest.fixture(scope="module")
def kms(casemate: Casemate, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kms]:
    with this_process_in(environment_of(casemate, tmp_path_factory.mktemp("home"))):
        client = boto3.client("kms")
        first, second = (client.create_key(**IN_STORE)["KeyMetadata"]["Arn"] for _ in range(2))
        yield Kms(client, answers_to(client), first, second)


@pytest.fixture(scope="module")
def sdk() -> Any:
    return aws_encryption_sdk.EncryptionSDKClient()  # with key commitment and signatures


@pytest.fixture(scope="module")
def mpl() -> Any:
    return AwsCryptographicMaterialProviders(config=MaterialProvidersConfig())


def provider_of(*arns: str) -> Any:
    """It makes its clients itself, from the environment alone."""
    return aws_encryption_sdk.StrictAwsKmsMasterKeyProvider(key_ids=arns)


def keyring_of(mpl: Any, kms: Kms, arn: str) -> Any:
    return mpl.create_aws_kms_keyring(CreateAwsKmsKeyringInput(kms_key_id=arn, kms_client=kms.client))


def test_a_master_key_provider_seals_and_opens_with_its_encryption_context(kms: Kms, sdk: Any) -> None:
    provider = provider_of(kms.first)
    sealed, header = sdk.encrypt(source=MESSAGE, key_provider=provider, encryption_context=CONTEXT)
    assert [key.key_provider.key_info.decode() for key in header.encrypted_data_keys] == [kms.first]
    opened, header = sdk.decrypt(source=sealed, key_provider=provider)
    assert opened == MESSAGE
    assert header.encryption_context.items() >= CONTEXT.items()
    # The context stands in the message, where anybody can change it: KMS refuses to open the data key then.
    forged = sealed.replace(b"IT", b"HR", 1)
    with pytest.raises(DecryptKeyError):
        sdk.decrypt(source=forged, key_provider=provider)


def test_a_provider_of_other_keys_does_not_open(kms: Kms, sdk: Any) -> None:
    sealed, _ = sdk.encrypt(source=MESSAGE, key_provider=provider_of(kms.first))
    with pytest.raises(AWSEncryptionSDKClientError):
        sdk.decrypt(source=sealed, key_provider=provider_of(kms.second))


def test_two_master_keys_each_open_what_both_sealed(kms: Kms, sdk: Any) -> None:
    sealed, header = sdk.encrypt(source=MESSAGE, key_provider=provider_of(kms.first, kms.second))
    assert len(header.encrypted_data_keys) == 2
    for arn in (kms.first, kms.second):
        assert sdk.decrypt(source=sealed, key_provider=provider_of(arn))[0] == MESSAGE


def test_discovery_finds_the_key_that_the_message_names(kms: Kms, sdk: Any) -> None:
    sealed, _ = sdk.encrypt(source=MESSAGE, key_provider=provider_of(kms.second))
    discovery = aws_encryption_sdk.DiscoveryAwsKmsMasterKeyProvider()
    assert sdk.decrypt(source=sealed, key_provider=discovery)[0] == MESSAGE


def test_a_cached_data_key_seals_many_messages(kms: Kms, sdk: Any) -> None:
    provider = provider_of(kms.first)
    provider.add_regional_client(kms.first.split(":")[3])
    (client,) = provider._regional_clients.values()
    answers = answers_to(client)
    manager = CachingCryptoMaterialsManager(
        master_key_provider=provider, cache=LocalCryptoMaterialsCache(10), max_age=600.0, max_messages_encrypted=10
    )
    sealed = [sdk.encrypt(source=MESSAGE, materials_manager=manager, encryption_context=CONTEXT)[0] for _ in range(20)]
    assert all(sdk.decrypt(source=message, materials_manager=manager)[0] == MESSAGE for message in sealed)
    assert answers == {"GenerateDataKey": 2, "Decrypt": 2}


def test_ten_megabytes_are_streamed(kms: Kms, sdk: Any, mpl: Any) -> None:
    keyring, plaintext = keyring_of(mpl, kms, kms.first), os.urandom(TEN_MEGABYTES)
    kms.answers.clear()
    sealed, opened = io.BytesIO(), io.BytesIO()
    with sdk.stream(mode="e", source=io.BytesIO(plaintext), keyring=keyring, encryption_context=CONTEXT) as stream:
        for chunk in stream:
            sealed.write(chunk)
    sealed.seek(0)
    with sdk.stream(mode="d", source=sealed, keyring=keyring) as stream:
        for chunk in stream:
            opened.write(chunk)
    assert opened.getvalue() == plaintext
    assert kms.answers == {"GenerateDataKey": 1, "Decrypt": 1}
    print(f"{TEN_MEGABYTES:,} bytes sealed and opened with {sum(kms.answers.values())} calls")


def test_a_context_that_is_kept_out_of_the_message_must_be_given_again(kms: Kms, sdk: Any, mpl: Any) -> None:
    keyring = keyring_of(mpl, kms, kms.first)
    below = mpl.create_default_cryptographic_materials_manager(
        CreateDefaultCryptographicMaterialsManagerInput(keyring=keyring)
    )
    manager = mpl.create_required_encryption_context_cmm(
        CreateRequiredEncryptionContextCMMInput(underlying_cmm=below, required_encryption_context_keys=["Department"])
    )
    sealed, _ = sdk.encrypt(source=MESSAGE, materials_manager=manager, encryption_context=CONTEXT)
    assert sdk.decrypt(source=sealed, materials_manager=manager, encryption_context=CONTEXT)[0] == MESSAGE
    # Only KMS can tell that this one is wrong.
    kms.answers.clear()
    with pytest.raises(AWSEncryptionSDKClientError):
        sdk.decrypt(source=sealed, materials_manager=manager, encryption_context=OTHER_CONTEXT)
    assert kms.answers == {"Decrypt: InvalidCiphertextException": 1}


def test_a_multi_keyring_of_two_keys_is_opened_by_each(kms: Kms, sdk: Any, mpl: Any) -> None:
    both = mpl.create_aws_kms_multi_keyring(
        CreateAwsKmsMultiKeyringInput(generator=kms.first, kms_key_ids=[kms.second])
    )
    sealed, header = sdk.encrypt(source=MESSAGE, keyring=both, encryption_context=CONTEXT)
    assert len(header.encrypted_data_keys) == 2
    for arn in (kms.first, kms.second):
        assert sdk.decrypt(source=sealed, keyring=keyring_of(mpl, kms, arn))[0] == MESSAGE
    aware = mpl.create_aws_kms_mrk_multi_keyring(CreateAwsKmsMrkMultiKeyringInput(generator=kms.second))
    assert sdk.decrypt(source=sealed, keyring=aware)[0] == MESSAGE


def test_a_discovery_keyring_keeps_to_its_accounts(kms: Kms, sdk: Any, mpl: Any) -> None:
    sealed, _ = sdk.encrypt(source=MESSAGE, keyring=keyring_of(mpl, kms, kms.first))

    def opened_in(account: str) -> bytes:
        accounts = DiscoveryFilter(partition="aws", account_ids=[account])
        given = CreateAwsKmsDiscoveryKeyringInput(kms_client=kms.client, discovery_filter=accounts)
        opened: bytes = sdk.decrypt(source=sealed, keyring=mpl.create_aws_kms_discovery_keyring(given))[0]
        return opened

    assert opened_in("111122223333") == MESSAGE
    with pytest.raises(AWSEncryptionSDKClientError):
        opened_in("444455556666")


def test_a_message_of_a_keyring_is_opened_by_a_master_key_provider_and_the_reverse(
    kms: Kms, sdk: Any, mpl: Any
) -> None:
    keyring, provider = keyring_of(mpl, kms, kms.first), provider_of(kms.first)
    sealed, _ = sdk.encrypt(source=MESSAGE, keyring=keyring, encryption_context=CONTEXT)
    assert sdk.decrypt(source=sealed, key_provider=provider)[0] == MESSAGE
    sealed, _ = sdk.encrypt(source=MESSAGE, key_provider=provider, encryption_context=CONTEXT)
    assert sdk.decrypt(source=sealed, keyring=keyring)[0] == MESSAGE


def test_what_kms_refuses_is_told_by_its_name(kms: Kms, sdk: Any) -> None:
    absent = f"{kms.first.rpartition('/')[0]}/1234abcd-12ab-34cd-56ef-000000000000"
    with pytest.raises(AWSEncryptionSDKClientError) as refused:
        sdk.encrypt(source=MESSAGE, key_provider=provider_of(absent))
    assert isinstance(refused.value.__context__, ClientError)
    assert refused.value.__context__.response["Error"]["Code"] == "NotFoundException"
    versions = (f"{name} {metadata.version(name)}" for name in ("aws-encryption-sdk", MPL))
    print(", ".join(versions))
