"""What AssumeRole is asked for beyond the role: tags, session policies, a source identity; with AWS's limits on each.

https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRole.html
https://docs.aws.amazon.com/IAM/latest/UserGuide/id_session-tags.html
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from kmsapp.caller import Caller
from kmsapp.errors import (
    AccessDeniedException,
    InvalidParameterValue,
    MalformedPolicyDocumentException,
    PackedPolicyTooLargeException,
    ValidationException,
)
from kmsapp.iam import sessions
from kmsapp.models import ManagedPolicy
from kmsapp.models.policies import AWS
from kmsapp.policy.documents import Kind, parse
from kmsapp.policy.errors import PolicyError

MOST_TAGS = 50
MOST_POLICY_ARNS = 10
MOST_POLICY_CHARACTERS = 2048  # the inline policy and the ARNs of managed ones together
# (unconfirmed) AWS packs policies and tags into a form of its own and says only how full it is; here they are deflated.
MOST_PACKED_BYTES = 4096


@dataclass(frozen=True)
class SessionRequest:
    """What a session of a role is to have."""

    name: str
    external_id: str
    source_identity: str
    own_source_identity: bool  # asked for in this call, not handed on by the session that calls
    tags: Mapping[str, str]  # inherited ones too
    requested_tags: Mapping[str, str]
    transitive_tag_keys: Sequence[str]
    policies: Sequence[Mapping[str, str]]  # [{"name": …, "document": …}]

    @property
    def packed_percent(self) -> int | None:
        """How much of the allotted space policies and tags take; None without any."""
        if not self.policies and not self.tags:
            return None
        plain = json.dumps([[policy["name"] or policy["document"] for policy in self.policies], dict(self.tags)])
        return -(-len(zlib.compress(plain.encode())) * 100 // MOST_PACKED_BYTES)


def of(caller: Caller, params: Mapping[str, Any], *, role_account: str) -> SessionRequest:
    """Read the request.

    Raises: ValidationException, InvalidParameterValue, MalformedPolicyDocumentException,
    PackedPolicyTooLargeException, AccessDeniedException (of multi-factor authentication).
    """
    _refuse_what_is_not_built(params)
    requested = _requested_tags(params.get("Tags") or ())
    inherited = _inherited_tags(caller)
    transitive = _transitive_keys(params.get("TransitiveTagKeys") or (), requested, inherited)
    request = SessionRequest(
        name=params["RoleSessionName"],
        external_id=params.get("ExternalId") or "",
        source_identity=params.get("SourceIdentity") or caller.source_identity,
        own_source_identity=bool(params.get("SourceIdentity")),
        tags={**_without(requested, inherited), **inherited},
        requested_tags=requested,
        transitive_tag_keys=[*inherited, *transitive],
        policies=_policies(params, role_account),
    )
    _require_room(request)
    return request


def refuse_multi_factor(params: Mapping[str, Any]) -> None:
    """There are no MFA devices here, so a code is of none."""
    if params.get("SerialNumber") is not None or params.get("TokenCode") is not None:
        raise AccessDeniedException(
            "MultiFactorAuthentication failed, unable to validate MFA code.  Please verify your MFA serial number is "
            "valid and associated with this user."
        )


def _refuse_what_is_not_built(params: Mapping[str, Any]) -> None:
    refuse_multi_factor(params)
    # They would be condition keys that a trust policy may rely on, so they are not to be passed over in silence.
    if params.get("ProvidedContexts"):
        raise ValidationException("ProvidedContexts is not built in this version of Casemate.")


# Tags


def _requested_tags(tags: Sequence[Mapping[str, str]]) -> dict[str, str]:
    found = {tag["Key"]: tag["Value"] for tag in tags}
    if len({key.casefold() for key in found}) != len(tags):
        raise InvalidParameterValue("Duplicate tag keys found. Please note that Tag keys are case insensitive.")
    if any(key.lower().startswith("aws:") for key in found):
        raise InvalidParameterValue("Tag keys that begin with aws: are reserved for AWS.")
    return found


def _inherited_tags(caller: Caller) -> dict[str, str]:
    """Tags that the session that calls hands on to every role assumed from it."""
    facts = sessions.facts(caller)
    return {key: facts.tags[key] for key in facts.transitive_tag_keys if key in facts.tags}


def _without(tags: Mapping[str, str], others: Mapping[str, str]) -> dict[str, str]:
    taken = {key.casefold() for key in others}
    return {key: value for key, value in tags.items() if key.casefold() not in taken}


def _transitive_keys(keys: Sequence[str], requested: Mapping[str, str], inherited: Mapping[str, str]) -> list[str]:
    if _without(requested, inherited) != requested or not _folded(keys).isdisjoint(_folded(inherited)):
        raise InvalidParameterValue(
            "One of the specified transitive tag keys can't be set because it conflicts with a transitive tag key "
            "from the calling session."
        )
    if not _folded(keys) <= _folded(requested):
        raise InvalidParameterValue("The specified transitive tag key must be included in the requested tags.")
    wanted = _folded(keys)
    return [key for key in requested if key.casefold() in wanted]


def _folded(keys: Sequence[str] | Mapping[str, str]) -> set[str]:
    return {key.casefold() for key in keys}


# Policies


def _policies(params: Mapping[str, Any], role_account: str) -> list[dict[str, str]]:
    inline: str | None = params.get("Policy")
    arns = [entry.get("arn") or "" for entry in params.get("PolicyArns") or ()]
    # The model has lost the first of these limits, and never had the second.
    _require_length("policy", len(inline or ""), MOST_POLICY_CHARACTERS)
    _require_length("policyArns", len(arns), MOST_POLICY_ARNS)
    if len(inline or "") + sum(map(len, arns)) > MOST_POLICY_CHARACTERS:
        raise PackedPolicyTooLargeException(f"Session policies have more than {MOST_POLICY_CHARACTERS} characters.")
    found = []
    if inline is not None:
        _require_session_policy(inline)
        found.append({"name": "", "document": inline})
    return found + [_managed(arn, role_account) for arn in arns]


def _require_length(path: str, length: int, most: int) -> None:
    if length > most:
        raise ValidationException(
            f"1 validation error detected: Value at '{path}' failed to satisfy constraint: Member must have length "
            f"less than or equal to {most}"
        )


def _managed(arn: str, role_account: str) -> dict[str, str]:
    """The default version of a managed policy of the role's account, or of AWS's."""
    path, _, name = arn.rpartition("/")
    for account in (role_account, AWS):
        policy = ManagedPolicy.objects.filter(account=account, name=name).first()
        if policy is not None and policy.arn == arn and path:
            return {"name": arn, "document": policy.versions.get(is_default=True).document}
    raise ValidationException(f"{arn} is invalid")


def _require_session_policy(document: str) -> None:
    try:
        parse(document, Kind.SESSION)
    except PolicyError as error:
        raise MalformedPolicyDocumentException(error.aws_message) from error


def _require_room(request: SessionRequest) -> None:
    if len(request.tags) > MOST_TAGS:
        raise PackedPolicyTooLargeException(f"A session has at most {MOST_TAGS} tags, inherited ones included.")
    percent = request.packed_percent
    if percent is not None and percent > 100:
        raise PackedPolicyTooLargeException(
            f"Packed policy consumes {percent}% of allotted space, please use smaller policy."
        )
