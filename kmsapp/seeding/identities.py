"""Accounts, managed policies, groups, users and roles.

Each one is a transaction: it is there with all that belongs to it, or not at all. Passwords alone come after, because
to hash one takes a tenth of a second, which no transaction should.
"""

from __future__ import annotations

import json
from collections.abc import Callable

from django.db import transaction

from hsmapp import clock
from kmsapp.models import AccessKey, Account, Group, Role, User
from kmsapp.models import ManagedPolicy as PolicyRow
from kmsapp.seed_file import identity_entries as entries
from kmsapp.seed_file import requests
from kmsapp.seed_file.checks.principals import named
from kmsapp.seed_file.file_entries import SeedFile
from kmsapp.seed_file.policy_text import Policy
from kmsapp.seeding import people
from kmsapp.seeding.callers import call, root
from kmsapp.seeding.drawing import Drawn
from kmsapp.seeding.errors import making
from kmsapp.seeding.people import Person

# What a role trusts until those are there whom it is to trust: nobody.
_NOBODY = json.dumps(
    {
        "Version": "2012-10-17",
        "Statement": [{"Effect": "Deny", "Principal": {"AWS": "*"}, "Action": "sts:AssumeRole"}],
    }
)


def make(seed: SeedFile, drawn: Drawn, between: Callable[[], None]) -> None:
    """Make everybody who is not there yet. between: called before each."""
    for account in seed.accounts:
        between()
        _account(account, people.of_root(str(account.id), account.root, drawn))
    for policy in seed.policies:
        between()
        _policy(policy)
    for group in seed.groups:
        between()
        _group(seed, group)
    for user in seed.users:
        between()
        _user(seed, user, people.of_user(user, drawn))
    for role in seed.roles:
        between()
        _role(seed, role)
    for role in seed.roles:
        _trust(role)


def _account(entry: entries.Account, person: Person) -> None:
    now = clock.now()
    account_id = str(entry.id)
    Account.objects.get_or_create(account_id=account_id, defaults={"name": str(entry.name), "created_at": now})
    if not User.objects.filter(account_id=account_id, is_root=True).exists():
        user = User.root_of(account_id, created_at=now)
        user.set_password(person.password)
        user.save()
    with making(entry), transaction.atomic():
        _access_keys(person, {})


def _access_keys(person: Person, params: dict[str, str]) -> None:
    for access_key_id, secret in person.access_keys:
        if not AccessKey.objects.filter(access_key_id=access_key_id).exists():
            call(root(person.account), "iam:CreateAccessKey", params, access_key_id=access_key_id, secret=secret)


def _policy(entry: entries.ManagedPolicy) -> None:
    if not PolicyRow.objects.filter(account=entry.account, name=entry.name).exists():
        with making(entry):
            call(root(entry.account), "iam:CreatePolicy", requests.policy(entry), policy_id=entry.unique_id)


def _group(seed: SeedFile, entry: entries.Group) -> None:
    if not Group.objects.filter(account_id=entry.account, name=entry.name).exists():
        with making(entry), transaction.atomic():
            call(root(entry.account), "iam:CreateGroup", requests.group(entry), group_id=entry.unique_id)
            _give_policies(seed, entry)


def _user(seed: SeedFile, entry: entries.User, person: Person) -> None:
    caller, name = root(entry.account), str(entry.name)
    rows = User.objects.filter(account_id=entry.account, user_name=name)
    if not rows.exists():
        with making(entry), transaction.atomic():
            call(caller, "iam:CreateUser", requests.user(seed, entry), user_id=entry.unique_id)
            for group in entry.groups:
                call(caller, "iam:AddUserToGroup", {"GroupName": str(group), "UserName": name})
            _give_policies(seed, entry)
            _access_keys(person, {"UserName": name})
            if entry.staff:
                staff = rows.get()
                staff.is_staff = True
                staff.save(update_fields=["is_staff"])
    if person.password and not rows.get().has_usable_password():
        params = {
            "UserName": name,
            "Password": person.password,
            "PasswordResetRequired": entry.password_reset_required,
        }
        with making(entry):
            call(caller, "iam:CreateLoginProfile", params)


def _role(seed: SeedFile, entry: entries.Role) -> None:
    if not Role.objects.filter(account_id=entry.account, name=entry.name).exists():
        params = requests.role(seed, entry)
        if entry.trust_policy and _trusts_roles(entry.trust_policy):
            params["AssumeRolePolicyDocument"] = _NOBODY
        with making(entry), transaction.atomic():
            call(root(entry.account), "iam:CreateRole", params, role_id=entry.unique_id)
            _give_policies(seed, entry)


def _trust(entry: entries.Role) -> None:
    """Give a role its trust policy that names roles, once all of them are there: the role itself may be among them."""
    wanted = entry.trust_policy.text if entry.trust_policy else ""
    if Role.objects.filter(account_id=entry.account, name=entry.name).exclude(trust_policy=wanted).exists():
        with making(entry):
            params = {"RoleName": str(entry.name), "PolicyDocument": wanted}
            call(root(entry.account), "iam:UpdateAssumeRolePolicy", params)


def _trusts_roles(policy: Policy) -> bool:
    return any(":role/" in arn or ":assumed-role/" in arn for arn, _ in named(policy))


def _give_policies(seed: SeedFile, entry: entries.Group | entries.User | entries.Role) -> None:
    for name, params in requests.attachments(seed, entry):
        call(root(entry.account), name, params)
