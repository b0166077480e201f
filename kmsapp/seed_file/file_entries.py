"""The table of members at the top of a seed file."""

from __future__ import annotations

from collections.abc import Iterator, Sized
from dataclasses import dataclass, field
from typing import ClassVar

from django.template.defaultfilters import pluralize

from kmsapp.seed_file import texts
from kmsapp.seed_file.entries import Entry, OfAccount, member
from kmsapp.seed_file.identity_entries import IDENTITY_POLICY, TRUST_POLICY, Account, Group, ManagedPolicy, Role, User
from kmsapp.seed_file.key_entries import Cluster, CustomKeyStore, Key, OfRegion
from kmsapp.seed_file.kinds import ListOf
from kmsapp.seed_file.reading import EntryKind

DEFAULT_REGION = "us-west-2"


@dataclass(kw_only=True)
class SeedFile(Entry):
    """What an installation begins with. Members that were left out hold what counts then, unless it is generated."""

    noun: ClassVar[str] = "a seed file"

    region: str = member(
        texts.REGION,
        "the Region of all that names none, and AWS_DEFAULT_REGION in aws.env",
        example="eu-central-1",
        left_out=DEFAULT_REGION,
        default=DEFAULT_REGION,
    )
    accounts: list[Account] = member(
        ListOf(EntryKind(Account), "a list of accounts"),
        "the accounts; to the first belongs all that names none",
        example='[{id: "111122223333"}]',
        required=True,
        default=list,
    )
    policies: list[ManagedPolicy] = member(
        ListOf(EntryKind(ManagedPolicy), "a list of managed policies"),
        "managed policies, beside AWS's own",
        example=f"[{{name: ListKeys, document: {IDENTITY_POLICY}}}]",
        left_out="none",
        default=list,
    )
    groups: list[Group] = member(
        ListOf(EntryKind(Group), "a list of groups"),
        "groups",
        example="[{name: KeyUsers}]",
        left_out="none",
        default=list,
    )
    users: list[User] = member(
        ListOf(EntryKind(User), "a list of users"),
        "users; aws.env signs as the first with an access key",
        example="[{name: alice}]",
        left_out="none",
        default=list,
    )
    roles: list[Role] = member(
        ListOf(EntryKind(Role), "a list of roles"),
        "roles",
        example=f"[{{name: AuditorRole, trust_policy: {TRUST_POLICY}}}]",
        left_out="none",
        default=list,
    )
    clusters: list[Cluster] = member(
        ListOf(EntryKind(Cluster), "a list of clusters"),
        "CloudHSM clusters, which are ACTIVE",
        example="[{}]",
        left_out="none",
        default=list,
    )
    custom_key_stores: list[CustomKeyStore] = member(
        ListOf(EntryKind(CustomKeyStore), "a list of custom key stores"),
        "custom key stores",
        example="[{name: ExampleKeyStore}]",
        left_out="none",
        default=list,
    )
    keys: list[Key] = member(
        ListOf(EntryKind(Key), "a list of keys"),
        "KMS keys",
        example="[{aliases: [alias/orders]}]",
        left_out="none",
        default=list,
    )
    policy_arns: dict[tuple[str, str], str] = field(default_factory=dict)  # (account, name) -> ARN of a managed policy

    def in_numbers(self) -> str:
        """How much of what there is: "2 accounts, 4 users, 1 cluster with 2 HSMs"."""
        hsms = sum(len(cluster.all_hsms()) for cluster in self.clusters)
        numbers: list[tuple[Sized, str]] = [
            (self.accounts, "account"),
            (self.users, "user"),
            (self.roles, "role"),
            (self.clusters, "cluster"),
            (self.custom_key_stores, "key store"),
            (self.keys, "key"),
        ]
        told = [f"{len(found)} {noun}{pluralize(len(found))}" for found, noun in numbers if found]
        return ", ".join(f"{one} with {hsms} HSM{pluralize(hsms)}" if "cluster" in one else one for one in told)

    def identities(self) -> list[Group | User | Role]:
        return [*self.groups, *self.users, *self.roles]

    def of_accounts(self) -> Iterator[OfAccount]:
        yield from (*self.policies, *self.groups, *self.users, *self.roles, *self.of_regions())

    def of_regions(self) -> Iterator[OfRegion]:
        yield from (*self.clusters, *self.custom_key_stores, *self.keys)

    def policy_arn(self, account: str, written: str) -> str:
        """The ARN of a managed policy that the file names, by name or by ARN; "" if there is none of that name."""
        return written if written.startswith("arn:") else self.policy_arns.get((account, written.lower()), "")
