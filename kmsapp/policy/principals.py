"""The Principal and NotPrincipal elements: what they may say, and how well they name a caller.

https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_principal.html
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, NamedTuple

from kmsapp.policy.errors import INVALID_PRINCIPALS, NO_PRINCIPAL, SYNTAX, FaultError, Path

_ACCOUNT = re.compile(r"(?:arn:aws:iam::)?(\d{12})(?::root)?", re.ASCII)
_IDENTITY = re.compile(r"arn:aws:iam::\d{12}:(?:user|role)/(?:[!-)+->@-~]+/)?[\w+=,.@-]+", re.ASCII)
_SESSION = re.compile(r"arn:aws:sts::\d{12}:(?:assumed-role/[\w+=,.@-]+|federated-user)/[\w+=,.@-]+", re.ASCII)
_SERVICE = re.compile(r"[a-z0-9-]+(?:\.[a-z0-9-]+)*\.amazonaws\.com")
_FEDERATED = re.compile(r"arn:aws:iam::\d{12}:(?:saml|oidc)-provider/\S+|[a-z0-9-]+(?:\.[a-z0-9-]+)+", re.ASCII)
_UNIQUE_ID = re.compile(r"A(?:IDA|ROA)[A-Z0-9]+")
_NO_ARNS: frozenset[str] = frozenset()


class Grade(IntEnum):
    """How well a statement names the caller; a better one needs less beside it."""

    NONE = 0
    ACCOUNT = 1  # the caller's account: what its identity-based policies allow
    ROLE = 2  # the role of the caller's session: within its boundary and session policies
    CALLER = 3  # the user or the session itself, or everyone: an implicit denial elsewhere does not matter


# Python 3.11 finds a member of an enumeration by a function of its own, and a decision asks for dozens.
NONE, ACCOUNT, ROLE, CALLER = Grade


class Names(NamedTuple):
    """What is known of a caller's names."""

    arn: str  # of the user, the session, or arn:aws:iam::<account>:root
    role_arn: str  # of a session's role, with its path; "" for others
    account: str
    unique_id: str  # AIDA… of a user, AROA… of a role; "" if unknown
    # Who the policy's user and role ARNs were when it was put; None: compare ARNs only.
    unique_ids: Mapping[str, str] | None
    # Those of them that mean the caller, who was renamed since: the policy means who it was, not what they were called.
    old_arns: frozenset[str]

    @classmethod
    def of(cls, arn: str, role_arn: str, account: str, unique_id: str, unique_ids: Mapping[str, str] | None) -> Names:
        old = _NO_ARNS
        # A policy names nobody twice: each principal stands in it under the one ARN of the time when it was put.
        if unique_ids and unique_id and unique_ids.get(role_arn or arn) != unique_id:
            old = frozenset([name for name, recorded in unique_ids.items() if recorded == unique_id])
        return cls(arn, role_arn, account, unique_id, unique_ids, old)


@dataclass(frozen=True)
class Principals:
    """A compiled Principal or NotPrincipal."""

    negated: bool  # NotPrincipal
    everyone: bool
    accounts: frozenset[str]
    arns: frozenset[str]  # users, roles, sessions
    others: frozenset[str]  # services, identity providers

    def grade(self, caller: Names) -> Grade:
        """How well the element names the caller."""
        if self.negated:
            # An account beside its user is AWS's advice for NotPrincipal; alone it exempts nobody but the root user.
            return NONE if self._names(caller) or self._is_its_root(caller) else CALLER
        if named := self._names(caller):
            return named
        return ACCOUNT if caller.account in self.accounts else NONE

    def _names(self, caller: Names) -> Grade:
        if self.everyone:
            return CALLER
        if caller.arn in self.arns and _is_same(caller.arn, caller):
            return ROLE if ":role/" in caller.arn else CALLER
        if caller.role_arn in self.arns and _is_same(caller.role_arn, caller):
            return ROLE
        if caller.old_arns and not caller.old_arns.isdisjoint(self.arns):
            return ROLE if caller.role_arn else CALLER
        return CALLER if caller.arn in self.others else NONE

    def _is_its_root(self, caller: Names) -> bool:
        return caller.account in self.accounts and caller.arn == f"arn:aws:iam::{caller.account}:root"


