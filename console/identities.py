"""What the pages of users, roles, groups and policies ask IAM for, through dispatch like everything else.

IAM's lists come in pages; an account's quotas bound them (5,000 users, 1,000 roles, 300 groups, 1,500 policies). What
the person may not see is no error of the page: it is a Part that holds AWS's sentence instead of items.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote

from kmsapp import dispatch
from kmsapp.caller import Caller
from kmsapp.errors import AccessDeniedException, NoSuchEntityException

ITEMS_AT_ONCE = 1000  # the most that IAM takes for MaxItems
# What kmsapp/operations/console_users.py has, which knows whether a user is enabled.
OWN_OPERATIONS = ("ListUsers", "GetUser", "DisableUser", "EnableUser")


@dataclass(frozen=True)
class Kind:
    """What differs between users, roles and groups."""

    noun: str  # in sentences
    title: str  # as IAM's operations and members call it: User, Role, Group
    plural: str  # of the title, also the member that lists them
    slug: str  # in addresses, and the entry of the navigation pane
    has_boundary: bool
    has_tags: bool

    @property
    def name(self) -> str:
        """The member that names one: UserName."""
        return f"{self.title}Name"


USER = Kind("user", "User", "Users", "users", has_boundary=True, has_tags=True)
ROLE = Kind("role", "Role", "Roles", "roles", has_boundary=True, has_tags=True)
GROUP = Kind("group", "Group", "Groups", "groups", has_boundary=False, has_tags=False)
KINDS = {kind.slug: kind for kind in (USER, ROLE, GROUP)}


@dataclass(frozen=True)
class Part:
    """A list on a page, or why the person can't see it."""

    items: list[Any] = field(default_factory=list)
    denied: str = ""  # AWS's sentence


@dataclass(frozen=True)
class Policy:
    """A policy in the permissions of an identity."""

    name: str
    arn: str = ""  # empty: inline
    group: str = ""  # the group that brings it; empty: it is the identity's own

    @property
    def type(self) -> str:
        if not self.arn:
            return "Customer inline"
        return policy_type(self.arn)


def policy_type(arn: str) -> str:
    return "AWS managed" if arn.startswith("arn:aws:iam::aws:") else "Customer managed"


class Identities:
    """Reads and changes on behalf of a caller."""

    def __init__(self, caller: Caller) -> None:
        self.caller = caller

    def ask(self, operation: str, **params: Any) -> dict[str, Any]:
        """One call of IAM, or of the console's operation about users. Raises: KmsError, AWS's answer."""
        service = "console" if operation in OWN_OPERATIONS else "iam"
        return dispatch.call(self.caller, f"{service}:{operation}", params)

    def all(self, operation: str, member: str, **params: Any) -> list[Any]:
        """Every item of a list, in IAM's order."""
        items: list[Any] = []
        marker: dict[str, str] = {}
        while True:
            answer = self.ask(operation, MaxItems=ITEMS_AT_ONCE, **params, **marker)
            items += answer[member]
            if not answer.get("IsTruncated"):
                return items
            marker = {"Marker": answer["Marker"]}

    def part(self, operation: str, member: str, **params: Any) -> Part:
        """The same for a part of a page that goes on without it."""
        try:
            return Part(self.all(operation, member, **params))
        except AccessDeniedException as error:
            return Part(denied=error.message)

    def get(self, kind: Kind, name: str) -> dict[str, Any]:
        """The user, role or group as its page shows it. Raises: KmsError."""
        found: dict[str, Any] = self.ask(f"Get{kind.title}", **{kind.name: name})[kind.title]
        return found | {"Name": found[kind.name], "Tags": found.get("Tags") or []}

    def policies(self, kind: Kind, name: str, *, group: str = "") -> Part:
        """Attached and inline policies of one identity."""
        named = {kind.name: name}
        attached = self.part(f"ListAttached{kind.title}Policies", "AttachedPolicies", **named)
        inline = self.part(f"List{kind.title}Policies", "PolicyNames", **named)
        policies = [Policy(entry["PolicyName"], entry["PolicyArn"], group) for entry in attached.items]
        policies += [Policy(inline_name, group=group) for inline_name in inline.items]
        return Part(policies, attached.denied or inline.denied)

    def policies_of_user(self, name: str) -> Part:
        """Those of the user, then those that groups bring."""
        own, groups = self.policies(USER, name), self.part("ListGroupsForUser", "Groups", UserName=name)
        brought = [self.policies(GROUP, group["GroupName"], group=group["GroupName"]) for group in groups.items]
        policies = own.items + [policy for part in brought for policy in part.items]
        return Part(policies, next((part.denied for part in (own, groups, *brought) if part.denied), ""))

    def inline_document(self, kind: Kind, name: str, policy_name: str) -> str:
        answer = self.ask(f"Get{kind.title}Policy", **{kind.name: name}, PolicyName=policy_name)
        return document(answer["PolicyDocument"])

    def login_profile(self, name: str) -> dict[str, Any] | None:
        """The user's console password, as far as it can be told; None if there is none. Raises: KmsError."""
        try:
            profile: dict[str, Any] = self.ask("GetLoginProfile", UserName=name)["LoginProfile"]
        except NoSuchEntityException:
            return None
        return profile


def document(encoded: str) -> str:
    """A policy document as IAM answers it, URL-encoded, as people read it: what stands on one line is indented."""
    text = unquote(encoded)
    if "\n" in text.strip():
        return text
    try:
        return json.dumps(json.loads(text), indent=2, ensure_ascii=False)
    except ValueError:
        return text


def trusted(role: dict[str, Any]) -> list[str]:
    """Whom a role's trust policy names, for a table."""
    try:
        statements = json.loads(unquote(role["AssumeRolePolicyDocument"]))["Statement"]
    except (ValueError, KeyError, TypeError):
        return []
    names: list[str] = []
    for statement in statements if isinstance(statements, list) else [statements]:
        names += _names(statement.get("Principal", {}))
    return list(dict.fromkeys(names))


def _names(principal: Any) -> list[str]:
    if isinstance(principal, dict):
        return [name for value in principal.values() for name in _names(value)]
    if isinstance(principal, list):
        return [str(name) for name in principal]
    return [str(principal)]
