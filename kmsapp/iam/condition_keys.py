"""The condition keys that say who calls, from where and when; each operation adds its own.

https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_condition-keys.html
"""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence

from kmsapp.caller import Caller

Keys = dict[str, str | Sequence[str]]

# The root user is the account itself, as IAM's table of aws:PrincipalType has it.
_PRINCIPAL_TYPES = {"User": "User", "Root": "Account", "AssumedRole": "AssumedRole"}


def of_caller(caller: Caller, tags: Mapping[str, str], *, now: datetime.datetime) -> Keys:
    """tags: aws:PrincipalTag.  now: wall time. Keys without a value are left out."""
    keys: Keys = {
        "aws:PrincipalArn": caller.identity_arn,
        "aws:PrincipalAccount": caller.account,
        "aws:PrincipalType": _PRINCIPAL_TYPES[caller.principal_type],
        "aws:PrincipalIsAWSService": "false",
        "aws:ViaAWSService": "false",
        "aws:userid": caller.principal_id,
        "aws:RequestedRegion": caller.region,
        "aws:SecureTransport": str(caller.is_secure).lower(),
        "aws:CurrentTime": _time(now),
        "aws:EpochTime": str(int(now.timestamp())),
    }
    sometimes = {
        "aws:username": caller.user_name,
        "aws:SourceIp": caller.source_ip,
        "aws:UserAgent": caller.user_agent,
        "aws:SourceIdentity": caller.source_identity,
    }
    keys.update({name: value for name, value in sometimes.items() if value})
    keys.update({f"aws:PrincipalTag/{key}": value for key, value in tags.items()})
    if caller.session_began_at is not None:
        # Long-term keys have neither, so that a condition on them tells the two apart.
        keys |= {"aws:TokenIssueTime": _time(caller.session_began_at), "aws:MultiFactorAuthPresent": "false"}
    return keys


def _time(moment: datetime.datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")
