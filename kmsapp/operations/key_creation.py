"""CreateKey, and the wizard's key with its alias, which are made together or not at all."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

from hsmapp import clock, jobs, key_creation
from hsmapp.errors import (
    CapacityError,
    HsmError,
    IntentLostError,
    KeyMaterialError,
    NoHsmAnswersError,
    NotEnoughHsmsError,
    ReservedError,
)
from hsmapp.models import KeyIntent, MaskedKey
from hsmapp.states import ClusterState, IntentState
from kmsapp import access, arns, audit, ids, key_facts, key_policies, shapes
from kmsapp.call import Call
from kmsapp.errors import (
    AccessDeniedException,
    CloudHsmClusterInvalidConfigurationException,
    CustomKeyStoreInvalidStateException,
    CustomKeyStoreNotFoundException,
    DependencyTimeoutException,
    KmsError,
    KMSInternalException,
    LimitExceededException,
    UnsupportedOperationException,
    ValidationException,
)
from kmsapp.models import CustomKeyStore, KmsKey, Tag
from kmsapp.operations import aliases, cluster_requirements, key_stores, tags
from kmsapp.operations.keys import key_metadata, key_row
from kmsapp.policy import defaults
from kmsapp.registry import operation

# The key that it would be about has no ARN yet.
_NO_ALIAS = (
    "User: {caller} is not authorized to perform: kms:CreateAlias because no policy of the new key or of the caller "
    "allows the kms:CreateAlias action"
)
_ONLY_WITH_STORE = {"AWS_CLOUDHSM", "EXTERNAL_KEY_STORE"}
# Request members whose values the audit record shows; Policy is added as it is, Tags as their lowerCamel form.
_AUDITED = ("Description", "KeyUsage", "KeySpec", "CustomerMasterKeySpec", "Origin", "CustomKeyStoreId", "MultiRegion")


@operation("kms:CreateKey")
def create_key(call: Call, params: dict[str, Any]) -> dict[str, Any]:
    """https://docs.aws.amazon.com/kms/latest/APIReference/API_CreateKey.html"""
    _audit_parameters(call, params)
    store = _prepare(call, params)
    key = _new_key(call, params, store)
    return {"KeyMetadata": key_metadata(make_key(call, key, params.get("Tags")))}


@operation("console:CreateKeyWithAlias", recorded_as="kms:CreateKey")
def create_key_with_alias(call: Call, params: dict[str, Any]) -> dict[str, Any]:
    """CreateKey and CreateAlias in one: the wizard's Finish. DraftId makes a repeated Finish give the same key.

    It is recorded as the two, and a refusal as the one that was refused. A repeated Finish describes the key it made.
    """
    draft_id, alias_name = str(params.get("DraftId", "")), params.get("AliasName") or ""
    _audit_parameters(call, params)
    shapes.validate("kms", "CreateKey", params)
    access.account(call, "kms:CreateKey")
    with _alias_part(call, alias_name):
        shapes.validate("kms", "CreateAlias", {"AliasName": alias_name, "TargetKeyId": "alias"})
        access.account(call, "kms:CreateAlias", _alias_arn(call, alias_name))
    made = _made_for(call, draft_id)
    if made is not None:
        # The key is there, whatever has become of its store since; its alias is the one it was made with.
        first = made.aliases.order_by("pk").first()
        return {"KeyMetadata": key_metadata(made), "AliasName": first.name if first else alias_name}
    store = _prepare(call, params)
    key = _new_key(call, params, store)
    with _alias_part(call, alias_name):
        if not access.would_allow(call, "kms:CreateAlias", key_facts.of(key)):
            raise AccessDeniedException(_NO_ALIAS.format(caller=call.caller.principal_arn))
        aliases.require_name(alias_name)
        # An earlier Finish that was killed has left an open intent, which holds the alias until its deadline.
        jobs.abandon_overdue_intents(clock.now())
        aliases.require_free(call.caller.account, call.caller.region, alias_name)
    made = make_key(call, key, params.get("Tags"), alias_name=alias_name, draft_id=draft_id)
    return {"KeyMetadata": key_metadata(made), "AliasName": alias_name}


def _alias_part(call: Call, alias_name: str, **more: str) -> AbstractContextManager[None]:
    """What AWS's console does as its second call."""
    return call.part("kms:CreateAlias", {"aliasName": alias_name, **more})


def _audit_parameters(call: Call, params: dict[str, Any]) -> None:
    shown = {shapes.lower_camel(name): params[name] for name in _AUDITED if params.get(name) is not None}
    if params.get("Policy"):
        shown["policy"] = params["Policy"]
    if params.get("Tags"):
        shown["tags"] = [{"tagKey": tag.get("TagKey"), "tagValue": tag.get("TagValue")} for tag in params["Tags"]]
    call.audit_parameters.update(shown)


