"""GenerateRandom."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

from hsmapp import cluster, epochs
from hsmapp.errors import NoHsmAnswersError
from kmsapp import access, request_quotas
from kmsapp.call import Call
from kmsapp.errors import CustomKeyStoreInvalidStateException, ValidationException
from kmsapp.operations import cryptography, key_stores
from kmsapp.registry import operation


@dataclass(frozen=True)
class _Source:
    """What a call needs to know of a key store, read once per epoch."""

    cluster_pk: int
    owner: str  # HSM user


_sources: epochs.Cached[_Source] = epochs.Cached()


@operation("kms:GenerateRandom", read_only=True)
def generate_random(call: Call, params: dict[str, Any]) -> dict[str, Any]:
    """https://docs.aws.amazon.com/kms/latest/APIReference/API_GenerateRandom.html"""
    store_id = params.get("CustomKeyStoreId")
    if store_id:
        call.audit_parameters.update(numberOfBytes=params.get("NumberOfBytes"), customKeyStoreId=store_id)
    cryptography.refuse_recipient(params)
    length = params.get("NumberOfBytes")
    if length is None:
        raise ValidationException("NumberOfBytes is required.")
    access.account(call, "kms:GenerateRandom")
    return {"Plaintext": _from_store(call, store_id, length) if store_id else os.urandom(length)}


def _from_store(call: Call, store_id: str, length: int) -> bytes:
    """From an HSM of the store's cluster. Never from elsewhere: who names a store wants the randomness of its HSMs."""
    caller = call.caller
    source = _sources.get(caller.account, (caller.region, store_id), lambda: _read(call, store_id))
    request_quotas.require_within_store(store_id)
    try:
        return cluster.random(source.cluster_pk, source.owner, length)
    except NoHsmAnswersError as error:
        # Keys of such a store answer KMSInvalidStateException, which GenerateRandom does not declare (unconfirmed).
        raise CustomKeyStoreInvalidStateException(cryptography.NO_HSM) from error


def _read(call: Call, store_id: str) -> _Source:
    store = key_stores.find(call, store_id)
    key_stores.require_connected(store)
    return _Source(store.cluster_id, store.credential.user_name)
