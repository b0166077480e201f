"""The condition keys of a call: what policies may ask about who calls, how, and for what.

A key that does not apply is absent, which is not the same as empty. Names are lower-case here, because policies may
spell them in any case. Built only when a policy asks, a few microseconds each time.

Sources: https://docs.aws.amazon.com/kms/latest/developerguide/conditions-kms.html
https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_condition-keys.html
"""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from hsmapp import clock
from kmsapp.call import Call
from kmsapp.caller import Caller
from kmsapp.key_facts import KeyFacts
from kmsapp.policy.conditions import Several
from kmsapp.policy.variables import FoldedContext

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
# A condition holds for what the call means, so a member left out counts as its default.
_DEFAULTS = {
    "Decrypt": {"kms:encryptionalgorithm": "SYMMETRIC_DEFAULT"},
    "Encrypt": {"kms:encryptionalgorithm": "SYMMETRIC_DEFAULT"},
    "GenerateDataKey": {"kms:encryptionalgorithm": "SYMMETRIC_DEFAULT"},
    "GenerateDataKeyWithoutPlaintext": {"kms:encryptionalgorithm": "SYMMETRIC_DEFAULT"},
    "GetKeyPolicy": {"kms:policyname": "default"},
    "PutKeyPolicy": {"kms:policyname": "default"},
    "ScheduleKeyDeletion": {"kms:schedulekeydeletionpendingwindowindays": "30"},
    "Sign": {"kms:messagetype": "RAW"},
    "Verify": {"kms:messagetype": "RAW"},
}
# No AWS service calls on anybody's behalf here.
_NOT_FOR_A_SERVICE = {"CreateGrant", "ListGrants", "RevokeGrant"}


class ConditionKeys(FoldedContext):
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
            self._values = dict(_of_caller(call.caller, principal_tags))
            self._values.update(_of_request(call, action))
            if key is not None:
                self._values.update(_of_key(key, call.caller.account))
                if request_alias:
                    self._values["kms:requestalias"] = request_alias
            self._values.update((name.lower(), value) for name, value in more.items() if value)
        return self._values

    def __getitem__(self, name: str) -> Value:
        return self._all()[name.lower()]

    def __iter__(self) -> Iterator[str]:
        return iter(self._all())

    def __len__(self) -> int:
        return len(self._all())


def _of_caller(caller: Caller, tags: Mapping[str, str]) -> Iterator[tuple[str, Value]]:
    now = clock.now()
    yield "aws:principalarn", caller.identity_arn
    yield "aws:principalaccount", caller.account
    yield "aws:principaltype", "Account" if caller.principal_type == "Root" else caller.principal_type
    yield "aws:userid", caller.principal_id
    if caller.principal_type == "User":
        yield "aws:username", caller.user_name
    if caller.source_ip:
        yield "aws:sourceip", caller.source_ip
    if caller.user_agent:
        yield "aws:useragent", caller.user_agent
    if caller.session_began_at is not None:
        # Long-term keys have neither, so that a condition on them tells the two apart.
        yield "aws:multifactorauthpresent", "false"
        yield "aws:tokenissuetime", _iso(caller.session_began_at)
    if caller.source_identity:
        yield "aws:sourceidentity", caller.source_identity
    yield "aws:securetransport", _bool(caller.is_secure)
    yield "aws:currenttime", _iso(now)
    yield "aws:epochtime", str(int(now.timestamp()))
    yield "aws:requestedregion", caller.region
    yield "aws:viaawsservice", "false"
    yield "aws:principalisawsservice", "false"
    yield "kms:calleraccount", caller.account
    yield from _pairs("aws:principaltag/", tags.items())