def _prepare(call: Call, params: dict[str, Any]) -> CustomKeyStore:
    """Everything that can refuse the key before the cluster is asked, in AWS's order; returns the key store."""
    origin = params.get("Origin") or "AWS_KMS"
    _require_origin_and_store_agree(origin, params.get("CustomKeyStoreId"))
    _require_members_agree(origin, params)
    _require_supported(origin, params)
    access.account(call, "kms:CreateKey")
    if params.get("Tags"):
        access.tag_new_key(call)
    store = key_stores.find(call, params["CustomKeyStoreId"])
    _require_connected(store)
    _require_active_cluster(store)
    tags.require_valid(params.get("Tags") or [])
    return store


def _require_origin_and_store_agree(origin: str, custom_key_store_id: str | None) -> None:
    if origin in _ONLY_WITH_STORE and not custom_key_store_id:
        raise ValidationException(f"CustomKeyStoreId is required when Origin is {origin}.")
    if custom_key_store_id and origin not in _ONLY_WITH_STORE:
        raise ValidationException(
            f"CustomKeyStoreId is valid only when Origin is AWS_CLOUDHSM or EXTERNAL_KEY_STORE; Origin is {origin}."
        )


def _require_members_agree(origin: str, params: dict[str, Any]) -> None:
    if params.get("KeySpec") and params.get("CustomerMasterKeySpec"):
        raise ValidationException(
            "You cannot specify KeySpec and CustomerMasterKeySpec in the same request. "
            "CustomerMasterKeySpec is deprecated."
        )
    if params.get("XksKeyId") and origin != "EXTERNAL_KEY_STORE":
        raise ValidationException(f"XksKeyId is valid only when Origin is EXTERNAL_KEY_STORE; Origin is {origin}.")


def _require_supported(origin: str, params: dict[str, Any]) -> None:
    spec = params.get("KeySpec") or params.get("CustomerMasterKeySpec") or "SYMMETRIC_DEFAULT"
    if spec != "SYMMETRIC_DEFAULT" and not params.get("KeyUsage"):
        raise ValidationException(
            "You must specify a KeyUsage value for all KMS keys except for symmetric encryption keys."
        )
    if origin != "AWS_CLOUDHSM":
        raise UnsupportedOperationException(
            f"Keys of origin {origin} are not built in this version of Casemate. Create the key in a custom key store: "
            "Origin AWS_CLOUDHSM with a CustomKeyStoreId."
        )
    if spec != "SYMMETRIC_DEFAULT":
        raise UnsupportedOperationException(
            f"KeySpec {spec} is not supported in a custom key store. Only SYMMETRIC_DEFAULT is."
        )
    usage = params.get("KeyUsage") or "ENCRYPT_DECRYPT"
    if usage != "ENCRYPT_DECRYPT":
        raise UnsupportedOperationException(
            f"KeyUsage {usage} is not supported in a custom key store. Only ENCRYPT_DECRYPT is."
        )
    if params.get("MultiRegion"):
        raise UnsupportedOperationException("Multi-Region keys are not supported in a custom key store.")


def _require_connected(store: CustomKeyStore) -> None:
    if not store.is_connected:
        raise CustomKeyStoreInvalidStateException(
            f"The custom key store {store.custom_key_store_id} is {store.connection_state}. "
            f"{key_stores.HOW_TO_CONNECT[store.connection_state]}"
        )


def _require_active_cluster(store: CustomKeyStore) -> None:
    if store.cluster.state not in {ClusterState.ACTIVE, ClusterState.UPDATE_IN_PROGRESS}:
        raise CloudHsmClusterInvalidConfigurationException(
            f"The CloudHSM cluster {store.cluster.cluster_id} is {store.cluster.state}, not ACTIVE."
        )


def _made_for(call: Call, draft_id: str) -> KmsKey | None:
    """The key that an earlier Finish of this draft made, if it did."""
    if not draft_id:
        return None
    done = KeyIntent.objects.filter(requested_by=draft_id, state=IntentState.DONE).order_by("-pk").first()
    if done is None:
        return None
    key = KmsKey.objects.filter(account=call.caller.account, material__label=done.label).first()
    if key is None:
        return None
    call.recorded_as, call.read_only, call.audit_parameters = "kms:DescribeKey", True, {"keyId": key.key_id}
    call.resources.append(key.arn)
    return key_row(key.pk)


