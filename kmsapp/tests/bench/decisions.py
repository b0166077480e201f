"""How long authorizing takes: `access.key` for Encrypt, with a key policy and identity policies of some size; and how
long it takes to count a call towards its request quotas.

A program of its own, on the data folder of the server that is measured: no HTTP, no HSM, one thread. Reads one JSON
object on standard input: {"access_key_id", "key_id", "calls"}; prints what takes how long, with the microseconds of
every call.
"""

from __future__ import annotations

import json
import os
import secrets
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

from kmsapp import rate_limits
from kmsapp.testing import ROOT, Casemate, clean_environment
from kmsapp.tests.bench import calls, driver
from kmsapp.tests.bench.rates import falls_short
from kmsapp.tests.bench.report import figure, table

CALLS = 5_000  # in a round
AIM_US = 60.0
ACCESS = "access.key: Encrypt"
EVALUATE = "the policies alone"
QUOTAS = "request quotas: account and key store"
SETTING = (
    "The key policy has 10 statements, the user 5 policies of 2 or 3 each. Every call is a request of its own, which "
    "reads the epoch; all else is in the caches. One thread in a process of its own, one key."
)


def measure(casemate: Casemate, *, rounds: int) -> list[str]:
    """Medians over all calls of the rounds; the lines of a table."""
    request = {**_setting(casemate), "calls": CALLS}
    taken: dict[str, list[float]] = {calls.EMPTY: [], ACCESS: [], EVALUATE: [], QUOTAS: []}
    calibration = calls.every_call(casemate)[calls.EMPTY]
    for _ in range(rounds):
        alone = driver.closed_loop(calibration, connections=1, seconds=1.0)
        taken[calls.EMPTY] += [seconds * 1e6 for seconds in alone.latencies]
        for name, microseconds in _in_a_process(casemate, request).items():
            taken[name] += microseconds
    medians = {name: statistics.median(microseconds) for name, microseconds in taken.items()}
    rows = [
        [name, f"{len(taken[name]):,}", figure(median), figure(median / medians[calls.EMPTY])]
        for name, median in medians.items()
    ]
    lines = table(["what", "calls", "p50 us", f"of {calls.EMPTY}"], rows)
    lines += ["", SETTING]
    return lines + falls_short([(f"{ACCESS}, p50 us", medians[ACCESS], AIM_US, False)])


def _in_a_process(casemate: Casemate, request: dict[str, Any]) -> dict[str, list[float]]:
    done = subprocess.run(
        [sys.executable, "-m", __name__],
        input=json.dumps(request),
        env={**clean_environment(), "CASEMATE_DATA": str(casemate.data)},
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
        timeout=300,
        check=True,
    )
    found: dict[str, list[float]] = json.loads(done.stdout)
    return found


# What is decided about


def _setting(casemate: Casemate) -> dict[str, str]:
    """A user with five policies and a key with ten statements. What allows it stands in the last of both."""
    iam, kms = casemate.boto3("iam"), casemate.boto3("kms")
    name = f"bench-{secrets.token_hex(4)}"
    user = iam.create_user(UserName=name, Tags=[{"Key": "team", "Value": "payments"}])["User"]["Arn"]
    for number, statements in enumerate(_identity_policies()):
        policy = iam.create_policy(PolicyName=f"{name}-{number}", PolicyDocument=_document(statements))["Policy"]
        iam.attach_user_policy(UserName=name, PolicyArn=policy["Arn"])
    made = kms.create_key(
        Origin="AWS_CLOUDHSM",
        CustomKeyStoreId=calls.STORE,
        Policy=_document(_key_policy(user)),
        Tags=[{"TagKey": "team", "TagValue": "payments"}],
    )
    access_key_id = iam.create_access_key(UserName=name)["AccessKey"]["AccessKeyId"]
    return {"access_key_id": access_key_id, "key_id": made["KeyMetadata"]["KeyId"]}


def _document(statements: list[dict[str, Any]]) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": statements})


_USE = ["kms:Encrypt", "kms:Decrypt", "kms:GenerateDataKey*"]


def _statement(effect: str, condition: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"Effect": effect, "Action": _USE, "Resource": "*", "Condition": condition, **more}


def _identity_policies() -> list[list[dict[str, Any]]]:
    """Two or three statements each. They ask for tags, addresses, times, the encryption context."""
    of_account = "arn:aws:kms:*:111122223333:key/*"
    denials = [
        _statement("Deny", {"StringNotEquals": {"aws:PrincipalTag/team": "payments"}}),
        _statement("Deny", {"NotIpAddress": {"aws:SourceIp": ["127.0.0.0/8", "10.0.0.0/8"]}}),
    ]
    others = [
        [
            _statement("Allow", {"StringEquals": {"kms:EncryptionContext:stage": stage}}, Resource=of_account),
            _statement("Allow", {"DateLessThan": {"aws:CurrentTime": "2020-01-01T00:00:00Z"}}, Resource=of_account),
            _statement("Deny", {"ForAnyValue:StringLike": {"kms:EncryptionContextKeys": ["secret*", stage]}}),
        ]
        for stage in ("alpha", "beta", "gamma")
    ]
    tagged = {"StringEquals": {"aws:ResourceTag/team": "${aws:PrincipalTag/team}"}}
    allowing = [
        {"Effect": "Allow", "Action": "kms:List*", "Resource": "*"},
        _statement("Allow", tagged, Resource=of_account),
    ]
    return [denials, *others, allowing]


