"""A key store from creation to the refusal to delete with the real AWS CLI, and where its secrets are not."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from kmsapp.testing import Casemate, served_copy
from kmsapp.tests.further_cluster import FurtherCluster

WRONG_PASSWORD = "Wrong1Password"


@pytest.fixture(scope="module")
def own_casemate(stopped_server: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Casemate]:
    """A server of this test's own: its cluster is bound for good once keys are in it."""
    with served_copy(stopped_server, tmp_path_factory.mktemp("cli") / "data", "--immediate") as casemate:
        yield casemate


class Cli:
    """The AWS CLI's kms commands, with the exceptions that were seen."""

    def __init__(self, casemate: Casemate):
        self._casemate = casemate
        self.refusals: list[str] = []

    def run(self, *arguments: str) -> dict[str, Any]:
        done = self._casemate.cli("kms", *arguments)
        assert done.returncode == 0, done.stderr
        return dict(json.loads(done.stdout)) if done.stdout.strip() else {}

    def refused(self, code: str, *arguments: str) -> None:
        done = self._casemate.cli("kms", *arguments)
        assert done.returncode != 0 and f"({code})" in done.stderr, done.stderr
        self.refusals.append(code)


def creation(cluster: FurtherCluster, **changed: str) -> list[str]:
    given = {
        "custom-key-store-name": "SecondStore",
        "cloud-hsm-cluster-id": cluster.cluster_id,
        "trust-anchor-certificate": f"file://{cluster.certificate}",
        "key-store-password": cluster.password,
        **changed,
    }
    return ["create-custom-key-store", *(word for name, value in given.items() for word in (f"--{name}", value))]


def test_the_life_of_a_key_store_by_cli(own_casemate: Casemate, tmp_path: Path) -> None:
    cluster, cli = FurtherCluster(own_casemate), Cli(own_casemate)
    foreign = f"file://{own_casemate.data / 'demo' / 'customerCA.crt'}"
    refusals = {
        "CustomKeyStoreNameInUseException": {"custom-key-store-name": "ExampleKeyStore"},
        "CloudHsmClusterNotFoundException": {"cloud-hsm-cluster-id": "cluster-aaaaaaaaaaa"},
        "CloudHsmClusterInUseException": {"cloud-hsm-cluster-id": "cluster-1a23b4cdefg"},
        "IncorrectTrustAnchorException": {"trust-anchor-certificate": foreign},
    }
    for code, changed in refusals.items():
        cli.refused(code, *creation(cluster, **changed))
    too_few_hsms_are_refused(own_casemate, cluster, cli)
    store_id = cli.run(*creation(cluster, **{"key-store-password": WRONG_PASSWORD}))["CustomKeyStoreId"]
    store = ("--custom-key-store-id", store_id)
    cli.run("connect-custom-key-store", *store)
    (shown,) = cli.run("describe-custom-key-stores", *store)["CustomKeyStores"]
    assert (shown["ConnectionState"], shown["ConnectionErrorCode"]) == ("FAILED", "INVALID_CREDENTIALS")
    told = ("update-custom-key-store", *store, "--key-store-password", cluster.password)
    cli.refused("CustomKeyStoreInvalidStateException", *told)
    cli.run("disconnect-custom-key-store", *store)
    cli.refused("CustomKeyStoreInvalidStateException", "create-key", "--origin", "AWS_CLOUDHSM", *store)
    moved = ("update-custom-key-store", *store, "--cloud-hsm-cluster-id", "cluster-1a23b4cdefg")
    cli.refused("CloudHsmClusterNotRelatedException", *moved)
    assert cli.run(*told) == {}
    assert cli.run("connect-custom-key-store", *store) == {}
    key = cli.run("create-key", "--origin", "AWS_CLOUDHSM", *store)["KeyMetadata"]
    assert (key["CustomKeyStoreId"], key["CloudHsmClusterId"]) == (store_id, cluster.cluster_id)
    assert cli.run("update-custom-key-store", *store, "--new-custom-key-store-name", "Renamed") == {}
    (shown,) = cli.run("describe-custom-key-stores", "--custom-key-store-name", "Renamed")["CustomKeyStores"]
    assert shown["CustomKeyStoreId"] == store_id
    assert shown["TrustAnchorCertificate"] == cluster.certificate.read_text()
    cli.refused("CustomKeyStoreHasCMKsException", "delete-custom-key-store", *store)
    no_password_is_written_anywhere(own_casemate, cluster)
    print(f"{len(cli.refusals)} refusals of {len(set(cli.refusals))} kinds seen")


def too_few_hsms_are_refused(casemate: Casemate, cluster: FurtherCluster, cli: Cli) -> None:
    hsm_id = next(line.split()[0] for line in casemate.manage("hsm", "list").splitlines() if cluster.cluster_id in line)
    casemate.manage("hsm", "stop", hsm_id)
    cli.refused("CloudHsmClusterInvalidConfigurationException", *creation(cluster))
    casemate.manage("hsm", "start", hsm_id)
    casemate.wait_until(lambda: casemate.manage("hsm", "list").count("ACTIVE") == 4, "four HSMs to serve")


def no_password_is_written_anywhere(casemate: Casemate, cluster: FurtherCluster) -> None:
    """Neither the right one nor the wrong one, in database, logs, audit files or what the server printed."""
    known = casemate.data / "demo" / f"{cluster.cluster_id}-kmsuser-password"
    secrets = (cluster.password.encode(), WRONG_PASSWORD.encode())
    searched = [path for path in casemate.data.rglob("*") if path.is_file() and path != known]
    found = [path for path in searched if any(secret in path.read_bytes() for secret in secrets)]
    assert found == []
    assert not any(secret in casemate.server.output.read_bytes() for secret in secrets)
    assert known in casemate.data.rglob("*") and secrets[0] in known.read_bytes(), "the search would find it"
    print(f"{len(searched)} files searched")