def _new_key(call: Call, params: dict[str, Any], store: CustomKeyStore) -> KmsKey:
    """The row to write once there is material for it, its policy found fit for it."""
    caller = call.caller
    key = KmsKey(
        account=caller.account,
        region=caller.region,
        key_id=ids.new_key_id(),
        description=params.get("Description") or "",
        origin="AWS_CLOUDHSM",
        custom_key_store=store,
        policy=defaults.default_policy(caller.account),
    )
    if params.get("Policy") is not None:
        bypass = bool(params.get("BypassPolicyLockoutSafetyCheck"))
        accepted = key_policies.accepted(call, key_facts.of(key), params["Policy"], bypass_lockout_check=bypass)
        key.policy, key.policy_principals = accepted.text, dict(accepted.principals)
    return key


def make_key(
    call: Call,
    key: KmsKey,
    tag_list: list[dict[str, str]] | None = None,
    *,
    alias_name: str = "",
    draft_id: str = "",
) -> KmsKey:
    """Make the material of a new key in its store, which has been found fit for it, and write its row."""
    store = key.custom_key_store
    if store is None:
        raise ValueError("only keys of a custom key store are made here")
    new = key_creation.NewKey(
        cluster=store.cluster,
        owner=store.credential.user_name,
        label=key.arn,
        reserves=_alias_arn(call, alias_name) if alias_name else "",
        requested_by=draft_id,
    )
    with _translated(call, store, alias_name), _as_before(call):
        return key_creation.create_key(new, _committer(call, key, tag_list or [], alias_name))


def _alias_arn(call: Call, alias_name: str) -> str:
    return arns.alias_arn(call.caller.region, call.caller.account, alias_name)


@contextmanager
def _as_before(call: Call) -> Iterator[None]:
    """A key that was not made after all must not stand in the record of the refusal."""
    resources = list(call.resources)
    try:
        yield
    except BaseException:
        call.resources[:] = resources
        call.additional_event_data.clear()
        raise


def _committer(
    call: Call, key: KmsKey, tag_list: list[dict[str, str]], alias_name: str
) -> Callable[[MaskedKey], KmsKey]:
    """What the key's last transaction writes: key, tags, alias and the audit events, or none of them."""
    store_pk = key.custom_key_store.pk if key.custom_key_store else 0

    def commit(material: MaskedKey) -> KmsKey:
        key.pk, key.material, key.created_at = None, material, clock.now()
        _require_store_still_connected(store_pk)
        key.save(force_insert=True)
        Tag.objects.bulk_create(Tag(key=key, tag_key=tag["TagKey"], tag_value=tag["TagValue"]) for tag in tag_list)
        call.resources[:] = [key.arn]
        call.additional_event_data["backingKey"] = json.dumps({"backingKeyId": material.backing_key_id})
        call.record_change(_response_elements(key))
        call.additional_event_data.clear()
        if alias_name:
            with _alias_part(call, alias_name, targetKeyId=key.key_id):
                aliases.write(key, alias_name)
                call.record_change({"keyId": key.arn})
        return key

    return commit


def _require_store_still_connected(store_pk: int) -> None:
    """A store disconnected while the key was being made must not end up with one more key than was shown then."""
    store = CustomKeyStore.objects.select_for_update().filter(pk=store_pk).first()
    if store is None:
        raise CustomKeyStoreNotFoundException("The custom key store was deleted while the key was being made.")
    _require_connected(store)


def _response_elements(key: KmsKey) -> dict[str, Any]:
    shown = {shapes.lower_camel(name): value for name, value in key_metadata(key).items() if name != "CreationDate"}
    shown["creationDate"] = audit.time_in_response(key.created_at)
    return {"keyMetadata": shown}


@contextmanager
def _translated(call: Call, store: CustomKeyStore, alias_name: str) -> Iterator[None]:
    """AWS's names for what a cluster says while a key is being made."""
    try:
        yield
    except ReservedError as error:
        with _alias_part(call, alias_name):
            raise aliases.taken(_alias_arn(call, alias_name)) from error
    except HsmError as error:
        raise _answer(store, error) from error


def _answer(store: CustomKeyStore, error: HsmError) -> KmsError:
    cluster_id = store.cluster.cluster_id
    match error:
        case NotEnoughHsmsError():
            return cluster_requirements.too_few_hsms(store.cluster, error)
        case CapacityError():
            return LimitExceededException(
                f"The CloudHSM cluster {cluster_id} holds {store.cluster.capacity} keys, as many as it can."
            )
        case NoHsmAnswersError():
            return CloudHsmClusterInvalidConfigurationException(
                f"No HSM of the CloudHSM cluster {cluster_id} answers. Check its HSMs and try again."
            )
        case IntentLostError():
            return DependencyTimeoutException(
                f"The CloudHSM cluster {cluster_id} did not make the key within {key_creation.INTENT_SECONDS} seconds."
            )
        case KeyMaterialError():
            return KMSInternalException("The key could not be made in the CloudHSM cluster. Try again.")
    return KMSInternalException("The CloudHSM cluster failed.")
