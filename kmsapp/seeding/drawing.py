"""What a seed file leaves to chance: drawn once, before anything is made, so that a second run makes the same.

Drawn values are named by the path of the member that would have chosen them: keys[2].id, users[0].password.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator, Mapping

from kmsapp import ids
from kmsapp.iam import passwords
from kmsapp.seed_file.entries import Entry
from kmsapp.seed_file.file_entries import SeedFile
from kmsapp.seed_file.identity_entries import RootUser, User, access_keys_of

Drawn = Mapping[str, str]  # path -> value; passwords and secret access keys are among them


def draw(seed: SeedFile) -> dict[str, str]:
    """A value for everything that the file does not choose and that a second run could not find again."""
    return {entry.place.member(name): make() for entry, name, make in _wanted(seed) if getattr(entry, name) is None}


def value(entry: Entry, name: str, drawn: Drawn) -> str:
    """What the file chose for the member, or what was drawn for it."""
    chosen = getattr(entry, name)
    return drawn[entry.place.member(name)] if chosen is None else str(chosen)


def _wanted(seed: SeedFile) -> Iterator[tuple[Entry, str, Callable[[], str]]]:
    for cluster in seed.clusters:
        yield cluster, "id", _cluster_id
    for key in seed.keys:
        yield key, "id", ids.new_key_id
    owners: list[User | RootUser] = [*seed.users, *(account.root for account in seed.accounts)]
    for owner in owners:
        yield owner, "password", _password
        for access_key in access_keys_of(owner):
            yield access_key, "id", ids.new_access_key_id
            yield access_key, "secret", ids.new_secret_access_key


def _cluster_id() -> str:
    return ids.new_cloudhsm_id("cluster")


def _password() -> str:
    """One that AWS's default policy takes (kmsapp/iam/passwords.py): one draw in 26 has letters alone."""
    while True:
        password = secrets.token_urlsafe(12)
        if not passwords.problem(password, account="", user_name=""):
            return password
