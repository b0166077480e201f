"""Policy documents: what is taken, and each refusal with AWS's sentence and its place."""

from __future__ import annotations

import json
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from kmsapp.errors import LimitExceededException, MalformedPolicyDocumentException
from kmsapp.policy import defaults, documents
from kmsapp.policy.documents import Kind, parse
from kmsapp.policy.errors import INVALID_PRINCIPALS, NO_PRINCIPAL, SYNTAX, PolicyError
from kmsapp.testing import ROOT

JSON_TEST_SUITE = ROOT.parent / "shared" / "data" / "payloads" / "JSONTestSuite" / "test_parsing"
ALICE = "arn:aws:iam::111122223333:user/alice"
KEY_STATEMENT = {"Effect": "Allow", "Principal": {"AWS": ALICE}, "Action": "kms:*", "Resource": "*"}
IDENTITY_STATEMENT = {"Effect": "Allow", "Action": "kms:*", "Resource": "*"}
TRUST_STATEMENT = {"Effect": "Allow", "Principal": {"AWS": ALICE}, "Action": "sts:AssumeRole"}


def text(*statements: Any, **members: Any) -> str:
    return json.dumps({"Version": "2012-10-17", **members, "Statement": list(statements)})


def without(statement: dict[str, Any], *elements: str) -> dict[str, Any]:
    return {name: value for name, value in statement.items() if name not in elements}


def key(**elements: Any) -> str:
    return text(KEY_STATEMENT | elements)


def identity(**elements: Any) -> str:
    return text(IDENTITY_STATEMENT | elements)


def trust(**elements: Any) -> str:
    return text(TRUST_STATEMENT | elements)


def principal(value: Any) -> str:
    return key(Principal={"AWS": value})


def condition(operator: str, key_name: str = "aws:username", value: Any = "alice") -> str:
    return key(Condition={operator: {key_name: value}})


VENDOR = "Actions/Conditions must be prefaced by a vendor, e.g., iam, sdb, ec2, etc."
ONE_COLON = "Actions/Condition can contain only one colon."
VERSION = "Policy document must be version 2012-10-17 or greater."
SID = "Statement IDs (SID) must be alpha-numeric. Check that your input satisfies the regular expression [0-9A-Za-z]*"

