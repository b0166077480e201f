"""A4: condition keys by whole calls: for each a call that its condition lets in, and one that it keeps out.

https://docs.aws.amazon.com/kms/latest/developerguide/conditions-kms.html
https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_condition-keys.html
"""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hsmapp import clock
from kmsapp import demo, dispatch
from kmsapp.caller import Caller
from kmsapp.errors import AccessDeniedException
from kmsapp.tests.people import ALICE, BOB, CAROL, MALLORY, call, create_key

ROOT = f"arn:aws:iam::{demo.ACCOUNT}:root"
ROLE = "ExampleRole"
SESSION = Caller(
    demo.ACCOUNT,
    demo.REGION,
    f"arn:aws:sts::{demo.ACCOUNT}:assumed-role/{ROLE}/one",
    f"{demo.role_id(ROLE)}:one",
    principal_type="AssumedRole",
    role_arn=f"arn:aws:iam::{demo.ACCOUNT}:role/{ROLE}",
)
ALIAS, OTHER_ALIAS = "alias/conditions", "alias/other-conditions"
KEY, OTHER_KEY = "<key>", "<other key>"  # in a call's parameters
KEY_ARN = f"arn:aws:kms:{demo.REGION}:{demo.ACCOUNT}:key/"
IN_STORE = {"Origin": "AWS_CLOUDHSM", "CustomKeyStoreId": demo.KEY_STORE_ID}
IN_KEY_POLICY, IN_IAM_POLICY = "key policy", "IAM policy"


@dataclass(frozen=True)
class Made:
    """A call."""

    operation: str
    caller: Caller
    params: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Case:
    """A condition and the two calls."""

    condition: dict[str, Any]
    let_in: Made
    kept_out: Made
    where: str = IN_KEY_POLICY
    or_else: dict[str, Any] = field(default_factory=dict)  # the condition of the second call, if that is another


def describe(caller: Caller = BOB, key: str = KEY, **changed: Any) -> Made:
    return Made("DescribeKey", dataclasses.replace(caller, **changed), {"KeyId": KEY_ARN + key})


def encrypt(key: str = KEY, **context: str) -> Made:
    params: dict[str, Any] = {"KeyId": key, "Plaintext": b"x"}
    return Made("Encrypt", BOB, {**params, "EncryptionContext": context} if context else params)


def data_key(**context: str) -> Made:
    return Made("GenerateDataKey", BOB, {"KeyId": KEY, "KeySpec": "AES_256", "EncryptionContext": context})


def tag(**tags: str) -> Made:
    return Made("TagResource", BOB, {"KeyId": KEY, "Tags": _tags(tags)})


def create(**params: Any) -> Made:
    return Made("CreateKey", BOB, {**IN_STORE, **params})


def grant(*operations: str, grantee: Caller = MALLORY, **params: Any) -> Made:
    asked = {"KeyId": KEY, "GranteePrincipal": grantee.principal_arn, "Operations": list(operations) or ["Decrypt"]}
    return Made("CreateGrant", BOB, {**asked, **params})


def put(**params: Any) -> Made:
    return Made("PutKeyPolicy", BOB, {"KeyId": KEY, "Policy": "<its policy>", **params})


def _tags(tags: dict[str, str]) -> list[dict[str, str]]:
    return [{"TagKey": name, "TagValue": value} for name, value in tags.items()]


def where(operator: str, key: str, *values: str) -> dict[str, Any]:
    return {operator: {key: list(values)}}


def by(key: str, value: str, other: str, made: Made, **more: Any) -> Case:
    """A key whose value is the same for all calls that can be made: two conditions on one call."""
    equals = "StringEquals"
    return Case(where(equals, key, value), made, made, or_else=where(equals, key, other), **more)


SUBSET: dict[str, Any] = {"Constraints": {"EncryptionContextSubset": {"stage": "prod"}}}
EXACT: dict[str, Any] = {"Constraints": {"EncryptionContextEquals": {"stage": "prod"}}}
PAST, FUTURE = "2020-01-01T00:00:00Z", "2120-01-01T00:00:00Z"
NOW = clock.now()

