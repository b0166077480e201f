"""What the entries of a seed file must be together: each module notes all that it finds wrong.

An id, name or reference that is empty was wrong by itself and is passed over: one mistake, one sentence.
"""

from __future__ import annotations

from kmsapp.seed_file.checks import (
    accounts,
    clusters,
    grants,
    identities,
    key_stores,
    keys,
    policies,
    principals,
    shapes,
)
from kmsapp.seed_file.file_entries import SeedFile
from kmsapp.seed_file.places import Problems

# In this order: what a module finds out is there for those after it.
_ALL = (accounts, policies, identities, principals, clusters, key_stores, keys, grants, shapes)


def run(seed: SeedFile, problems: Problems) -> None:
    for module in _ALL:
        module.check(seed, problems)