# Kind, text, AWS's sentence, a part of ours.
REFUSED: dict[str, tuple[Kind, str, str, str]] = {
    # JSON
    "no JSON": (Kind.KEY, "{", SYNTAX, "not valid JSON"),
    "nothing": (Kind.KEY, "", SYNTAX, "not valid JSON"),
    "text after it": (Kind.KEY, key() + "x", SYNTAX, "not valid JSON"),
    "a byte order mark": (Kind.KEY, "\ufeff" + key(), SYNTAX, "not valid JSON"),
    "a member twice": (Kind.KEY, key()[:-1] + ', "Version": "2012-10-17"}', SYNTAX, '"Version" stands twice'),
    "a member twice, deep": (
        Kind.KEY,
        '{"Statement": [{"Condition": {"Bool": {"a:b": "true", "a:b": "false"}}}]}',
        SYNTAX,
        "twice",
    ),
    "NaN": (Kind.KEY, '{"Version": NaN}', SYNTAX, "NaN is no JSON value"),
    "nested deeply": (Kind.KEY, '{"Version":' + "[" * 20_000, SYNTAX, "nested too deeply"),
    "nested and closed": (Kind.IDENTITY, "[" * 100_000 + "]" * 100_000, SYNTAX, "nested too deeply"),
    "a long number": (Kind.KEY, '{"Version": ' + "1" * 5000 + "}", SYNTAX, "a number that is too long"),
    "a lone surrogate": (Kind.KEY, '{"Id": "\ud800"}', SYNTAX, "half a character"),
    "a lone surrogate, escaped": (Kind.KEY, '{"Id": "\\ud800"}', SYNTAX, "half a character"),
    "a lone surrogate as a name": (Kind.KEY, '{"\\uDC00": "x"}', SYNTAX, "half a character"),
    # The document
    "a list": (Kind.KEY, "[]", SYNTAX, "must be a JSON object"),
    "a number": (Kind.KEY, "1", SYNTAX, "must be a JSON object"),
    "an unknown member": (Kind.KEY, text(KEY_STATEMENT, Name="x"), SYNTAX, "not 'Name'"),
    "a wrong version": (Kind.KEY, text(KEY_STATEMENT, Version="2020-01-01"), SYNTAX, "Version must be 2012-10-17"),
    "a version that is a number": (Kind.KEY, text(KEY_STATEMENT, Version=2012), SYNTAX, "Version must be 2012-10-17"),
    "an Id that is a number": (Kind.KEY, text(KEY_STATEMENT, Id=1), SYNTAX, "Id must be a text"),
    "no statement": (Kind.KEY, '{"Version": "2012-10-17"}', SYNTAX, "must have a Statement"),
    "an empty list": (Kind.KEY, text(), SYNTAX, "must have a Statement"),
    "a text for a statement": (Kind.KEY, '{"Statement": "x"}', SYNTAX, "must have a Statement"),
    "a text among statements": (Kind.KEY, text(KEY_STATEMENT, "x"), SYNTAX, "Statement 2 of the key policy must be"),
    "old version, identity": (Kind.IDENTITY, text(IDENTITY_STATEMENT, Version="2008-10-17"), VERSION, "2012-10-17"),
    "no version, session": (Kind.SESSION, json.dumps({"Statement": IDENTITY_STATEMENT}), VERSION, "2012-10-17"),
    # Statements
    "an unknown element": (Kind.KEY, key(Actions="kms:*"), SYNTAX, "no element 'Actions'"),
    "another case": (Kind.KEY, key(effect="Allow"), SYNTAX, "no element 'effect'"),
    "no effect": (Kind.KEY, text(without(KEY_STATEMENT, "Effect")), SYNTAX, "Effect Allow or Deny"),
    "another effect": (Kind.KEY, key(Effect="allow"), SYNTAX, "Effect Allow or Deny"),
    "Action and NotAction": (Kind.KEY, key(NotAction="kms:*"), SYNTAX, "take one"),
    "Resource and NotResource": (Kind.IDENTITY, identity(NotResource="*"), SYNTAX, "take one"),
    "Principal and NotPrincipal": (Kind.KEY, key(NotPrincipal="*"), SYNTAX, "take one"),
    "an action that is a number": (Kind.KEY, key(Action=[1]), SYNTAX, "Action must be a text"),
    "an action that is an object": (Kind.KEY, key(Action={}), SYNTAX, "Action must be a text"),
    "a resource that is null": (Kind.KEY, key(Resource=None), SYNTAX, "Resource must be a text"),
    "a Sid that is a number": (Kind.KEY, key(Sid=1), SYNTAX, "Sid must be a text"),
    "a Sid with spaces, identity": (Kind.IDENTITY, identity(Sid="Allow all"), SID, "'Allow all'"),
    "a Sid twice, identity": (
        Kind.IDENTITY,
        text(IDENTITY_STATEMENT | {"Sid": "a"}, IDENTITY_STATEMENT | {"Sid": "a"}),
        "Statement IDs (SID) in a single policy must be unique.",
        "stands twice",
    ),
    # Identity-based policies
    "Principal, identity": (Kind.IDENTITY, key(), "Policy document should not specify a principal.", "Principal"),
    "NotPrincipal, session": (
        Kind.SESSION,
        identity(NotPrincipal="*"),
        "Policy document should not specify a principal.",
        "NotPrincipal",
    ),
    "no action, identity": (
        Kind.IDENTITY,
        text(without(IDENTITY_STATEMENT, "Action")),
        "Policy statement must contain actions.",
        "has no Action",
    ),
    "no resource, identity": (
        Kind.IDENTITY,
        text(without(IDENTITY_STATEMENT, "Resource")),
        "Policy statement must contain resources.",
        "has no Resource",
    ),
    "empty actions, identity": (Kind.IDENTITY, identity(Action=[]), "Policy statement must contain actions.", ""),
    "an action without a service": (Kind.IDENTITY, identity(Action="Decrypt"), VENDOR, "'Decrypt'"),
    "an empty action": (Kind.IDENTITY, identity(Action=["kms:*", ""]), VENDOR, "''"),
    "an action with two colons": (Kind.IDENTITY, identity(Action="kms:a:b"), ONE_COLON, "more than one colon"),
    "an action of no service": (Kind.IDENTITY, identity(Action="k s:a"), "Vendor k s is not valid", "'k s'"),
    "a resource that is no ARN": (
        Kind.IDENTITY,
        identity(Resource="key/1"),
        'Resource key/1 must be in ARN format or "*".',
        "neither an ARN",
    ),
    "a resource that is half an ARN": (
        Kind.IDENTITY,
        identity(Resource="arn:aws:kms"),
        'Resource arn:aws:kms must be in ARN format or "*".',
        "fewer than the six",
    ),
    "a resource of no partition": (
        Kind.IDENTITY,
        identity(Resource="arn:awz:kms:us-west-2:111122223333:key/x"),
        'Partition "awz" is not valid for resource "arn:awz:kms:us-west-2:111122223333:key/x".',
        "'awz'",
    ),
    # Principals
    "no principal": (Kind.KEY, text(without(KEY_STATEMENT, "Principal")), NO_PRINCIPAL, "has no Principal"),
    "an empty principal": (Kind.KEY, key(Principal=""), NO_PRINCIPAL, "names nobody"),
    "an empty object": (Kind.KEY, key(Principal={}), NO_PRINCIPAL, "names nobody"),
    "an empty list of principals": (Kind.KEY, principal([]), NO_PRINCIPAL, "names nobody"),
    "an empty name": (Kind.KEY, principal([""]), NO_PRINCIPAL, "names nobody"),
    "an empty NotPrincipal": (
        Kind.KEY,
        text(without(KEY_STATEMENT, "Principal") | {"NotPrincipal": {"AWS": []}}),
        NO_PRINCIPAL,
        "NotPrincipal names nobody",
    ),
    "an ARN without AWS": (Kind.KEY, key(Principal=ALICE), SYNTAX, 'must be "*" or an object'),
    "a number for all principals": (Kind.KEY, key(Principal=1), SYNTAX, 'must be "*" or an object'),
    "another kind": (Kind.KEY, key(Principal={"User": ALICE}), SYNTAX, "not 'User'"),
    "a principal that is a number": (Kind.KEY, principal(111122223333), SYNTAX, "in a text"),
    "a group": (Kind.KEY, principal("arn:aws:iam::111122223333:group/ops"), INVALID_PRINCIPALS, "is a group"),
    "a wildcard": (Kind.KEY, principal("arn:aws:iam::111122223333:user/*"), INVALID_PRINCIPALS, "wildcards"),
    "a wildcard account": (Kind.KEY, principal("arn:aws:iam::*:root"), INVALID_PRINCIPALS, "wildcards"),
    "all sessions": (
        Kind.KEY,
        principal("arn:aws:sts::111122223333:assumed-role/App/*"),
        INVALID_PRINCIPALS,
        "wildcards",
    ),
    "a deleted user": (Kind.KEY, principal("AIDACKCEVSQ6C2EXAMPLE"), INVALID_PRINCIPALS, "deleted"),
    "a short account": (Kind.KEY, principal("11112222333"), INVALID_PRINCIPALS, "no account id"),
    "an account of other digits": (Kind.KEY, principal("١١١١٢٢٢٢٣٣٣٣"), INVALID_PRINCIPALS, "no account id"),
    "an account id with :root": (Kind.KEY, principal("111122223333:root"), INVALID_PRINCIPALS, "no account id"),
    "an account's ARN without :root": (Kind.KEY, principal("arn:aws:iam::111122223333"), INVALID_PRINCIPALS, "no ARN"),
    "another partition": (Kind.KEY, principal("arn:aws-cn:iam::111122223333:root"), INVALID_PRINCIPALS, "no ARN"),
    "a user without a name": (Kind.KEY, principal("arn:aws:iam::111122223333:user/"), INVALID_PRINCIPALS, "no ARN"),
    "a key": (Kind.KEY, principal("arn:aws:kms:us-west-2:111122223333:key/x"), INVALID_PRINCIPALS, "no ARN"),
    "a service of nobody": (Kind.KEY, key(Principal={"Service": "s3"}), INVALID_PRINCIPALS, "no Service"),
    "a canonical user": (Kind.KEY, key(Principal={"CanonicalUser": "79a5"}), INVALID_PRINCIPALS, "Amazon S3"),
    # Conditions
    "a condition that is a list": (Kind.KEY, key(Condition=[]), SYNTAX, "Condition must be an object"),
    "an operator without keys": (Kind.KEY, key(Condition={"Bool": "true"}), SYNTAX, "Bool must be an object"),
    "an unknown operator": (Kind.KEY, condition("StringIs"), SYNTAX, "no condition operator 'StringIs'"),
    "an operator in another case": (Kind.KEY, condition("stringequals"), SYNTAX, "no condition operator"),
    "IfExists twice": (Kind.KEY, condition("StringEqualsIfExistsIfExists"), SYNTAX, "no condition operator"),
    "an unknown set operator": (Kind.KEY, condition("ForSome:StringEquals"), SYNTAX, "no condition operator"),
    "an empty set operator": (Kind.KEY, condition(":StringEquals"), SYNTAX, "no condition operator"),
    "Null with IfExists": (Kind.KEY, condition("NullIfExists", value="true"), SYNTAX, "Null stands by itself"),
    "Null with a set operator": (Kind.KEY, condition("ForAnyValue:Null", value="true"), SYNTAX, "Null stands by"),
    "Null with another value": (Kind.KEY, condition("Null", value="yes"), SYNTAX, "neither true nor false"),
    "Bool with another value": (Kind.KEY, condition("Bool", value=["true", "yes"]), SYNTAX, "neither true nor false"),
    "a key without a service": (Kind.KEY, condition("StringEquals", "username"), SYNTAX, "no condition key"),
    "an empty key": (Kind.KEY, condition("StringEquals", ""), SYNTAX, "no condition key"),
    "a value that is an object": (Kind.KEY, condition("StringEquals", value={}), SYNTAX, "must be a text, a number"),
    "a value that is null": (Kind.KEY, condition("StringEquals", value=None), SYNTAX, "must be a text, a number"),
    "a list in a list": (Kind.KEY, condition("StringEquals", value=[["a"]]), SYNTAX, "must be a text, a number"),
    "no number": (Kind.KEY, condition("NumericEquals", value="ten"), SYNTAX, "is no number"),
    "infinity": (Kind.KEY, condition("NumericLessThan", value="Infinity"), SYNTAX, "is no number"),
    "no date": (Kind.KEY, condition("DateLessThan", value="tomorrow"), SYNTAX, "is no date"),
    "30 February": (Kind.KEY, condition("DateLessThan", value="2026-02-30"), SYNTAX, "is no date"),
    "no IP address": (Kind.KEY, condition("IpAddress", value="203.0.113.256"), SYNTAX, "is no IP address"),
    "no range": (Kind.KEY, condition("NotIpAddress", value="203.0.113.0/33"), SYNTAX, "is no IP address"),
    "no base64": (Kind.KEY, condition("BinaryEquals", value="a"), SYNTAX, "is no base64"),
    # Role trust policies
    "Resource, trust": (Kind.TRUST, trust(Resource="*"), "Has prohibited field Resource", "can't have Resource"),
    "NotPrincipal, trust": (
        Kind.TRUST,
        text(without(TRUST_STATEMENT, "Principal") | {"NotPrincipal": "*"}),
        "Has prohibited field NotPrincipal",
        "NotPrincipal",
    ),
    "no principal, trust": (
        Kind.TRUST,
        text(without(TRUST_STATEMENT, "Principal")),
        "Missing required field Principal",
        "has no Principal",
    ),
    "no action, trust": (
        Kind.TRUST,
        text(without(TRUST_STATEMENT, "Action")),
        "Missing required field Action",
        "has no Action",
    ),
    "a group, trust": (
        Kind.TRUST,
        trust(Principal={"AWS": "arn:aws:iam::111122223333:group/ops"}),
        'Invalid principal in policy: "AWS":"arn:aws:iam::111122223333:group/ops"',
        "is a group",
    ),
}