CASES: dict[str, Case] = {
    # The request
    "kms:EncryptionContext:k": Case(
        where("StringEquals", "kms:EncryptionContext:stage", "prod"),
        encrypt(stage="prod"),
        encrypt(stage="test"),
    ),
    "kms:EncryptionContext:k, its name in another case": Case(
        where("StringEquals", "kms:EncryptionContext:STAGE", "prod"),
        data_key(stage="prod"),
        data_key(stage="PROD"),
    ),
    "kms:EncryptionContext:k, absent": Case(
        where("StringLike", "kms:EncryptionContext:stage", "*"), encrypt(stage="prod"), encrypt()
    ),
    "kms:EncryptionContextKeys, any": Case(
        where("ForAnyValue:StringEquals", "kms:EncryptionContextKeys", "stage"),
        encrypt(stage="prod", team="a"),
        encrypt(team="a"),
    ),
    "kms:EncryptionContextKeys, all": Case(
        where("ForAllValues:StringEquals", "kms:EncryptionContextKeys", "stage"),
        encrypt(stage="prod"),
        encrypt(stage="prod", team="a"),
    ),
    "kms:EncryptionContextKeys, their case": Case(
        where("ForAnyValue:StringEquals", "kms:EncryptionContextKeys", "stage"),
        encrypt(stage="prod"),
        encrypt(Stage="prod"),
    ),
    "kms:EncryptionAlgorithm, by default": by(
        "kms:EncryptionAlgorithm", "SYMMETRIC_DEFAULT", "RSAES_OAEP_SHA_256", encrypt()
    ),
    "kms:RequestAlias": Case(where("StringEquals", "kms:RequestAlias", ALIAS), encrypt(ALIAS), encrypt(KEY)),
    "kms:RequestAlias, an ARN": Case(
        where("StringEquals", "kms:RequestAlias", ALIAS),
        encrypt(f"arn:aws:kms:{demo.REGION}:{demo.ACCOUNT}:{ALIAS}"),
        encrypt(KEY_ARN + KEY),
    ),
    "aws:RequestTag/k": Case(
        where("StringEquals", "aws:RequestTag/team", "payments"), tag(team="payments"), tag(team="others")
    ),
    "aws:RequestTag/k at creation": Case(
        where("StringEquals", "aws:RequestTag/team", "payments"),
        create(Tags=_tags({"team": "payments"})),
        create(Tags=_tags({"team": "others"})),
        IN_IAM_POLICY,
    ),
    "aws:TagKeys": Case(
        where("ForAllValues:StringEquals", "aws:TagKeys", "team"), tag(team="payments"), tag(team="a", cost="b")
    ),
    "kms:BypassPolicyLockoutSafetyCheck": Case(
        where("Bool", "kms:BypassPolicyLockoutSafetyCheck", "true"), put(BypassPolicyLockoutSafetyCheck=True), put()
    ),
    "kms:GrantOperations": Case(
        where("ForAllValues:StringEquals", "kms:GrantOperations", "Encrypt", "Decrypt"),
        grant("Decrypt"),
        grant("Decrypt", "GenerateDataKey"),
    ),
    "kms:GrantConstraintType": Case(
        where("StringEquals", "kms:GrantConstraintType", "EncryptionContextSubset"),
        grant(**SUBSET),
        grant(**EXACT),
    ),
    "kms:GrantConstraintType, none": Case(where("Null", "kms:GrantConstraintType", "false"), grant(**EXACT), grant()),
    "kms:GranteePrincipal": Case(
        where("StringEquals", "kms:GranteePrincipal", MALLORY.principal_arn), grant(), grant(grantee=ALICE)
    ),
    "kms:RetiringPrincipal": Case(
        where("StringEquals", "kms:RetiringPrincipal", ALICE.principal_arn),
        grant(RetiringPrincipal=ALICE.principal_arn),
        grant(),
    ),
    "kms:GrantIsForAWSResource": Case(
        where("Bool", "kms:GrantIsForAWSResource", "false"),
        grant(),
        grant(),
        or_else=where("Bool", "kms:GrantIsForAWSResource", "true"),
    ),
    # The key
    "kms:ResourceAliases": Case(
        where("ForAnyValue:StringEquals", "kms:ResourceAliases", ALIAS),
        describe(),
        describe(key=OTHER_KEY),
        IN_IAM_POLICY,
    ),
    # "IAM policies only", as AWS has it.
    "kms:ResourceAliases in a key policy": Case(
        where("Null", "kms:ResourceAliases", "true"),
        describe(),
        describe(),
        or_else=where("ForAnyValue:StringEquals", "kms:ResourceAliases", ALIAS),
    ),
    "kms:KeyOrigin": by("kms:KeyOrigin", "AWS_CLOUDHSM", "AWS_KMS", describe()),
    "kms:KeyOrigin at creation": by("kms:KeyOrigin", "AWS_CLOUDHSM", "AWS_KMS", create(), where=IN_IAM_POLICY),
    "kms:KeySpec": by("kms:KeySpec", "SYMMETRIC_DEFAULT", "RSA_2048", describe()),
    "kms:KeySpec at creation, by default": by(
        "kms:KeySpec", "SYMMETRIC_DEFAULT", "RSA_2048", create(), where=IN_IAM_POLICY
    ),
    "kms:KeyUsage": by("kms:KeyUsage", "ENCRYPT_DECRYPT", "SIGN_VERIFY", describe()),
    "kms:MultiRegion": by("kms:MultiRegion", "false", "true", describe()),
    "aws:ResourceTag/k": Case(
        where("StringEquals", "aws:ResourceTag/team", "payments"), describe(), describe(key=OTHER_KEY)
    ),
    "aws:ResourceTag/k in IAM": Case(
        where("StringEquals", "aws:ResourceTag/team", "payments"), describe(), describe(key=OTHER_KEY), IN_IAM_POLICY
    ),
    "aws:ResourceAccount": by("aws:ResourceAccount", demo.ACCOUNT, demo.OTHER_ACCOUNT, describe()),
    # The caller
    "kms:CallerAccount": Case(where("StringEquals", "kms:CallerAccount", demo.ACCOUNT), describe(), describe(CAROL)),
    "kms:CallerAccount, the other": Case(
        where("StringEquals", "kms:CallerAccount", demo.OTHER_ACCOUNT), describe(CAROL), describe()
    ),
    "aws:PrincipalAccount": Case(
        where("StringEquals", "aws:PrincipalAccount", demo.OTHER_ACCOUNT), describe(CAROL), describe()
    ),
    "aws:PrincipalTag/k": Case(
        where("StringEquals", "aws:PrincipalTag/team", "payments"), describe(), describe(MALLORY)
    ),
    "aws:PrincipalTag/k in a variable": Case(
        where("StringEquals", "aws:ResourceTag/team", "${aws:PrincipalTag/team}"), describe(), describe(MALLORY)
    ),
    "aws:PrincipalArn": Case(
        where("ArnLike", "aws:PrincipalArn", f"arn:aws:iam::{demo.ACCOUNT}:user/b*"), describe(), describe(MALLORY)
    ),
    "aws:PrincipalArn of a session": Case(
        where("ArnEquals", "aws:PrincipalArn", SESSION.role_arn), describe(SESSION), describe()
    ),
    "aws:PrincipalType": Case(where("StringEquals", "aws:PrincipalType", "AssumedRole"), describe(SESSION), describe()),
    "aws:userid": Case(where("StringEquals", "aws:userid", BOB.principal_id), describe(), describe(MALLORY)),
    "aws:userid of a session": Case(
        where("StringLike", "aws:userid", f"{SESSION.identity_id}:*"), describe(SESSION), describe()
    ),
    "aws:username": Case(where("StringEquals", "aws:username", "bob"), describe(), describe(MALLORY)),
    "aws:username of a session": Case(where("StringLike", "aws:username", "*"), describe(), describe(SESSION)),
    # From where and when
    "aws:SourceIp": Case(
        where("IpAddress", "aws:SourceIp", "203.0.113.0/24", "2001:db8::/32"),
        describe(source_ip="203.0.113.7"),
        describe(source_ip="198.51.100.7"),
    ),
    "aws:SourceIp of IPv6": Case(
        where("IpAddress", "aws:SourceIp", "203.0.113.0/24", "2001:db8::/32"),
        describe(source_ip="2001:db8::7"),
        describe(source_ip="2001:db9::7"),
    ),
    "aws:SourceIp, not": Case(
        where("NotIpAddress", "aws:SourceIp", "203.0.113.0/24"),
        describe(source_ip="198.51.100.7"),
        describe(source_ip="203.0.113.7"),
    ),
    "aws:UserAgent": Case(
        where("StringLike", "aws:UserAgent", "aws-cli/*"),
        describe(user_agent="aws-cli/2"),
        describe(user_agent="curl"),
    ),
    "aws:SecureTransport": Case(
        where("Bool", "aws:SecureTransport", "true"), describe(is_secure=True), describe(is_secure=False)
    ),
    "aws:CurrentTime": Case(
        where("DateGreaterThan", "aws:CurrentTime", PAST),
        describe(),
        describe(),
        or_else=where("DateGreaterThan", "aws:CurrentTime", FUTURE),
    ),
    "aws:EpochTime": Case(
        where("NumericLessThan", "aws:EpochTime", "4733510400"),
        describe(),
        describe(),
        or_else=where("NumericLessThan", "aws:EpochTime", "1577836800"),
    ),
    "aws:RequestedRegion": Case(
        where("StringEquals", "aws:RequestedRegion", demo.REGION),
        create(),
        Made("CreateKey", dataclasses.replace(BOB, region="eu-central-1"), IN_STORE),
        IN_IAM_POLICY,
    ),
    # What no call has
    "kms:ViaService": Case(
        where("Null", "kms:ViaService", "true"),
        describe(),
        describe(),
        or_else=where("StringLike", "kms:ViaService", "*"),
    ),
    "aws:ViaAWSService": by("aws:ViaAWSService", "false", "true", describe()),
    "aws:PrincipalOrgID": Case(
        where("StringNotEquals", "aws:PrincipalOrgID", "o-a"),
        describe(),
        describe(),
        or_else=where("StringEquals", "aws:PrincipalOrgID", "o-a"),
    ),
    "aws:MultiFactorAuthPresent": Case(
        where("BoolIfExists", "aws:MultiFactorAuthPresent", "true"),
        describe(),
        describe(),
        or_else=where("Bool", "aws:MultiFactorAuthPresent", "true"),
    ),
    # Sessions have it, of the console too; long-term keys have not.
    "aws:MultiFactorAuthPresent of a session": Case(
        where("Bool", "aws:MultiFactorAuthPresent", "false"), describe(session_began_at=NOW), describe()
    ),
    "aws:MultiFactorAuthPresent of a role": Case(
        where("Bool", "aws:MultiFactorAuthPresent", "false"),
        describe(SESSION, session_began_at=NOW),
        describe(SESSION, session_began_at=NOW),
        or_else=where("Bool", "aws:MultiFactorAuthPresent", "true"),
    ),
    "aws:TokenIssueTime": Case(
        where("DateGreaterThan", "aws:TokenIssueTime", PAST), describe(session_began_at=NOW), describe()
    ),
}


