"""The three AWS CLI commands of the scope document, as printed there, against its listings, field by field.

The document is AWS's page "Creating KMS keys in a custom key store". Its listings are no valid JSON (a list without
braces, commas missing and too many), so they stand here as data, and where the document lies beside the repository a
test holds every field of ours against its text.
"""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509

from kmsapp.testing import ROOT, Casemate

DOCUMENT = ROOT.parent / "shared" / "seed" / "creating-kms-keys-in-a-custom-key-store.txt"

DESCRIBE_STORES = "aws kms describe-custom-key-stores --custom-key-store-id cks-1234567890abcdef0"
DESCRIBE_CLUSTERS = "aws cloudhsmv2 describe-clusters"
CREATE_KEY = "aws kms create-key --origin AWS_CLOUDHSM --custom-key-store-id cks-1234567890abcdef0"

STORES: dict[str, Any] = {
    "CustomKeyStores": [
        {
            "CustomKeyStoreId": "cks-1234567890abcdef0",
            "CustomKeyStoreName": "ExampleKeyStore",
            "CloudHsmClusterId": "cluster-1a23b4cdefg",
            "TrustAnchorCertificate": "<certificate string appears here>",
            "CreationDate": "1.499288695918E9",
            "ConnectionState": "CONNECTED",
        }
    ]
}
CLUSTERS: dict[str, Any] = {
    "Clusters": [
        {
            "SubnetMapping": "...",
            "CreateTimestamp": 1507133412.351,
            "ClusterId": "cluster-1a23b4cdefg",
            "SecurityGroup": "sg-865af2fb",
            "HsmType": "hsm1.medium",
            "VpcId": "vpc-1a2b3c4d",
            "BackupPolicy": "DEFAULT",
            "Certificates": {
                "ClusterCertificate": r"-----BEGIN CERTIFICATE-----\...\n-----END CERTIFICATE-----\n",
            },
            "Hsms": [
                {
                    "AvailabilityZone": "us-west-2a",
                    "EniIp": "10.0.1.11",
                    "ClusterId": "cluster-1a23b4cdefg",
                    "EniId": "eni-ea8647e1",
                    "StateMessage": "HSM created.",
                    "SubnetId": "subnet-a6b10bd1",
                    "HsmId": "hsm-abcdefghijk",
                    "State": "ACTIVE",
                },
                {
                    "AvailabilityZone": "us-west-2b",
                    "EniIp": "10.0.0.2",
                    "ClusterId": "cluster-1a23b4cdefg",
                    "EniId": "eni-ea8647e1",
                    "StateMessage": "HSM created.",
                    "SubnetId": "subnet-b6b10bd2",
                    "HsmId": "hsm-zyxwvutsrqp",
                    "State": "ACTIVE",
                },
            ],
            "State": "ACTIVE",
        }
    ]
}
KEY: dict[str, Any] = {
    "KeyMetadata": {
        "AWSAccountId": "111122223333",
        "Arn": "arn:aws:kms:us-west-2:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab",
        "CreationDate": 1.499288695918e9,
        "Description": "Example key",
        "Enabled": True,
        "MultiRegion": False,
        "KeyId": "1234abcd-12ab-34cd-56ef-1234567890ab",
        "KeyManager": "CUSTOMER",
        "KeyState": "Enabled",
        "KeyUsage": "ENCRYPT_DECRYPT",
        "Origin": "AWS_CLOUDHSM",
        "CloudHsmClusterId": "cluster-1a23b4cdefg",
        "CustomKeyStoreId": "cks-1234567890abcdef0",
        "KeySpec": "SYMMETRIC_DEFAULT",
        "CustomerMasterKeySpec": "SYMMETRIC_DEFAULT",
        "EncryptionAlgorithms": ["SYMMETRIC_DEFAULT"],
    }
}

# Where an answer may differ from the listing, and why. A path names all members of a list at once.
DIFFERENT = {
    "CustomKeyStores.TrustAnchorCertificate": "new each time: the certificate of this installation",
    "CustomKeyStores.CreationDate": "new each time; the sample prints the number as a string, the CLI as a number",
    "Clusters.CreateTimestamp": "new each time",
    "Clusters.SubnetMapping": "left out in the sample: {zone: subnet}",
    "Clusters.Certificates.ClusterCertificate": "new each time: the certificate of this installation",
    "KeyMetadata.Arn": "new each time: it ends in the key id",
    "KeyMetadata.KeyId": "new each time",
    "KeyMetadata.CreationDate": "new each time",
    "KeyMetadata.Description": "the sample's command gives no description, so it can't have had one",
}
# What AWS's answers have today and had not when the document was written; the value that must be there.
ADDED_LATER: dict[str, object] = {
    "CustomKeyStores.CustomKeyStoreType": "AWS_CLOUDHSM",
    "Clusters.Mode": "FIPS",
    "Clusters.NetworkType": "IPV4",
    "Clusters.TagList": [],
    "Clusters.BackupRetentionPolicy": {"Type": "DAYS", "Value": "90"},
    "Clusters.Hsms.HsmType": "hsm1.medium",
}

LISTINGS = {DESCRIBE_STORES: STORES, DESCRIBE_CLUSTERS: CLUSTERS, CREATE_KEY: KEY}