@pytest.mark.parametrize(("kind", "policy", "aws_message", "detail"), REFUSED.values(), ids=REFUSED)
def test_what_is_no_policy_is_refused(kind: Kind, policy: str, aws_message: str, detail: str) -> None:
    with pytest.raises(PolicyError) as refused:
        parse(policy, kind)
    error = refused.value
    assert (error.aws_message, error.code) == (aws_message, "MalformedPolicyDocumentException")
    assert detail in error.detail and error.line >= 1 and error.column >= 1


SETS = "matches requests without the specified [encryption context or tag]"


@pytest.mark.parametrize("name", ["kms:EncryptionContext:app", "KMS:encryptioncontext:app", "aws:RequestTag/team"])
def test_for_all_values_with_a_key_of_one_value_is_overly_permissive(name: str) -> None:
    for operator in ("ForAllValues:StringEquals", "ForAllValues:StringLikeIfExists"):
        with pytest.raises(PolicyError) as refused:
            parse(condition(operator, name), Kind.KEY)
        assert refused.value.aws_message.startswith(
            f"OverlyPermissiveCondition: Using the ForAllValues set operator with a single-valued condition key {SETS}"
        )
    parse(condition("ForAnyValue:StringEquals", name), Kind.KEY)
    parse(condition("ForAllValues:StringEquals", "kms:EncryptionContextKeys"), Kind.KEY)