@dataclass(frozen=True)
class Keys:
    """The keys that the calls are about: one with an alias and a tag, and one with others."""

    key: str
    other: str

    @classmethod
    def make(cls) -> Keys:
        made = cls(create_key(Tags=_tags({"team": "payments"})), create_key(Tags=_tags({"team": "others"})))
        call("CreateAlias", AliasName=ALIAS, TargetKeyId=made.key)
        call("CreateAlias", AliasName=OTHER_ALIAS, TargetKeyId=made.other)
        return made

    def allow(self, case: Case, condition: dict[str, Any]) -> str:
        """Let everyone do everything under the condition, by the policy that the case names; the keys' policy."""
        statement = {"Effect": "Allow", "Action": "*", "Resource": "*", "Condition": condition}
        own = {"Effect": "Allow", "Principal": {"AWS": ROOT}, "Action": "kms:*", "Resource": "*"}
        further = {**statement, "Action": "kms:*", "Principal": "*"}
        statements = [own, further] if case.where == IN_KEY_POLICY else [own]
        policy = json.dumps({"Version": "2012-10-17", "Statement": statements})
        for key in (self.key, self.other):
            call("PutKeyPolicy", KeyId=key, Policy=policy)
        self._allow_in_iam(statement if case.where == IN_IAM_POLICY else None)
        return policy

    def _allow_in_iam(self, statement: dict[str, Any] | None) -> None:
        if statement is None:
            if "own" in call("iam:ListUserPolicies", UserName="bob")["PolicyNames"]:
                call("iam:DeleteUserPolicy", UserName="bob", PolicyName="own")
            return
        document = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
        call("iam:PutUserPolicy", UserName="bob", PolicyName="own", PolicyDocument=document)

    def is_let_in(self, made: Made, policy: str) -> bool:
        try:
            dispatch.call(made.caller, f"kms:{made.operation}", self._filled(made.params, policy))
        except AccessDeniedException:
            return False
        return True

    def _filled(self, params: dict[str, Any], policy: str) -> dict[str, Any]:
        texts = {KEY: self.key, OTHER_KEY: self.other, "<its policy>": policy}
        filled = dict(params)
        for name in ("KeyId", "Policy"):
            for text, value in texts.items():
                if name in filled:
                    filled[name] = filled[name].replace(text, value)
        return filled


def test_each_condition_key_lets_a_call_in_and_keeps_another_out(installation: Path) -> None:
    keys = Keys.make()
    call("iam:TagUser", UserName="bob", Tags=[{"Key": "team", "Value": "payments"}])
    found = {}
    for name, case in CASES.items():
        let_in = keys.is_let_in(case.let_in, keys.allow(case, case.condition))
        kept_out = not keys.is_let_in(case.kept_out, keys.allow(case, case.or_else or case.condition))
        found[name] = (let_in, kept_out)
    print(f"{2 * len(found)} calls of {len(found)} conditions")
    assert {name: both for name, both in found.items() if both != (True, True)} == {}
