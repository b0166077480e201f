"""Managed policies: their names, sizes and tags, and that those that are attached are there."""

from __future__ import annotations

from collections.abc import Iterable

from kmsapp.errors import KmsError
from kmsapp.iam import aws_managed, documents, tag_rules
from kmsapp.iam.attachments import MOST_ATTACHED
from kmsapp.models.policies import AWS
from kmsapp.seed_file import requests
from kmsapp.seed_file.checks import uniqueness
from kmsapp.seed_file.file_entries import SeedFile
from kmsapp.seed_file.identity_entries import Group, ManagedPolicy, Role, User
from kmsapp.seed_file.kinds import Text, nearest
from kmsapp.seed_file.places import Problems
from kmsapp.seed_file.policy_text import Policy


def check(seed: SeedFile, problems: Problems) -> None:
    own = [policy for policy in seed.policies if policy.name]
    uniqueness.require(
        (((one.account, one.name.lower()), one.name.place, f"The policy name {one.name}") for one in own), problems
    )
    for policy in seed.policies:
        check_tags(policy, problems)
        check_size(policy.document, documents.MOST_MANAGED, problems)
    for account in seed.accounts:
        for name in aws_managed.POLICIES:
            seed.policy_arns[account.id, name.lower()] = f"arn:aws:iam::{AWS}:policy/{name}"
    seed.policy_arns.update(((policy.account, policy.name.lower()), policy.arn) for policy in own)
    for entry in seed.identities():
        _check_attached(seed, entry, problems)


def check_size(policy: Policy | None, most: int, problems: Problems) -> None:
    """The size of one policy as IAM counts it."""
    if policy is not None and (size := documents.size(policy.text)) > most:
        sentence = f"The policy has {size:,} characters without white space. It can have {most:,} at most."
        problems.add(policy.place, sentence)


def check_tags(entry: ManagedPolicy | User | Role, problems: Problems) -> None:
    """Tags of IAM, whose keys differ without regard to case."""
    try:
        tag_rules.with_tags({}, requests.iam_tags(entry))
    except KmsError as error:
        problems.add(entry.place_of("tags"), error.message)


def _check_attached(seed: SeedFile, entry: Group | User | Role, problems: Problems) -> None:
    arns = _check_known(seed, entry.account, entry.managed_policies, problems)
    uniqueness.require(
        ((arn, written.place, f"The policy {written}") for arn, written in arns),
        problems,
        sentence=uniqueness.WRITTEN_TWICE,
    )
    if len(arns) > MOST_ATTACHED:
        problems.add(
            entry.place_of("managed_policies"), f"There are {len(arns)} policies. {MOST_ATTACHED} can be attached."
        )
    if not isinstance(entry, Group) and entry.permissions_boundary is not None:
        _check_known(seed, entry.account, [entry.permissions_boundary], problems)


def _check_known(seed: SeedFile, account: str, written: Iterable[Text], problems: Problems) -> list[tuple[str, Text]]:
    """The ARNs of policies by what was written; of one that is not there the problem is noted."""
    all_arns = set(seed.policy_arns.values())
    found = []
    for one in written:
        arn = seed.policy_arn(account, one)
        if arn in all_arns and arn.split(":")[4] in (account, AWS):
            found.append((arn, one))
        else:
            problems.add(one.place, _missing(seed, account, one))
    return found


def _missing(seed: SeedFile, account: str, written: str) -> str:
    names = {policy.name for policy in seed.policies if policy.account == account} | set(aws_managed.POLICIES)
    possible = [arn for (owner, _), arn in seed.policy_arns.items() if owner == account]
    near = nearest(written, possible if written.startswith("arn:") else names)
    hint = f"Did you mean {near}?" if near else "Write it among policies, or take one of AWS's that are there."
    return f"Account {account} has no managed policy {written}. {hint}"
