"""How many requests a second KMS answers, by AWS's default quotas; a request beyond is a ThrottlingException.

Each account has its own in each Region, spent by its own callers on whosever keys, whether the request is allowed or
denied. A key store has one beside, spent by requests of all accounts that may use its keys, and by no others. What has
no valid signature, and what the console does for people, spends nothing.

Off unless settings.REQUEST_QUOTAS names the memory in which they are counted (bin/serve --quotas).
https://docs.aws.amazon.com/kms/latest/developerguide/requests-per-second.html
"""

from __future__ import annotations

import functools

from django.conf import settings

from kmsapp import service_models
from kmsapp.call import Call
from kmsapp.errors import ThrottlingException
from kmsapp.rate_limits import Counters

# https://docs.aws.amazon.com/kms/latest/developerguide/throttling.html
THROTTLED = "You have exceeded the rate at which you may call KMS. Reduce the frequency of your calls."

# Operations that share one quota. Its size for symmetric keys depends on the Region; all keys here are symmetric.
SYMMETRIC = "Cryptographic operations (symmetric)"
ASYMMETRIC = "Cryptographic operations (asymmetric)"
DATA_KEY_PAIRS = "GenerateDataKeyPair"  # one for each KeyPairSpec
_SHARED = {
    **dict.fromkeys(
        (
            *("Decrypt", "Encrypt", "GenerateDataKey", "GenerateDataKeyWithoutPlaintext", "GenerateMac"),
            *("GenerateRandom", "ReEncrypt", "VerifyMac"),
        ),
        SYMMETRIC,
    ),
    # RSA, ECC and ML-DSA keys have one each, all of this size. That of ML-KEM keys is not published (unconfirmed).
    **dict.fromkeys(("Decapsulate", "DeriveSharedSecret", "Encapsulate", "Sign", "Verify"), ASYMMETRIC),
    **dict.fromkeys(("GenerateDataKeyPair", "GenerateDataKeyPairWithoutPlaintext"), DATA_KEY_PAIRS),
}
_BY_REGION = {
    **dict.fromkeys(("us-east-1", "us-west-2", "eu-west-1"), 100_000),
    **dict.fromkeys(
        ("us-east-2", "ap-southeast-1", "ap-southeast-2", "ap-northeast-1", "eu-central-1", "eu-west-2"), 20_000
    ),
}
_ELSEWHERE = 10_000
_KEY_PAIRS = {
    **dict.fromkeys(
        ("ECC_NIST_P256", "ECC_NIST_P384", "ECC_NIST_P521", "ECC_SECG_P256K1", "ECC_NIST_EDWARDS25519"), 100
    ),
    **{"RSA_2048": 20, "RSA_3072": 4, "RSA_4096": 1, "SM2": 25},
}
_OTHER_KEY_PAIRS = 100  # of ML-KEM specs, for which none is published (unconfirmed), and of what is no spec


def _each(per_second: int, *names: str) -> dict[str, int]:
    return dict.fromkeys(names, per_second)


# Quota, mostly an operation's own, -> requests a second.
PER_SECOND = {
    **_each(
        5,
        *("CancelKeyDeletion", "ConnectCustomKeyStore", "CreateAlias", "CreateCustomKeyStore", "CreateKey"),
        *("DeleteCustomKeyStore", "DescribeCustomKeyStores", "DisableKey", "DisableKeyRotation"),
        *("DisconnectCustomKeyStore", "EnableKey", "GetKeyLastUsage", "ReplicateKey", "RotateKeyOnDemand"),
        *("UntagResource", "UpdateAlias", "UpdateCustomKeyStore", "UpdateKeyDescription", "UpdatePrimaryRegion"),
    ),
    **_each(1, "GetParametersForImport"),
    **_each(10, "TagResource"),
    **_each(
        15,
        *("DeleteAlias", "DeleteImportedKeyMaterial", "EnableKeyRotation", "ImportKeyMaterial", "PutKeyPolicy"),
        "ScheduleKeyDeletion",
    ),
    **_each(50, "CreateGrant", "RetireGrant", "RevokeGrant"),
    **_each(100, "ListGrants", "ListKeyPolicies", "ListKeyRotations", "ListRetirableGrants"),
    **_each(500, "ListAliases", "ListKeys"),
    **_each(1_000, "GetKeyPolicy", "GetKeyRotationStatus", ASYMMETRIC),
    **_each(2_000, "DescribeKey", "GetPublicKey", "ListResourceTags"),
}


def quota_of(operation: str, region: str, key_pair_spec: str = "") -> tuple[str, int]:
    """The name of the quota that a request of KMS counts towards, and its size: requests a second.

    operation: without its service. key_pair_spec: as the request has it, not validated yet.
    """
    name = _SHARED.get(operation, operation)
    if name == SYMMETRIC:
        return name, _BY_REGION.get(region, _ELSEWHERE)
    if name == DATA_KEY_PAIRS:
        known = key_pair_spec in _KEY_PAIRS
        return (f"{name} ({key_pair_spec})", _KEY_PAIRS[key_pair_spec]) if known else (name, _OTHER_KEY_PAIRS)
    return name, PER_SECOND[name]


def require_within(call: Call) -> None:
    """Count a call towards the quota of the caller's account. Raises ThrottlingException when that is used up."""
    counters = _counters(settings.REQUEST_QUOTAS)
    if counters is None or call.service != "kms" or call.caller.via != "wire":
        return
    caller = call.caller
    counter = _counter(caller.account, caller.region, call.operation, call.params.get("KeyPairSpec") or "")
    if not counters.admits(*counter):
        raise ThrottlingException(THROTTLED)


@functools.lru_cache(maxsize=4096)
def _counter(account: str, region: str, operation: str, key_pair_spec: str) -> tuple[str, int]:
    """The name of the counter of an account's quota, and how many it admits in a second."""
    name, per_second = quota_of(operation, region, key_pair_spec)
    # A request can be signed for a Region of any name; those that AWS has not are counted as one.
    where = region if region in service_models.region_names() else "elsewhere"
    return f"{account} {where} {name}", per_second


def require_within_store(custom_key_store_id: str) -> None:
    """Count a cryptographic operation towards the quota of a key store, once it is known to be allowed.

    custom_key_store_id: empty for the default key store, which has none. Raises ThrottlingException.
    """
    counters = _counters(settings.REQUEST_QUOTAS)
    if counters is None or not custom_key_store_id:
        return
    if not counters.admits(custom_key_store_id, settings.KEY_STORE_REQUESTS_PER_SECOND):
        raise ThrottlingException(THROTTLED)


@functools.cache
def _counters(path: str) -> Counters | None:
    return Counters(path) if path else None
