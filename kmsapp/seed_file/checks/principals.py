"""Whom policies and grants name: an account, a user or a role of the file, or a session of such a role."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from kmsapp.policy.errors import Path
from kmsapp.seed_file.file_entries import SeedFile
from kmsapp.seed_file.identity_entries import Role, User
from kmsapp.seed_file.kinds import nearest, shown
from kmsapp.seed_file.places import Problems
from kmsapp.seed_file.policy_text import Policy

_ROOT = re.compile(r"(?:arn:aws:iam::)?([0-9]{12})(?::root)?")
_SESSION = re.compile(r"arn:aws:sts::([0-9]{12}):assumed-role/([^/]+)/.*")
_FEDERATED = re.compile(r"arn:aws:sts::([0-9]{12}):federated-user/.*")


def check(seed: SeedFile, problems: Problems) -> None:
    known = Known(seed)
    for policy in (*(role.trust_policy for role in seed.roles), *(key.policy for key in seed.keys)):
        if policy is not None:
            for arn, path in named(policy):
                if wrong := known.problem(arn):
                    problems.add(policy.place_of(path), wrong)
    for grant in (grant for key in seed.keys for grant in key.grants):
        for principal in (grant.grantee_principal, grant.retiring_principal):
            if principal is not None and (wrong := known.problem(principal)):
                problems.add(principal.place, wrong)


def named(policy: Policy) -> Iterator[tuple[str, Path]]:
    """What stands under "AWS" in Principal and NotPrincipal, and where in the document."""
    document = json.loads(policy.text)
    statements = document["Statement"]
    single = not isinstance(statements, list)
    for index, statement in enumerate([statements] if single else statements):
        above: Path = ("Statement",) if single else ("Statement", index)
        for element in ("Principal", "NotPrincipal"):
            yield from _under_aws(statement.get(element), (*above, element))


def _under_aws(principals: Any, path: Path) -> Iterator[tuple[str, Path]]:
    found = principals.get("AWS") if isinstance(principals, dict) else None
    if isinstance(found, list):
        yield from ((one, (*path, "AWS", index)) for index, one in enumerate(found))
    elif found is not None:
        yield found, (*path, "AWS")


class Known:
    """Who is there once the file is made."""

    def __init__(self, seed: SeedFile):
        self.accounts = {str(account.id) for account in seed.accounts}
        people: list[User | Role] = [*seed.users, *seed.roles]
        self.arns = {entry.arn for entry in people}
        self.roles = {(role.account, str(role.name)) for role in seed.roles}
        # One that is wrong by itself may be the one that is meant.
        self.is_uncertain = "" in self.accounts or any(not one.name for one in people)

    def problem(self, arn: str) -> str:
        """What is wrong with a principal, "" if nothing is."""
        if self.is_uncertain or self._has(arn):
            return ""
        near = nearest(arn, {*self.arns, *(f"arn:aws:iam::{account}:root" for account in self.accounts)})
        hint = f"Did you mean {near}?" if near else "Name an account, a user or a role of this file."
        return f"{shown(arn)} does not exist. {hint}"

    def _has(self, arn: str) -> bool:
        if arn == "*" or arn in self.arns:
            return True
        if root := _ROOT.fullmatch(arn):
            return root[1] in self.accounts
        if session := _SESSION.fullmatch(arn):
            return (session[1], session[2]) in self.roles
        federated = _FEDERATED.fullmatch(arn)
        return federated is not None and federated[1] in self.accounts