def _is_same(arn: str, caller: Names) -> bool:
    """Whether the caller is the one whom the ARN meant when the policy was put, and no later namesake."""
    if caller.unique_ids is None:
        return True
    if ":assumed-role/" in arn or ":federated-user/" in arn:
        return caller.unique_ids.get(arn, caller.unique_id) == caller.unique_id
    return bool(caller.unique_id) and caller.unique_ids.get(arn) == caller.unique_id


def compile_principals(element: str, value: Any, path: Path, *, is_trust_policy: bool) -> Principals:
    """element: Principal or NotPrincipal.

    Raises: FaultError.
    """
    if value == "*":
        return Principals(element == "NotPrincipal", True, frozenset(), frozenset(), frozenset())
    if value in ("", {}, [], None):
        raise FaultError(path, f"{element} names nobody.", NO_PRINCIPAL)
    if not isinstance(value, dict):
        detail = f'{element} must be "*" or an object such as {{"AWS": "arn:aws:iam::111122223333:user/alice"}}.'
        raise FaultError(path, detail)
    accounts, arns, others, everyone = set(), set(), set(), False
    for kind, name, place in _entries(element, value, path):
        if kind == "AWS" and name == "*":
            everyone = True
        elif kind == "AWS" and (account := _account(name)):
            accounts.add(account)
        elif kind == "AWS" and (_IDENTITY.fullmatch(name) or _SESSION.fullmatch(name)):
            arns.add(name)
        elif (kind == "Service" and _SERVICE.fullmatch(name)) or (kind == "Federated" and _FEDERATED.fullmatch(name)):
            others.add(name)
        else:
            raise FaultError(place, _why_not(kind, name), _refusal(kind, name, is_trust_policy))
    if not (accounts or arns or others or everyone):
        raise FaultError(path, f"{element} names nobody.", NO_PRINCIPAL)
    return Principals(element == "NotPrincipal", everyone, frozenset(accounts), frozenset(arns), frozenset(others))


def _account(name: str) -> str:
    match = _ACCOUNT.fullmatch(name)
    # Both forms or neither of their parts: an ARN ends in :root, a bare account id has none.
    return match[1] if match and name.startswith("arn:") == name.endswith(":root") else ""


def _entries(element: str, value: dict[str, Any], path: Path) -> Iterator[tuple[str, str, Path]]:
    for kind, names in value.items():
        if kind not in ("AWS", "Service", "Federated", "CanonicalUser"):
            raise FaultError((*path, kind), f"{element} has AWS, Service and Federated, not {kind!r}.", SYNTAX)
        if isinstance(names, list):
            places = [((*path, kind, index), name) for index, name in enumerate(names)]
        else:
            places = [((*path, kind), names)]
        for place, name in places:
            if type(name) is not str:
                raise FaultError(place, f"{element} must name each {kind} principal in a text.")
            if name:
                yield kind, name, place


def _refusal(kind: str, name: str, is_trust_policy: bool) -> str:
    return f'Invalid principal in policy: "{kind}":"{name}"' if is_trust_policy else INVALID_PRINCIPALS


def _why_not(kind: str, name: str) -> str:
    shown = name if len(name) <= 200 else f"{name[:200]}…"
    if kind == "AWS" and ":group/" in name:
        return f"{shown} is a group. A group is no principal: name its users, or let an IAM policy allow them."
    if kind == "AWS" and ("*" in name or "?" in name):
        return f"{shown}: a principal can't have wildcards in a part of it. Use a condition on aws:PrincipalArn."
    if kind == "AWS" and _UNIQUE_ID.fullmatch(name):
        return f"{shown} is the unique id of a user or role that was deleted. Take it out."
    if kind == "CanonicalUser":
        return "CanonicalUser is for Amazon S3 alone."
    if kind == "AWS":
        return f"{shown} is no ARN of an account, a user, a role or a session, and no account id."
    return f"{shown} is no {kind} principal."