# The text, and line and column of what is wrong.
PLACES = {
    "a missing comma": ('{\n  "Version": "2012-10-17"\n  "Statement": []\n}', 3, 3),
    "an unknown element": ('{"Statement": [\n  {"Effect": "Allow",\n\t"Name": 1}]}', 3, 2),
    "an effect": ('{"Statement": [\n  {"Sid": "x", "Effect": "Perhaps"}]}', 2, 16),
    "a missing effect, at the statement": ('{"Statement": [\n  {"Sid": "x"}]}', 2, 3),
    "of a statement without a list": ('{"Statement":\n {"Effect":\n"x"}}', 2, 3),
    "the second of two": ('{"Id": "a",\n "Id": "b"}', 2, 2),
    "the second of two, deep": ('{"Statement": [{},\n{"Sid": "a",\r\n  "Sid": "b"}]}', 3, 3),
    "a name that is also a value": ('{"Id": "Version",\n "Version": "x"}', 2, 2),
    "an escaped name": ('{\n"\\u0056ersion": "x"}', 2, 1),
    "NaN outside of texts": ('{"Id": "NaN",\n "Version": NaN}', 2, 13),
    "what is nested": ('{"Id":\n' + "[" * 5000 + "]" * 5000 + "}", 2, 100),
    "one of several actions": (
        '{"Statement": {"Effect": "Allow", "Principal": "*", "Resource": "*",\n"Action": ["kms:*",\n  7]}}',
        3,
        3,
    ),
    "one of several principals": (
        '{"Statement": {"Effect": "Allow", "Principal": {"AWS": [\n"*",\n "x"]}, "Resource": "*", "Action": "*"}}',
        3,
        2,
    ),
    "a condition's value": (
        '{"Statement": {"Effect": "Allow", "Principal": "*", "Resource": "*", "Action": "*",\n'
        ' "Condition": {"IpAddress": {\n  "aws:SourceIp": ["10.0.0.0/8",\n   "10.0.0.0/40"]}}}}',
        4,
        4,
    ),
}