def _key_policy(user: str) -> list[dict[str, Any]]:
    """Ten statements: the account's, denials, and some that are for others."""
    everyone, alice = {"AWS": "*"}, {"AWS": "arn:aws:iam::111122223333:user/alice"}
    root = {"Effect": "Allow", "Principal": {"AWS": "111122223333"}, "Action": "kms:*", "Resource": "*"}
    return [
        root,
        {**root, "Principal": alice},
        _statement("Deny", {"Bool": {"aws:ViaAWSService": "true"}}, Principal=everyone),
        _statement("Deny", {"StringNotEquals": {"kms:CallerAccount": "111122223333"}}, Principal=everyone),
        _statement("Deny", {"StringLike": {"aws:PrincipalArn": "arn:aws:iam::*:user/guest-*"}}, Principal=everyone),
        _statement("Deny", {"StringEquals": {"kms:EncryptionContext:stage": "prod"}}, Principal={"AWS": user}),
        _statement("Allow", {"IpAddress": {"aws:SourceIp": "192.0.2.0/24"}}, Principal={"AWS": user}),
        _statement("Allow", {"StringEquals": {"kms:ViaService": "s3.us-west-2.amazonaws.com"}}, Principal=everyone),
        _statement("Allow", {"StringEquals": {"aws:PrincipalOrgID": "o-example"}}, Principal=everyone),
        _statement("Allow", {"Bool": {"kms:GrantIsForAWSResource": "true"}}, Principal=alice, Action="kms:*Grant"),
    ]


# The program


def main() -> None:
    request = json.load(sys.stdin)
    os.environ["DJANGO_SETTINGS_MODULE"] = "console.settings"
    # The quotas of AWS, but for the key store's, which is used up sooner than the measurement ends.
    os.environ["CASEMATE_REQUEST_QUOTAS"] = f"/proc/self/fd/{rate_limits.make()}"
    os.environ["CASEMATE_KEY_STORE_REQUESTS_PER_SECOND"] = str(10**9)
    import django

    django.setup()
    runs = dict(_runs(request["access_key_id"], request["key_id"]))
    found = {name: [microseconds() for _ in range(request["calls"])] for name, microseconds in runs.items()}
    json.dump(found, sys.stdout)


def _runs(access_key_id: str, key_id: str) -> Iterator[tuple[str, Callable[[], float]]]:
    """By name, what makes one call and gives its microseconds; caches are warm."""
    from hsmapp import epochs
    from kmsapp import access, ids, request_quotas
    from kmsapp.call import Call
    from kmsapp.caller import Caller
    from kmsapp.iam import credentials
    from kmsapp.policy.evaluation import evaluate

    found = credentials.find(access_key_id)
    assert found is not None
    caller = Caller(
        found.account,
        "us-west-2",
        found.principal_arn,
        found.principal_id,
        found.user_name,
        access_key_id,
        source_ip="127.0.0.1",
        user_agent="aws-cli/2",
    )
    params = {"KeyId": key_id, "Plaintext": b"x" * 32, "EncryptionContext": {"stage": "test", "purpose": "bench"}}

    def call() -> Call:
        return Call(caller, "kms", "Encrypt", params, ids.new_request_id(), read_only=True)

    def access_once() -> float:
        this = call()
        with epochs.one_reading():
            started = time.perf_counter_ns()
            access.key(this, key_id, "kms:Encrypt")
            return (time.perf_counter_ns() - started) / 1000

    decision = access.decide(call(), access.find(call(), key_id), "kms:Encrypt")
    assert decision.is_allowed, decision
    len(decision.request.context)  # condition keys are found out at the first question

    def evaluate_once() -> float:
        started = time.perf_counter_ns()
        evaluate(decision.request, decision.policies)
        return (time.perf_counter_ns() - started) / 1000

    counted = call()

    def quotas_once() -> float:
        started = time.perf_counter_ns()
        request_quotas.require_within(counted)
        request_quotas.require_within_store(calls.STORE)
        return (time.perf_counter_ns() - started) / 1000

    for once in (access_once, evaluate_once, quotas_once):
        for _ in range(200):
            once()
    yield ACCESS, access_once
    yield EVALUATE, evaluate_once
    yield QUOTAS, quotas_once


if __name__ == "__main__":
    main()
