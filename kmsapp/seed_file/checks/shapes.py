"""The requests that entries become, against AWS's shapes of them: what no other check has seen is refused here."""

from __future__ import annotations

from collections.abc import Iterator

from kmsapp import shapes
from kmsapp.seed_file import requests
from kmsapp.seed_file.entries import Entry
from kmsapp.seed_file.file_entries import SeedFile
from kmsapp.seed_file.places import Problems

_ANY_KEY = "1234abcd-12ab-34cd-56ef-1234567890ab"
_ANY_STORE = "cks-1234567890abcdef0"


def check(seed: SeedFile, problems: Problems) -> None:
    if problems:
        return  # of which these would only be echoes
    for entry, operation, params in _requests(seed):
        service, _, name = operation.partition(":")
        for violation in shapes.broken(service, name, params):
            problems.add(entry.place, f"AWS refuses {'.'.join(violation.path)}: {violation.constraint}.")


def _requests(seed: SeedFile) -> Iterator[tuple[Entry, str, requests.Params]]:
    yield from ((entry, "iam:CreatePolicy", requests.policy(entry)) for entry in seed.policies)
    yield from ((entry, "iam:CreateGroup", requests.group(entry)) for entry in seed.groups)
    yield from ((entry, "iam:CreateUser", requests.user(seed, entry)) for entry in seed.users)
    yield from ((entry, "iam:CreateRole", requests.role(seed, entry)) for entry in seed.roles)
    for owner in seed.identities():
        yield from ((owner, name, params) for name, params in requests.attachments(seed, owner))
    for key in seed.keys:
        yield key, "kms:CreateKey", requests.key(key, custom_key_store_id=_ANY_STORE)
        if key.policy is not None:
            yield key, "kms:PutKeyPolicy", {"KeyId": _ANY_KEY, **requests.key_policy(key.policy)}
        yield from ((grant, "kms:CreateGrant", {"KeyId": _ANY_KEY, **requests.grant(grant)}) for grant in key.grants)
