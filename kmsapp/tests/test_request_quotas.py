"""Request quotas: how many, whose, and what counts; on a server with two workers, how exactly."""

from __future__ import annotations

import os
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from django.conf import LazySettings
from django.conf import settings as django_settings

from hsmapp.clock import now
from kmsapp import audit_reading, demo, rate_limits, request_quotas, service_models
from kmsapp.caller import Caller
from kmsapp.errors import AccessDeniedException, DryRunOperationException, KmsError, ThrottlingException
from kmsapp.models import AuditEvent
from kmsapp.request_quotas import THROTTLED, quota_of
from kmsapp.testing import Casemate, Server
from kmsapp.tests.access_matrix_wire import Credentials, Wire
from kmsapp.tests.people import ALICE, BOB, CAROL, ELSEWHERE, MALLORY, call, encrypt

KEY = demo.KEY_ID
ARN = f"arn:aws:kms:{demo.REGION}:{demo.ACCOUNT}:key/{KEY}"
KMS = service_models.service("kms")
WORKERS, OF_STORE = 2, 40


# The table


def test_every_operation_has_a_quota() -> None:
    """https://docs.aws.amazon.com/kms/latest/developerguide/requests-per-second.html"""
    sizes = {name: quota_of(name, "us-west-2") for name in KMS.operation_names}
    known = set(request_quotas.PER_SECOND) - {request_quotas.ASYMMETRIC}
    assert known <= set(KMS.operation_names)
    assert Counter(size for _, size in sizes.values()).most_common(1)[0][0] == 5
    shared = {name for name, (quota, _) in sizes.items() if quota == request_quotas.SYMMETRIC}
    assert shared == {
        *("Decrypt", "Encrypt", "GenerateDataKey", "GenerateDataKeyWithoutPlaintext", "GenerateMac", "GenerateRandom"),
        *("ReEncrypt", "VerifyMac"),
    }
    for region, size in (("us-west-2", 100_000), ("eu-central-1", 20_000), ("eu-north-1", 10_000), ("xx-x-1", 10_000)):
        assert quota_of("Encrypt", region) == (request_quotas.SYMMETRIC, size)
    specs = {spec: quota_of("GenerateDataKeyPair", "us-west-2", spec) for spec in _key_pair_specs()}
    assert specs["RSA_4096"][1] == 1 and specs["ECC_NIST_P256"][1] == 100
    print(f"{len(sizes)} operations, {len(set(sizes.values()))} quotas")


def _key_pair_specs() -> tuple[str, ...]:
    return KMS.shape("DataKeyPairSpec").enum


# Whose, and what counts


class Clock:
    """Stands still until it is set."""

    def __init__(self) -> None:
        self.seconds = 1_000_000_000  # later than all that was counted before

    def __call__(self) -> int:
        return self.seconds * 1_000_000_000

    def next_second(self) -> None:
        self.seconds += 1


@pytest.fixture
def clock(rows: Path, settings: LazySettings, monkeypatch: pytest.MonkeyPatch) -> Iterator[Clock]:
    """Request quotas as AWS has them, in a second that lasts."""
    descriptor = rate_limits.make()
    settings.REQUEST_QUOTAS = f"/proc/{os.getpid()}/fd/{descriptor}"
    clock = Clock()
    monkeypatch.setattr(time, "monotonic_ns", clock)
    yield clock
    request_quotas._counters.cache_clear()
    os.close(descriptor)


def throttled(operation: str, caller: Caller = ALICE, **params: Any) -> bool:
    try:
        call(operation, caller, **params)
    except ThrottlingException as error:
        assert (
            error.message
            == THROTTLED
            == ("You have exceeded the rate at which you may call KMS. Reduce the frequency of your calls.")
        )
        return True
    except KmsError:
        return False
    return False


def until_throttled(operation: str, caller: Caller = ALICE, **params: Any) -> int:
    """How many calls pass before the first that is throttled."""
    for number in range(200):
        if throttled(operation, caller, **params):
            return number
    raise AssertionError(f"{operation} is never throttled")