@pytest.mark.parametrize(("policy", "line", "column"), PLACES.values(), ids=PLACES)
def test_a_fault_is_shown_where_it_is(policy: str, line: int, column: int) -> None:
    with pytest.raises(PolicyError) as refused:
        parse(policy, Kind.KEY)
    assert (refused.value.line, refused.value.column) == (line, column), str(refused.value)


TAKEN = {
    "the default": (Kind.KEY, defaults.default_policy("111122223333")),
    "the console's": (
        Kind.KEY,
        defaults.console_policy(
            "111122223333",
            administrators=[ALICE],
            administrators_may_delete=True,
            users=["arn:aws:iam::111122223333:role/a/b/App"],
            other_accounts=["444455556666"],
        ),
    ),
    "the old version": (Kind.KEY, text(KEY_STATEMENT, Version="2008-10-17")),
    "no version": (Kind.KEY, json.dumps({"Statement": KEY_STATEMENT})),
    "a Sid with spaces and other letters": (Kind.KEY, key(Sid="Zugriff für Prüfer (2)")),
    "a Sid twice": (Kind.KEY, text(KEY_STATEMENT | {"Sid": "a"}, KEY_STATEMENT | {"Sid": "a"})),
    "NotPrincipal with Allow": (Kind.KEY, text(without(KEY_STATEMENT, "Principal") | {"NotPrincipal": "*"})),
    "an action without a service": (Kind.KEY, key(Action="Decrypt")),
    "a resource that is no ARN": (Kind.KEY, key(Resource="key/1")),
    "every kind of principal": (
        Kind.KEY,
        key(
            Principal={
                "AWS": [
                    "*",
                    "111122223333",
                    "arn:aws:iam::444455556666:root",
                    "arn:aws:iam::444455556666:user/div/eng/erin@example.com",
                    "arn:aws:sts::444455556666:assumed-role/App/i-0abc",
                    "arn:aws:sts::444455556666:federated-user/bob",
                ],
                "Service": "logs.us-west-2.amazonaws.com",
                "Federated": ["accounts.google.com", "arn:aws:iam::444455556666:saml-provider/idp"],
            }
        ),
    ),
    "an empty condition": (Kind.KEY, key(Condition={})),
    "no values": (Kind.KEY, condition("StringEquals", value=[])),
    "values of every type": (Kind.KEY, condition("StringEquals", value=["a", 1, 1.5, True])),
    "a number past a double": (Kind.KEY, condition("NumericLessThan", value=98765).replace("98765", "1e400")),
    "half an ARN with an asterisk": (Kind.IDENTITY, identity(Resource="arn:aws:kms:*")),
    "ARNs of other services": (Kind.IDENTITY, identity(Resource=["arn:aws:s3:::b/*", "*"], Action=["s3:*", "*"])),
    "an Id": (Kind.IDENTITY, text(IDENTITY_STATEMENT, Id="mine")),
    "a session policy": (Kind.SESSION, identity()),
    "a trust policy": (Kind.TRUST, trust(Condition={"Bool": {"aws:MultiFactorAuthPresent": True}})),
    "a trust policy for a service": (Kind.TRUST, trust(Principal={"Service": "ec2.amazonaws.com"})),
    "a pair of surrogates": (Kind.KEY, key(Sid="\U0001f511")),
}