def run(casemate: Casemate, command: str) -> dict[str, Any]:
    program, *arguments = shlex.split(command)
    assert program == "aws"
    done = casemate.cli(*arguments)
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def flat(value: Any, path: str = "") -> dict[str, list[Any]]:
    """Every field of an answer by its path, with the values it has in all members of the lists above it, in order."""
    found: dict[str, list[Any]] = {}
    for name, inner in value.items():
        at = f"{path}.{name}".lstrip(".")
        if isinstance(inner, dict) and at not in DIFFERENT | ADDED_LATER:
            parts = [inner]
        elif isinstance(inner, list) and inner and isinstance(inner[0], dict):
            parts = inner
        else:
            found.setdefault(at, []).append(inner)
            continue
        for part in parts:
            for key, values in flat(part, at).items():
                found.setdefault(key, []).extend(values)
    return found


@pytest.mark.parametrize("command", LISTINGS)
def test_the_command_answers_as_the_document_prints(casemate: Casemate, command: str) -> None:
    listing, answer = flat(LISTINGS[command]), flat(run(casemate, command))
    assert answer.keys() - ADDED_LATER.keys() == listing.keys(), "no field more, none missing"
    compared = listing.keys() - DIFFERENT.keys()
    for path in compared:
        assert answer[path] == listing[path], path
    for path in answer.keys() & ADDED_LATER.keys():
        assert all(value == ADDED_LATER[path] for value in answer[path]), (path, answer[path])
    excepted = listing.keys() & DIFFERENT.keys()
    print(f"{command.split()[2]}: {len(compared)} fields equal, {len(excepted)} excepted, of {len(answer)}")


def test_what_is_new_each_time_has_the_form_of_the_listing(casemate: Casemate) -> None:
    (store,) = run(casemate, DESCRIBE_STORES)["CustomKeyStores"]
    (cluster,) = run(casemate, DESCRIBE_CLUSTERS)["Clusters"]
    metadata = run(casemate, CREATE_KEY)["KeyMetadata"]
    for certificate in (store["TrustAnchorCertificate"], cluster["Certificates"]["ClusterCertificate"]):
        assert certificate.startswith("-----BEGIN CERTIFICATE-----\n")
        assert certificate.endswith("\n-----END CERTIFICATE-----\n")
        x509.load_pem_x509_certificate(certificate.encode())
    assert (casemate.data / "demo" / "customerCA.crt").read_text() == store["TrustAnchorCertificate"]
    assert cluster["SubnetMapping"] == {"us-west-2a": "subnet-a6b10bd1", "us-west-2b": "subnet-b6b10bd2"}
    for date in (store["CreationDate"], cluster["CreateTimestamp"], metadata["CreationDate"]):
        assert isinstance(date, float) and 1.7e9 < date < 1e10, date
    assert re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", metadata["KeyId"])
    assert metadata["Arn"] == f"arn:aws:kms:us-west-2:111122223333:key/{metadata['KeyId']}"
    assert metadata["Description"] == ""


def test_the_key_of_the_listing_exists_under_its_own_id(casemate: Casemate) -> None:
    """What CreateKey can't repeat, DescribeKey shows: the demo has the document's own key."""
    listing = KEY["KeyMetadata"]
    metadata = casemate.boto3("kms").describe_key(KeyId=listing["KeyId"])["KeyMetadata"]
    assert metadata.pop("CreationDate")
    assert metadata == {name: value for name, value in listing.items() if name != "CreationDate"}


def test_a_store_is_found_by_name_and_not_by_both(casemate: Casemate) -> None:
    """The document: use the CustomKeyStoreId or CustomKeyStoreName parameter, but not both."""
    named = run(casemate, "aws kms describe-custom-key-stores --custom-key-store-name ExampleKeyStore")
    assert named["CustomKeyStores"][0]["CustomKeyStoreId"] == "cks-1234567890abcdef0"
    both = casemate.cli(*shlex.split(DESCRIBE_STORES)[1:], "--custom-key-store-name", "ExampleKeyStore")
    assert both.returncode != 0 and "ValidationException" in both.stderr


def tokens(value: Any) -> set[str]:
    """Names and values of a listing as the document writes them."""
    if isinstance(value, dict):
        return {f'"{name}":' for name in value}.union(*(tokens(inner) for inner in value.values()))
    if isinstance(value, list):
        return set().union(*(tokens(inner) for inner in value))
    if isinstance(value, bool):
        return {str(value).lower()}
    return {"1.499288695918E9" if value == 1.499288695918e9 else str(value)}


def documents() -> list[Path]:
    return [DOCUMENT] if DOCUMENT.exists() else []


@pytest.mark.parametrize("document", documents())
def test_our_copy_of_the_listings_is_the_documents(document: Path) -> None:
    """Runs where the document lies beside the repository; it is not ours to put into it."""
    text = document.read_text()
    for command, listing in LISTINGS.items():
        start = text.index(f"$ {command} {{")
        printed = text[start:].partition("\n")[0]
        missing = {token for token in tokens(listing) if token not in printed}
        assert not missing, (command, missing)
        names = set(re.findall(r'"([A-Za-z]+)":', printed))
        assert names == {token[1:-2] for token in tokens(listing) if token.endswith('":')}, command