def test_calls_count_towards_the_quota_of_their_operation_account_and_region(clock: Clock) -> None:
    describe: dict[str, Any] = {"KeyId": KEY, "Description": "x"}
    assert until_throttled("UpdateKeyDescription", **describe) == 5
    assert throttled("UpdateKeyDescription", **describe)
    # Of another operation, by another account, in another Region, and through the console.
    assert not throttled("TagResource", KeyId=KEY, Tags=[])
    assert not throttled("UpdateKeyDescription", ELSEWHERE, **describe)
    assert not throttled("UpdateKeyDescription", replace(ALICE, region="eu-central-1"), **describe)
    assert not throttled("UpdateKeyDescription", replace(ALICE, via="console"), **describe)
    assert throttled("UpdateKeyDescription", BOB, **describe), "one quota for everybody of the account"
    clock.next_second()
    assert until_throttled("UpdateKeyDescription", BOB, **describe) == 5
    assert until_throttled("ListGrants", KeyId=KEY) == 100
    assert until_throttled("TagResource", KeyId=KEY, Tags=[]) == 10
    assert not throttled("iam:ListUsers") and not throttled("sts:GetCallerIdentity")


def test_what_is_denied_or_malformed_counts_too_and_for_the_account_that_called(clock: Clock) -> None:
    wrong: list[tuple[Caller, dict[str, Any]]] = [
        (MALLORY, {"KeyId": KEY, "Description": "x"}),
        (ALICE, {"KeyId": "no key", "Description": "x"}),
        (ALICE, {"Description": "x"}),
    ]
    for caller, params in wrong:
        clock.next_second()
        assert until_throttled("UpdateKeyDescription", caller, **params) == 5
        assert throttled("UpdateKeyDescription", ALICE, KeyId=KEY, Description="x")
    clock.next_second()
    for _ in range(20):
        throttled("UpdateKeyDescription", CAROL, KeyId=ARN, Description="x")
    assert until_throttled("UpdateKeyDescription", ALICE, KeyId=KEY, Description="x") == 5, "carol spends carol's"


def test_regions_of_other_names_than_awss_have_one_quota_together(clock: Clock) -> None:
    callers = [replace(ALICE, region=f"xx-nowhere-{number}") for number in range(9)]
    assert [throttled("CreateAlias", caller) for caller in callers] == [False] * 5 + [True] * 4


def test_a_throttled_call_is_recorded_and_changes_nothing(clock: Clock) -> None:
    until_throttled("UpdateKeyDescription", KeyId=KEY, Description="before")
    assert throttled("UpdateKeyDescription", KeyId=KEY, Description="after")
    assert call("DescribeKey", KeyId=KEY)["KeyMetadata"]["Description"] == "before"
    audit_reading.read_in(now())
    event = AuditEvent.objects.filter(error_code="ThrottlingException").latest("id").event
    assert (event["eventName"], event["errorMessage"]) == ("UpdateKeyDescription", THROTTLED)