@pytest.mark.parametrize(("kind", "policy"), TAKEN.values(), ids=TAKEN)
def test_a_policy_is_taken(kind: Kind, policy: str) -> None:
    document = parse(policy, kind)
    assert document.kind is kind and document.statements


@pytest.mark.parametrize("missing", ["Action", "Resource"])
def test_a_key_policy_s_statement_may_lack_action_or_resource_and_has_no_effect(missing: str) -> None:
    document = parse(text(KEY_STATEMENT, without(KEY_STATEMENT, missing)), Kind.KEY)
    assert [statement.index for statement in document.ineffective()] == [1]
    denies, allows = document.for_action("kms:Decrypt")
    assert ([statement.index for statement in allows], denies) == ([0], ())


def test_a_document_knows_its_statements_and_whom_they_name() -> None:
    session = "arn:aws:sts::111122223333:assumed-role/App/s1"
    policy = json.dumps(
        {
            "Id": "mine",
            "Statement": [
                KEY_STATEMENT | {"Sid": "one", "Principal": {"AWS": [ALICE, "111122223333"]}},
                KEY_STATEMENT | {"Sid": "two", "Effect": "Deny", "Principal": {"AWS": session}},
            ],
        },
        indent=2,
    )
    document = parse(policy, Kind.KEY)
    assert (document.id, document.version) == ("mine", "2008-10-17")
    assert document.principal_arns() == {ALICE, session}
    assert [(one.sid, one.effect, one.line, one.column) for one in document.statements] == [
        ("one", "Allow", 4, 5),
        ("two", "Deny", 16, 5),
    ]