def _of_request(call: Call, action: str) -> Iterator[tuple[str, Value]]:
    params, operation = call.params, action.partition(":")[2]
    yield from _DEFAULTS.get(operation, {}).items()
    for name, member in _MEMBERS.items():
        value = params.get(member)
        if value is not None:
            yield name, _text(value)
    yield from _of_tags(params)
    if params.get("EncryptionAlgorithm"):
        yield "kms:encryptionalgorithm", params["EncryptionAlgorithm"]
    context = params.get("EncryptionContext")
    if isinstance(context, dict) and context:
        yield "kms:encryptioncontextkeys", tuple(context)
        yield from _pairs("kms:encryptioncontext:", context.items())
    if operation == "CreateKey":
        yield from _of_new_key(params)
    if operation == "CreateGrant":
        yield from _of_grant(params)
    if operation in _NOT_FOR_A_SERVICE:
        yield "kms:grantisforawsresource", "false"


def _of_tags(params: Mapping[str, Any]) -> Iterator[tuple[str, Value]]:
    tags = params.get("Tags")
    if isinstance(tags, list) and tags:
        # IAM's members are named otherwise than KMS's.
        pairs = [(tag.get("TagKey") or tag.get("Key"), tag.get("TagValue") or tag.get("Value") or "") for tag in tags]
        yield "aws:tagkeys", tuple(name for name, _ in pairs)
        yield from _pairs("aws:requesttag/", pairs)
    names = params.get("TagKeys")
    if isinstance(names, list) and names:
        yield "aws:tagkeys", tuple(names)


def _of_new_key(params: Mapping[str, Any]) -> Iterator[tuple[str, Value]]:
    spec = params.get("KeySpec") or params.get("CustomerMasterKeySpec") or "SYMMETRIC_DEFAULT"
    usage = params.get("KeyUsage") or "ENCRYPT_DECRYPT"
    yield from _spec_and_usage(spec, usage)
    yield "kms:keyorigin", params.get("Origin") or "AWS_KMS"
    yield "kms:multiregion", _bool(bool(params.get("MultiRegion")))


def _of_grant(params: Mapping[str, Any]) -> Iterator[tuple[str, Value]]:
    if params.get("Operations"):
        yield "kms:grantoperations", tuple(params["Operations"])
    constraints = params.get("Constraints") or {}
    for kind in ("EncryptionContextEquals", "EncryptionContextSubset"):
        if constraints.get(kind):
            yield "kms:grantconstrainttype", kind
    if constraints.get("SourceArn"):
        yield "kms:grantconstraintsourcearn", constraints["SourceArn"]


def _of_key(key: KeyFacts, caller_account: str) -> Iterator[tuple[str, Value]]:
    yield from _spec_and_usage(key.key_spec, key.key_usage)
    yield "kms:keyorigin", key.origin
    yield "kms:multiregion", _bool(key.multi_region)
    yield "aws:resourceaccount", key.account
    if key.alias_names:
        yield "kms:resourcealiases", key.alias_names
    yield from _pairs("aws:resourcetag/", key.tags.items())


def _pairs(prefix: str, pairs: Iterable[tuple[str, str]]) -> Iterator[tuple[str, Value]]:
    """One condition key for each name. Names that differ in case only are one key of several values."""
    found: dict[str, Value] = {}
    for name, value in pairs:
        key = prefix + name.lower()
        found[key] = Several((*_values(found[key]), value)) if key in found else value
    yield from found.items()


def _values(value: Value) -> tuple[str, ...]:
    return (value,) if isinstance(value, str) else value


def _spec_and_usage(spec: str, usage: str) -> Iterator[tuple[str, Value]]:
    # Each under its old name, too.
    yield "kms:keyspec", spec
    yield "kms:customermasterkeyspec", spec
    yield "kms:keyusage", usage
    yield "kms:customermasterkeyusage", usage


def _bool(value: bool) -> str:
    return "true" if value else "false"


def _text(value: Any) -> str:
    return _bool(value) if isinstance(value, bool) else str(value)


def _iso(moment: datetime.datetime) -> str:
    return moment.astimezone(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