def test_a_key_store_has_a_quota_that_only_those_spend_who_may_use_its_keys(
    installation: Path, settings: LazySettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    descriptor = rate_limits.make()
    settings.REQUEST_QUOTAS = f"/proc/{os.getpid()}/fd/{descriptor}"
    settings.KEY_STORE_REQUESTS_PER_SECOND = 6
    clock = Clock()
    blob = encrypt(KEY, b"x")
    monkeypatch.setattr(time, "monotonic_ns", clock)
    uses: dict[str, dict[str, Any]] = {
        "Encrypt": {"KeyId": KEY, "Plaintext": b"x"},
        "Decrypt": {"CiphertextBlob": blob},
        "GenerateDataKey": {"KeyId": KEY, "KeySpec": "AES_256"},
        "GenerateDataKeyWithoutPlaintext": {"KeyId": KEY, "KeySpec": "AES_256"},
        "ReEncrypt": {"CiphertextBlob": blob, "DestinationKeyId": KEY},
        "GenerateRandom": {"NumberOfBytes": 8, "CustomKeyStoreId": demo.KEY_STORE_ID},
    }
    try:
        assert not any(throttled(name, **params) for name, params in uses.items())
        assert all(throttled(name, **params) for name, params in uses.items())
        assert not throttled("GenerateRandom", NumberOfBytes=8), "not of the store"
        clock.next_second()
        for caller in (MALLORY, CAROL):  # who may not use the key
            for _ in range(9):
                with pytest.raises(AccessDeniedException):
                    call("Encrypt", caller, KeyId=ARN, Plaintext=b"x")
        assert until_throttled("Encrypt", **uses["Encrypt"]) == 6
        clock.next_second()
        for _ in range(6):
            with pytest.raises(DryRunOperationException):
                call("Encrypt", **uses["Encrypt"], DryRun=True)
        assert throttled("Encrypt", **uses["Encrypt"]), "a dry run counts"
    finally:
        request_quotas._counters.cache_clear()
        os.close(descriptor)


# Two workers


@pytest.fixture(scope="module")
def casemate(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Casemate]:
    options = ("--immediate", "--quotas", "aws", "--workers", str(WORKERS))
    environment = {"CASEMATE_KEY_STORE_REQUESTS_PER_SECOND": str(OF_STORE)}
    server = Server(tmp_path_factory.mktemp("quotas") / "data", *options, environment=environment)
    server.start()
    try:
        yield Casemate(server)
    finally:
        server.stop()


class Callers:
    """Some connections that call as fast as they can; by second, how many calls were answered how."""

    def __init__(self, casemate: Casemate, *, seconds: float, connections: int = 6):
        person = casemate.person("alice")
        self._credentials = Credentials(person.access_key_id, person.secret_access_key)
        self._port, self._seconds, self._connections = casemate.server.port, seconds, connections
        self.codes: dict[str, Counter[int]] = {}

    def run(self, operation: str, params: dict[str, Any]) -> None:
        until = time.monotonic() + self._seconds
        threads = [
            threading.Thread(target=self._call, args=(operation, params, until)) for _ in range(self._connections)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def _call(self, operation: str, params: dict[str, Any], until: float) -> None:
        wire = Wire(self._port, self._credentials)
        while (began := time.monotonic()) < until:
            code = wire.call(operation, params).code
            if int(began) == int(time.monotonic()):  # else nobody knows which second it was counted in
                self.codes.setdefault(code, Counter())[int(began)] += 1


def test_all_workers_together_answer_what_the_quota_says(casemate: Casemate) -> None:
    for operation, params, most in (
        ("kms:Encrypt", {"KeyId": KEY, "Plaintext": b"x"}, OF_STORE),
        ("kms:UpdateKeyDescription", {"KeyId": KEY, "Description": "x"}, 5),
    ):
        callers = Callers(casemate, seconds=2.5)
        callers.run(operation, params)
        assert callers.codes.keys() == {"", "ThrottlingException"}, callers.codes
        answered, refused = callers.codes[""], callers.codes["ThrottlingException"]
        assert refused.total() > 0 and max(answered.values()) >= most * 0.5
        assert all(count <= most + WORKERS - 1 for count in answered.values())
        print(f"{operation}, {most} a second, {WORKERS} workers: {dict(answered)}, {refused.total()} throttled")


def test_a_stock_client_is_told_and_who_has_no_valid_signature_spends_nothing(casemate: Casemate) -> None:
    kms, name = casemate.boto3("kms"), {"KeyId": KEY, "Description": "x"}
    forged = Wire(casemate.server.port, Credentials(casemate.person("alice").access_key_id, "w" * 40))
    for _ in range(40):
        assert forged.call("kms:UpdateKeyDescription", name).code == "InvalidSignatureException"
    time.sleep(1 - time.monotonic() % 1)  # what other tests have spent in this second
    kms.update_key_description(**name)
    with pytest.raises(kms.exceptions.ClientError) as refused:
        for _ in range(50):
            kms.update_key_description(**name)
    answer = refused.value.response
    assert answer["Error"] == {"Code": "ThrottlingException", "Message": THROTTLED}
    assert answer["ResponseMetadata"]["HTTPStatusCode"] == 400
    patient = casemate.boto3("kms", retries={"total_max_attempts": 10, "mode": "standard"})
    for _ in range(12):
        patient.update_key_description(**name)  # it waits and tries again, as AWS's clients do


def test_quotas_are_off_where_tests_and_measurements_start_a_server() -> None:
    assert django_settings.REQUEST_QUOTAS == "" and django_settings.KEY_STORE_REQUESTS_PER_SECOND == 1_800
    assert Server(Path("data"))._options[-2:] == ("--quotas", "off")
