"""What many keys in one cluster cost: Encrypt's latency, an HSM process's start and memory; few keys beside many."""

from __future__ import annotations

import os
import signal
import statistics
import time
from pathlib import Path

from kmsapp.testing import Casemate
from kmsapp.tests.bench import calls, driver
from kmsapp.tests.bench.report import figure, table

FEW = 10
HSM_TYPE = "hsm2m.medium"  # takes 16,666 keys
MAKERS = 4  # connections that create keys at the same time; signatures hold for five minutes
MAKE_AT_A_TIME = 500


def measure(casemate: Casemate, keys: int, *, seconds: float, rounds: int) -> list[str]:
    """Make a cluster with that many keys; the lines of a table that compares it with FEW keys."""
    store_id, hsm_ids = _key_store(casemate)
    key_ids = _create_keys(casemate, store_id, FEW)
    rows = [_row(casemate, f"{FEW}", key_ids, hsm_ids, seconds, rounds)]
    started = time.monotonic()
    key_ids += _create_keys(casemate, store_id, keys - FEW)
    took = time.monotonic() - started
    rows.append(_row(casemate, f"{keys:,}", key_ids, hsm_ids, seconds, rounds))
    ratio = float(rows[1][1]) / float(rows[0][1])
    head = ["keys", "Encrypt p50 ms", "p99 ms", "HSM process start s", "MiB, each HSM process"]
    made = (
        f"{keys - FEW:,} keys were made in {took:.0f} s over {MAKERS} connections ({(keys - FEW) / took:.0f} a second)."
    )
    return [*table(head, rows), "", f"Encrypt's median with many keys is {ratio:.2f} times that with {FEW}. {made}"]


def _key_store(casemate: Casemate) -> tuple[str, list[str]]:
    """A connected key store on a further cluster; its id and its HSMs'."""
    cluster_id = casemate.manage("demo", "add-cluster", "--hsm-type", HSM_TYPE).split()[0]
    kms = casemate.boto3("kms")
    folder = casemate.data / "demo"
    store_id = kms.create_custom_key_store(
        CustomKeyStoreName="ManyKeys",
        CloudHsmClusterId=cluster_id,
        TrustAnchorCertificate=(folder / f"{cluster_id}-customerCA.crt").read_text(),
        KeyStorePassword=(folder / f"{cluster_id}-kmsuser-password").read_text().strip(),
    )["CustomKeyStoreId"]
    kms.connect_custom_key_store(CustomKeyStoreId=store_id)

    def connected() -> bool:
        (store,) = kms.describe_custom_key_stores(CustomKeyStoreId=store_id)["CustomKeyStores"]
        return bool(store["ConnectionState"] == "CONNECTED")

    casemate.wait_until(connected, "the key store to be CONNECTED")
    clusters = casemate.boto3("cloudhsmv2").describe_clusters(Filters={"clusterIds": [cluster_id]})["Clusters"]
    return str(store_id), [hsm["HsmId"] for hsm in clusters[0]["Hsms"]]


def _create_keys(casemate: Casemate, store_id: str, count: int) -> list[str]:
    """Make keys and return their ids."""
    kms = casemate.boto3("kms")
    before = _key_ids(kms)
    make = {"Origin": "AWS_CLOUDHSM", "CustomKeyStoreId": store_id}
    left = count
    while left:
        sign = calls.signer(casemate)
        requests = [sign.kms("CreateKey", make) for _ in range(min(left, MAKE_AT_A_TIME))]
        run = driver.counted(driver.Target(sign.port, requests), connections=MAKERS)
        if run.failures:
            raise SystemExit(f"Keys could not be made: {dict(run.failures)}")
        left -= len(requests)
    return sorted(_key_ids(kms) - before)


def _key_ids(kms: object) -> set[str]:
    pages = kms.get_paginator("list_keys").paginate(PaginationConfig={"PageSize": 1000})  # type: ignore[attr-defined]
    return {key["KeyId"] for page in pages for key in page["Keys"]}


def _row(
    casemate: Casemate, name: str, key_ids: list[str], hsm_ids: list[str], seconds: float, rounds: int
) -> list[str]:
    runs = []
    for _ in range(rounds):
        target = calls.encrypt(calls.signer(casemate), key_ids)
        # The first use of a key costs more: the worker reads it from the database, and the HSM verifies its check
        # ciphertext. Two rounds, because the HSMs take turns.
        runs.append(driver.closed_loop(target, connections=1, seconds=seconds, warm_calls=2 * len(target.requests)))
    starts = [_start_seconds(casemate, hsm_id) for hsm_id in hsm_ids]
    memory = [_resident_mib(casemate.hsm_pid(hsm_id)) for hsm_id in hsm_ids]
    return [
        name,
        f"{statistics.median(run.percentile_ms(50) for run in runs):.3f}",
        figure(statistics.median(run.percentile_ms(99) for run in runs)),
        figure(max(starts)),
        figure(max(memory)),
    ]


def _start_seconds(casemate: Casemate, hsm_id: str) -> float:
    """Seconds from the moment an HSM's process is there anew until its HSM is ACTIVE: token opened, keys compared."""
    client = casemate.boto3("cloudhsmv2")
    os.kill(casemate.hsm_pid(hsm_id), signal.SIGKILL)
    casemate.wait_until(lambda: _state(client, hsm_id) != "ACTIVE", f"{hsm_id} to be missed")

    def is_back() -> bool:
        try:
            return bool(casemate.hsm_pid(hsm_id))
        except LookupError:
            return False

    casemate.wait_until(is_back, f"{hsm_id} to be started")
    started = time.monotonic()
    casemate.wait_until(lambda: _state(client, hsm_id) == "ACTIVE", f"{hsm_id} to serve")
    return time.monotonic() - started


def _state(client: object, hsm_id: str) -> str:
    clusters = client.describe_clusters()["Clusters"]  # type: ignore[attr-defined]
    return next(str(hsm["State"]) for cluster in clusters for hsm in cluster["Hsms"] if hsm["HsmId"] == hsm_id)


def _resident_mib(pid: int) -> float:
    line = next(line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmRSS:"))
    return int(line.split()[1]) / 1024
