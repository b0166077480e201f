"""Who gets in, and how: what credentials.json is to say."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from kmsapp.seed_file.file_entries import SeedFile
from kmsapp.seed_file.identity_entries import RootUser, User, access_keys_of
from kmsapp.seeding.drawing import Drawn, value

# In credentials.json, where every object has a user name, which a root user has not.
ROOT = "<root>"


@dataclass(frozen=True)
class Person:
    """A user, or an account's root user, with what lets them in."""

    account: str
    user_name: str
    password: str = field(repr=False)  # empty: none
    access_keys: tuple[tuple[str, str], ...] = field(repr=False)  # ids and secrets


def of_user(user: User, drawn: Drawn) -> Person:
    return Person(
        account=user.account,
        user_name=str(user.name),
        password=value(user, "password", drawn) if user.console_access else "",
        access_keys=_access_keys(user, drawn),
    )


def of_root(account: str, root: RootUser, drawn: Drawn) -> Person:
    return Person(account, ROOT, value(root, "password", drawn), _access_keys(root, drawn))


def _access_keys(owner: User | RootUser, drawn: Drawn) -> tuple[tuple[str, str], ...]:
    return tuple((value(one, "id", drawn), value(one, "secret", drawn)) for one in access_keys_of(owner))


def rows(seed: SeedFile, drawn: Drawn) -> list[dict[str, str]]:
    """One object for each person, in the order of the file, root users last; of two access keys each has its own."""
    people = [of_user(user, drawn) for user in seed.users]
    people += [of_root(str(account.id), account.root, drawn) for account in seed.accounts]
    return [row for person in people for row in _rows(person)]


def _rows(person: Person) -> Iterator[dict[str, str]]:
    for access_key_id, secret in person.access_keys or [("", "")]:
        yield {
            "account": person.account,
            "user_name": person.user_name,
            "password": person.password,
            "access_key_id": access_key_id,
            "secret_access_key": secret,
        }
