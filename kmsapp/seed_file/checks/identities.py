"""Users, groups and roles: names, unique ids, ways in, groups, inline policies."""

from __future__ import annotations

from collections.abc import Iterator

from kmsapp.iam import documents, entities, passwords
from kmsapp.iam.access_keys import MOST_KEYS_OF_A_USER
from kmsapp.iam.groups import MOST_GROUPS_OF_A_USER
from kmsapp.seed_file.checks import uniqueness
from kmsapp.seed_file.checks.policies import check_size, check_tags
from kmsapp.seed_file.file_entries import SeedFile
from kmsapp.seed_file.identity_entries import AccessKey, Group, Role, RootUser, User
from kmsapp.seed_file.kinds import one_of
from kmsapp.seed_file.places import Problems

_MOST_INLINE = {
    User: entities.USER.most_inline,
    Group: entities.GROUP.most_inline,
    Role: entities.ROLE.most_inline,
}


def check(seed: SeedFile, problems: Problems) -> None:
    _check_unique(seed, problems)
    for user in seed.users:
        _check_way_in(user, problems)
        _check_groups(seed, user, problems)
        check_tags(user, problems)
    for account in seed.accounts:
        if account.root_user is not None:
            _check_password(account.root_user, account.id, "", problems)
            _check_number_of_keys(account.root_user, problems)
    for role in seed.roles:
        check_tags(role, problems)
        check_size(role.trust_policy, documents.MOST_TRUST, problems)
    for owner in seed.identities():
        _check_inline_policies(owner, problems)


def _check_unique(seed: SeedFile, problems: Problems) -> None:
    uniqueness.require(
        (
            ((type(one), one.account, one.name.lower()), one.name.place, f"The {one.noun[2:]} name {one.name}")
            for one in seed.identities()
            if one.name
        ),
        problems,
    )
    unique_ids = [one.unique_id for one in (*seed.policies, *seed.identities())]
    uniqueness.require(((one, one.place, f"The unique ID {one}") for one in unique_ids if one), problems)
    uniqueness.require(
        ((key.id, key.place_of("id"), f"The access key ID {key.id}") for key in _access_keys(seed) if key.id), problems
    )


def _access_keys(seed: SeedFile) -> Iterator[AccessKey]:
    for owner in (*(account.root_user for account in seed.accounts), *seed.users):
        if owner is not None:
            yield from owner.access_keys or []


def _check_way_in(user: User, problems: Problems) -> None:
    if not user.console_access:
        for name in ("password", "password_reset_required"):
            if name in user.places:
                sentence = "A user without console_access has no password. Leave one of the two out."
                problems.add(user.places[name], sentence)
    _check_password(user, user.account, user.name, problems)
    _check_number_of_keys(user, problems)


def _check_password(owner: User | RootUser, account: str, user_name: str, problems: Problems) -> None:
    if owner.password is not None:
        wrong = passwords.problem(owner.password, account=account, user_name=user_name)
        if wrong:
            problems.add(owner.password.place, wrong)


def _check_number_of_keys(owner: User | RootUser, problems: Problems) -> None:
    number = len(owner.access_keys or [])
    if number > MOST_KEYS_OF_A_USER:
        sentence = f"There are {number} access keys. A user can have {MOST_KEYS_OF_A_USER}."
        problems.add(owner.place_of("access_keys"), sentence)


def _check_groups(seed: SeedFile, user: User, problems: Problems) -> None:
    possible = {group.name.lower(): group.name for group in seed.groups if group.account == user.account}
    uniqueness.require(
        ((one.lower(), one.place, f"The group {one}") for one in user.groups),
        problems,
        sentence=uniqueness.WRITTEN_TWICE,
    )
    for group in user.groups:
        if group.lower() not in possible:
            sentence = f"Account {user.account} has no group {group}. {one_of(group, possible.values())}"
            problems.add(group.place, sentence)
    if len(user.groups) > MOST_GROUPS_OF_A_USER:
        sentence = f"There are {len(user.groups)} groups. A user can be in {MOST_GROUPS_OF_A_USER}."
        problems.add(user.place_of("groups"), sentence)


def _check_inline_policies(owner: Group | User | Role, problems: Problems) -> None:
    uniqueness.require(
        ((name.lower(), name.place, f"The policy name {name}") for name in owner.inline_policies), problems
    )
    size, most = sum(documents.size(one.text) for one in owner.inline_policies.values()), _MOST_INLINE[type(owner)]
    if size > most:
        sentence = f"The policies have {size:,} characters without white space. They can have {most:,} together."
        problems.add(owner.place_of("inline_policies"), sentence)