def test_actions_are_indexed_up_to_a_bound() -> None:
    document = parse(key(), Kind.KEY)
    for number in range(1000):
        assert document.for_action(f"kms:Action{number}")[1]
    assert len(document._by_action) <= 256


def test_32_768_bytes_are_a_key_policy_and_one_more_is_not() -> None:
    longest = key(Sid="é").ljust(documents.MOST_BYTES)
    longest = longest[: documents.MOST_BYTES - (len(longest.encode()) - len(longest))]
    assert len(longest.encode()) == documents.MOST_BYTES
    documents.require_valid(longest)
    with pytest.raises(LimitExceededException, match="larger than 32768 bytes"):
        documents.require_valid(longest + " ")
    parse(identity().ljust(documents.MOST_BYTES + 1), Kind.IDENTITY)


def test_what_goes_on_the_wire_is_aws_s_sentence() -> None:
    with pytest.raises(MalformedPolicyDocumentException) as refused:
        documents.require_valid(principal("arn:aws:iam::111122223333:group/ops"))
    assert refused.value.message == INVALID_PRINCIPALS


@pytest.mark.skipif(not JSON_TEST_SUITE.is_dir(), reason="JSONTestSuite is not beside the repository")
def test_no_text_of_jsontestsuite_is_a_policy_and_none_crashes() -> None:
    paths: list[Path] = sorted(JSON_TEST_SUITE.iterdir())
    for path in paths:
        for kind in Kind:
            with pytest.raises(PolicyError):
                parse(path.read_bytes().decode(errors="surrogateescape"), kind)
    print(f"{len(paths)} texts of JSONTestSuite refused as policies of four kinds")


# 32 kB each, made to be slow for a reader that goes back.
LABORIOUS = {
    "many names and one twice": "{" + ",".join(f'"{number}":0' for number in [*range(3000), 2999]) + "}",
    "a double far down, then an open text": '{"a":' * 12 + '{"x":0,"x":0}' + "}" * 12 + r'"\"' * 8000,
    "a variable of spaces": condition("StringLike", value="${a" + " " * 30_000),
    "many open variables": condition("StringLike", value="${a,'" * 6000),
    "an ARN of colons": condition("ArnLike", value=":" * 30_000 + "}"),
    "an ARN of open braces": condition("ArnLike", value="${" * 15_000 + ":"),
    "a principal of slashes": principal("arn:aws:iam::111122223333:user" + "/" * 30_000),
    "a provider of dots": key(Principal={"Federated": "a." * 15_000}),
    "many wildcards": key(Action="*?" * 15_000),
    "one wide segment": key(Action="*" + "a?" * 15_000 + "b*"),
    "many statements": text(*[{"Effect": "Allow", "Principal": "*"}] * 800),
    "nested objects": '{"a":' * 6000,
    "a number": '{"a":' + "1" * 32_000 + "x",
}


@pytest.mark.parametrize("policy", LABORIOUS.values(), ids=LABORIOUS)
def test_a_laborious_text_costs_little(policy: str) -> None:
    """Processor time; a reader that goes back takes seconds."""
    assert len(policy) <= documents.MOST_BYTES
    begun = time.process_time()
    with suppress(PolicyError):
        parse(policy, Kind.KEY).for_action("kms:" + "a" * 60)
    assert time.process_time() - begun < 1
