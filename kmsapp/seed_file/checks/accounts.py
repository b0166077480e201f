"""Accounts, and that everything belongs to one of them."""

from __future__ import annotations

from kmsapp.seed_file.checks import uniqueness
from kmsapp.seed_file.file_entries import SeedFile
from kmsapp.seed_file.kinds import one_of
from kmsapp.seed_file.places import Problems


def check(seed: SeedFile, problems: Problems) -> None:
    place = seed.places.get("accounts")
    if place is not None and not seed.accounts and not problems.are_at(place):
        problems.add(place, 'There is no account. Write at least one, as in [{id: "111122223333"}].')
    known = {str(account.id) for account in seed.accounts}
    uniqueness.require(
        ((one.id, one.id.place, f"The account ID {one.id}") for one in seed.accounts if one.id), problems
    )
    if "" in known or not known:
        return  # one of them is wrong by itself, and it may be the one that is meant
    for entry in seed.of_accounts():
        if entry.account not in known:
            sentence = f"There is no account {entry.account} in accounts. {one_of(entry.account, known)}"
            problems.add(entry.place_of("account"), sentence)
