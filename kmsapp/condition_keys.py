"""The condition keys of a call: what policies may ask about who calls, how, and for what.

A key that does not apply is absent, which is not the same as empty. Names are lower-case here, because policies may
spell them in any case. Built only when a policy asks, a few microseconds each time.

Sources: https://docs.aws.amazon.com/kms/latest/developerguide/conditions-kms.html
https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_condition-keys.html
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any, overload

from hsmapp import clock
from kmsapp import key_usage
from kmsapp.call import Call
from kmsapp.caller import Caller
from kmsapp.grant_rules import CONTEXT_MEMBER
from kmsapp.policy.conditions import Several, Unusable
from kmsapp.policy.variables import Context, FoldedContext

if TYPE_CHECKING:
    from kmsapp.key_facts import KeyFacts

Value = str | tuple[str, ...]

# Condition key -> request member that holds it, for all operations that have such a member.
_MEMBERS = {
    "kms:bypasspolicylockoutsafetycheck": "BypassPolicyLockoutSafetyCheck",
    "kms:datakeypairspec": "KeyPairSpec",
    "kms:expirationmodel": "ExpirationModel",
    "kms:granteeprincipal": "GranteePrincipal",
    "kms:granteeserviceprincipal": "GranteeServicePrincipal",
    "kms:keyagreementalgorithm": "KeyAgreementAlgorithm",
    "kms:macalgorithm": "MacAlgorithm",
    "kms:messagetype": "MessageType",
    "kms:policyname": "PolicyName",
    "kms:primaryregion": "PrimaryRegion",
    "kms:replicaregion": "ReplicaRegion",
    "kms:retiringprincipal": "RetiringPrincipal",
    "kms:retiringserviceprincipal": "RetiringServicePrincipal",
    "kms:rotationperiodindays": "RotationPeriodInDays",
    "kms:schedulekeydeletionpendingwindowindays": "PendingWindowInDays",
    "kms:signingalgorithm": "SigningAlgorithm",
    "kms:wrappingalgorithm": "WrappingAlgorithm",
    "kms:wrappingkeyspec": "WrappingKeySpec",
}
_KEY_OF_MEMBER = {member: name for name, member in _MEMBERS.items()}
# A condition holds for what the call means, so a member left out counts as its default.
_DEFAULTS = {
    "Decrypt": {"kms:encryptionalgorithm": "SYMMETRIC_DEFAULT"},
    "Encrypt": {"kms:encryptionalgorithm": "SYMMETRIC_DEFAULT"},
    "GenerateDataKey": {"kms:encryptionalgorithm": "SYMMETRIC_DEFAULT"},
    "GenerateDataKeyWithoutPlaintext": {"kms:encryptionalgorithm": "SYMMETRIC_DEFAULT"},
    "GetKeyPolicy": {"kms:policyname": "default"},
    "PutKeyPolicy": {"kms:policyname": "default"},
    "ReEncryptFrom": {"kms:encryptionalgorithm": "SYMMETRIC_DEFAULT"},
    "ReEncryptTo": {"kms:encryptionalgorithm": "SYMMETRIC_DEFAULT"},
    "ScheduleKeyDeletion": {"kms:schedulekeydeletionpendingwindowindays": "30"},
    "Sign": {"kms:messagetype": "RAW"},
    "Verify": {"kms:messagetype": "RAW"},
}
# "IAM policies only", AWS says of these: a key policy that asks for one finds it absent.
_IN_IAM_POLICIES_ONLY = {"kms:resourcealiases"}
# https://docs.aws.amazon.com/kms/latest/developerguide/resource-limits.html#aliases-per-key
ALIASES_PER_KEY = 50
# ReEncrypt is two actions, each about one of its keys.
_ALGORITHM_MEMBER = {"ReEncryptFrom": "SourceEncryptionAlgorithm", "ReEncryptTo": "DestinationEncryptionAlgorithm"}
# These may depend on how long a key was not used, which is read when a policy asks for anything.
_ASKS_FOR_USE = {"DisableKey", "ScheduleKeyDeletion"}
# No AWS service calls on anybody's behalf here.
_NOT_FOR_A_SERVICE = {"CreateGrant", "ListGrants", "RevokeGrant"}


class ConditionKeys(FoldedContext, Mapping[str, Value]):
    """The condition keys of one call by lower-case name, found out at the first question.

    principal_tags: of the user or role and of its session. request_alias: by which the request names the key.
    more: keys that only this operation has; one without a value is left out.
    """

    def __init__(
        self,
        call: Call,
        principal_tags: Mapping[str, str],
        *,
        action: str,
        key: KeyFacts | None = None,
        request_alias: str = "",
        more: Mapping[str, Value] | None = None,
    ):
        self._arguments = (call, principal_tags, action, key, request_alias, more or {})
        self._values: dict[str, Value] | None = None

    def _all(self) -> dict[str, Value]:
        if self._values is None:
            call, principal_tags, action, key, request_alias, more = self._arguments
            values = _of_caller(call.caller, principal_tags)
            values.update(_of_request(call, action))
            if key is not None:
                values.update(key.condition_keys)
                if request_alias:
                    values["kms:requestalias"] = request_alias
                if action.partition(":")[2] in _ASKS_FOR_USE:
                    values["kms:trailingdayswithoutkeyusage"] = str(key_usage.days_without_use(key.pk, key.account))
            for name, value in more.items():
                if value:
                    values[name.lower()] = value
            self._values = values
        return self._values

    def __getitem__(self, name: str) -> Value:
        return self._all()[name]

    @overload
    def get(self, name: str, default: None = None, /) -> Value | None: ...

    @overload
    def get(self, name: str, default: Any, /) -> Any: ...

    def get(self, name: str, default: Any = None, /) -> Any:
        """As Mapping has it, which raises and catches an exception for each key that is absent."""
        values = self._values
        return (self._all() if values is None else values).get(name, default)

    def __iter__(self) -> Iterator[str]:
        return iter(self._all())

    def __len__(self) -> int:
        return len(self._all())

    @property
    def of_key_policy(self) -> Context:
        return _OfKeyPolicy(self)


class _OfKeyPolicy(FoldedContext, Mapping[str, Value]):
    """The condition keys of a call as its key policy is asked with them."""

    def __init__(self, keys: ConditionKeys):
        self._keys = keys

    def __getitem__(self, name: str) -> Value:
        if name in _IN_IAM_POLICIES_ONLY:
            raise KeyError(name)
        return self._keys[name]

    @overload
    def get(self, name: str, default: None = None, /) -> Value | None: ...

    @overload
    def get(self, name: str, default: Any, /) -> Any: ...

    def get(self, name: str, default: Any = None, /) -> Any:
        return default if name in _IN_IAM_POLICIES_ONLY else self._keys.get(name, default)

    def __iter__(self) -> Iterator[str]:
        return (name for name in self._keys if name not in _IN_IAM_POLICIES_ONLY)

    def __len__(self) -> int:
        return sum(1 for _ in self)


def _of_caller(caller: Caller, tags: Mapping[str, str]) -> dict[str, Value]:
    moment, seconds = _spelled(int(clock.now().timestamp()))
    values: dict[str, Value] = {
        "aws:principalarn": caller.identity_arn,
        "aws:principalaccount": caller.account,
        "aws:principaltype": "Account" if caller.principal_type == "Root" else caller.principal_type,
        "aws:userid": caller.principal_id,
        "aws:securetransport": _bool(caller.is_secure),
        "aws:currenttime": moment,
        "aws:epochtime": seconds,
        "aws:requestedregion": caller.region,
        "aws:viaawsservice": "false",
        "aws:principalisawsservice": "false",
        "kms:calleraccount": caller.account,
    }
    if caller.principal_type == "User":
        values["aws:username"] = caller.user_name
    if caller.source_ip:
        values["aws:sourceip"] = caller.source_ip
    if caller.user_agent:
        values["aws:useragent"] = caller.user_agent
    if caller.session_began_at is not None:
        # Long-term keys have neither, so that a condition on them tells the two apart. The console acts with temporary
        # ones for whoever has signed in, and nobody has a second factor here.
        values["aws:multifactorauthpresent"] = "false"
        values["aws:tokenissuetime"], _ = _spelled(int(caller.session_began_at.timestamp()))
    if caller.source_identity:
        values["aws:sourceidentity"] = caller.source_identity
    if tags:
        values.update(_pairs("aws:principaltag/", tags.items()))
    return values


def _of_request(call: Call, action: str) -> dict[str, Value]:
    params, operation = call.params, action.partition(":")[2]
    values: dict[str, Value] = {**_DEFAULTS.get(operation, {}), **call.conditions}
    for member, value in params.items():  # fewer than there are keys
        name = _KEY_OF_MEMBER.get(member)
        if name is not None and value is not None:
            values[name] = _text(value)
    if "Tags" in params or "TagKeys" in params:
        values.update(_of_tags(params))
    algorithm = params.get(_ALGORITHM_MEMBER.get(operation, "EncryptionAlgorithm"))
    if algorithm:
        values["kms:encryptionalgorithm"] = algorithm
    context = params.get(CONTEXT_MEMBER.get(operation, "EncryptionContext"))
    if isinstance(context, dict) and context:
        values["kms:encryptioncontextkeys"] = tuple(context)
        values.update(_pairs("kms:encryptioncontext:", context.items()))
    if operation == "CreateKey":
        values.update(_of_new_key(params))
    if operation == "CreateGrant":
        values.update(_of_grant(params))
    if operation in _NOT_FOR_A_SERVICE:
        values["kms:grantisforawsresource"] = "false"
    return values


def _of_tags(params: Mapping[str, Any]) -> Iterator[tuple[str, Value]]:
    tags = params.get("Tags")
    if isinstance(tags, list) and tags:
        # IAM's members are named otherwise than KMS's.
        pairs = [(tag.get("TagKey") or tag.get("Key"), tag.get("TagValue") or tag.get("Value") or "") for tag in tags]
        yield "aws:tagkeys", tuple(name for name, _ in pairs)
        yield from _pairs("aws:requesttag/", pairs).items()
    names = params.get("TagKeys")
    if isinstance(names, list) and names:
        yield "aws:tagkeys", tuple(names)


def _of_new_key(params: Mapping[str, Any]) -> dict[str, Value]:
    spec = params.get("KeySpec") or params.get("CustomerMasterKeySpec") or "SYMMETRIC_DEFAULT"
    usage = params.get("KeyUsage") or "ENCRYPT_DECRYPT"
    return {
        **_spec_and_usage(spec, usage),
        "kms:keyorigin": params.get("Origin") or "AWS_KMS",
        "kms:multiregion": _bool(bool(params.get("MultiRegion"))),
    }


def _of_grant(params: Mapping[str, Any]) -> Iterator[tuple[str, Value]]:
    if params.get("Operations"):
        yield "kms:grantoperations", tuple(params["Operations"])
    constraints = params.get("Constraints") or {}
    for kind in ("EncryptionContextEquals", "EncryptionContextSubset"):
        if constraints.get(kind):
            yield "kms:grantconstrainttype", kind
    if constraints.get("SourceArn"):
        yield "kms:grantconstraintsourcearn", constraints["SourceArn"]


def of_key(key: KeyFacts) -> dict[str, Value]:
    """Those of a key, whoever calls: KeyFacts.condition_keys keeps them."""
    values: dict[str, Value] = {
        **_spec_and_usage(key.key_spec, key.key_usage),
        "kms:keyorigin": key.origin,
        "kms:multiregion": _bool(key.multi_region),
        "aws:resourceaccount": key.account,
    }
    if key.alias_names:
        # Whom such a condition allows a key with more aliases than the quota, AWS denies it.
        is_over = len(key.alias_names) > ALIASES_PER_KEY
        values["kms:resourcealiases"] = Unusable(key.alias_names) if is_over else key.alias_names
    if key.tags:
        values.update(_pairs("aws:resourcetag/", key.tags.items()))
    return values


def _pairs(prefix: str, pairs: Iterable[tuple[str, str]]) -> dict[str, Value]:
    """One condition key for each name. Names that differ in case only are one key of several values."""
    found: dict[str, Value] = {}
    for name, value in pairs:
        key = prefix + name.lower()
        found[key] = Several((*_values(found[key]), value)) if key in found else value
    return found


def _values(value: Value) -> tuple[str, ...]:
    return (value,) if isinstance(value, str) else value


def _spec_and_usage(spec: str, usage: str) -> dict[str, Value]:
    # Each under its old name, too.
    return {
        "kms:keyspec": spec,
        "kms:customermasterkeyspec": spec,
        "kms:keyusage": usage,
        "kms:customermasterkeyusage": usage,
    }


def _bool(value: bool) -> str:
    return "true" if value else "false"


def _text(value: Any) -> str:
    return _bool(value) if isinstance(value, bool) else str(value)


@lru_cache(maxsize=64)
def _spelled(seconds: int) -> tuple[str, str]:
    """A moment since 1970 as the two keys of time have it; many calls come in one second."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds)), str(seconds)
