"""A right request of every operation that is built, of which an answer is sure to make nothing.

They are those of the access matrix. What changes something names things that are not there, or a name that is taken;
what reads names the demo's own things.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from kmsapp.registry import OPERATIONS
from kmsapp.testing import DEMO_ACCOUNT, Casemate
from kmsapp.tests.access_matrix_requests import REQUESTS, Made, New, Of, Request
from kmsapp.tests.fuzz.members import good
from kmsapp.tests.fuzz.published import service

ADMINISTRATOR, NOBODY = "alice", "mallory"
_KEY_ID = "1234abcd-12ab-34cd-56ef-1234567890ab"
_KEY = f"arn:aws:kms:us-west-2:{DEMO_ACCOUNT}:key/"
_IAM = f"arn:aws:iam::{DEMO_ACCOUNT}"
_THERE = {
    "key": f"{_KEY}{_KEY_ID}",
    "key id": _KEY_ID,
    "store": "cks-1234567890abcdef0",
    "cluster": "cluster-1a23b4cdefg",
    "alias": "alias/ExampleKey",
    "user": "bob",
    "role": "ExampleRole",
    "policy": "arn:aws:iam::aws:policy/AdministratorAccess",
    "user arn": f"{_IAM}:user/bob",
    "version": "v1",
}
_MISSING = {
    "key": f"{_KEY}{'0' * 8}{_KEY_ID[8:]}",
    "key id": f"{'0' * 8}{_KEY_ID[8:]}",
    "store": "cks-00000000000000000",
    "store name": "NoSuchStore",
    "cluster": "cluster-zzzzzzzzzzz",
    "alias": "alias/no-such-alias",
    "user": "no-such-user",
    "group": "no-such-group",
    "role": "no-such-role",
    "policy": f"{_IAM}:policy/no-such-policy",
    "user arn": f"{_IAM}:user/no-such-user",
    "assumed role": f"{_IAM}:role/no-such-role",
    "access key": "AKIA" + "Z" * 16,
    "some access key": "AKIA" + "Z" * 16,
    "grant": "0" * 64,
    "grantee": f"{_IAM}:user/bob",
    "retiring principal": f"{_IAM}:user/bob",
    "version": "v9",
    "key policy": '{"Version": "2012-10-17", "Statement": []}',
}
# Names that are taken, for what makes something. `prepare` takes those that the demo has not.
_TAKEN = {"alias": "alias/ExampleKey", "user": "bob", "role": "ExampleRole", "group": "taken", "policy name": "taken"}
# These make a session, whoever asks, or read nothing that is there to be read.
_ANYBODYS = {"sts:GetSessionToken"}
_MAKE_SESSIONS = {"sts:GetSessionToken", "sts:AssumeRole"}


@dataclass(frozen=True)
class Base:
    """A right request. Without `anchor` in it as it is, it may do something."""

    operation: str  # service:Operation
    params: dict[str, Any]
    anchor: str
    is_read_only: bool

    def who_may_send(self, request: dict[str, Any], *, is_refused: bool) -> str:
        """Whom to send the request as, so that it makes nothing; empty if nobody can.

        is_refused: whether its form is refused before anything is looked at.
        """
        is_harmless = is_refused or self.is_read_only
        if is_harmless or (self.anchor and request.get(self.anchor) == self.params[self.anchor]):
            return ADMINISTRATOR
        return "" if self.operation in _ANYBODYS else NOBODY


def prepare(casemate: Casemate) -> None:
    """Take the names that the demo has not taken."""
    iam = casemate.boto3("iam")
    if not [group for group in iam.list_groups()["Groups"] if group["GroupName"] == _TAKEN["group"]]:
        iam.create_group(GroupName=_TAKEN["group"])
        document = '{"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Action": "s3:*", "Resource": "*"}}'
        iam.create_policy(PolicyName=_TAKEN["policy name"], PolicyDocument=document)


def bases(ciphertext: bytes) -> list[Base]:
    """One for each operation. ciphertext: of the demo's key."""
    names = sorted(name for name in OPERATIONS if not name.startswith("console:"))
    return [_base(name, {**_THERE, "ciphertext": ciphertext}) for name in names]


def _base(operation: str, there: dict[str, Any]) -> Base:
    row = next(row for row in REQUESTS if row == operation or row.startswith(f"{operation} /"))
    request = REQUESTS[row]
    is_read_only = OPERATIONS[operation].read_only and operation not in _MAKE_SESSIONS
    stuff = {**_MISSING, **there} if is_read_only else _MISSING
    params = {name: _value(operation, name, value, request, stuff) for name, value in request.params.items()}
    anchors = [name for name, value in request.params.items() if isinstance(value, Of | New | Made)]
    return Base(operation, params, anchors[0] if anchors else "", is_read_only)


def _value(operation: str, name: str, value: Any, request: Request, stuff: dict[str, Any]) -> Any:
    match value:
        case New(kind) if not request.first:
            return _TAKEN[kind]
        case Of(kind) | New(kind) | Made(_, kind):
            return stuff[kind] if kind in stuff else _good(operation, name)
    return value


def _good(operation: str, name: str) -> Any:
    prefix, _, of_aws = operation.partition(":")
    model = service(prefix)
    return good(model, model.shape(model.input(of_aws)["members"][name]["shape"]))
