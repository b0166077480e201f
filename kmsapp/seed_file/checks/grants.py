"""Grants: what CreateGrant refuses of them by themselves."""

from __future__ import annotations

from kmsapp import grant_rules
from kmsapp.errors import KmsError
from kmsapp.grant_rules import Permissions
from kmsapp.operations import grant_parameters
from kmsapp.seed_file import requests
from kmsapp.seed_file.entries import members_of
from kmsapp.seed_file.file_entries import SeedFile
from kmsapp.seed_file.key_entries import Constraints, Grant
from kmsapp.seed_file.places import Problems

_POSSIBLE = grant_rules.supported(key_spec="SYMMETRIC_DEFAULT", key_usage="ENCRYPT_DECRYPT", in_custom_key_store=True)


def check(seed: SeedFile, problems: Problems) -> None:
    for key in seed.keys:
        for grant in key.grants:
            _check(grant, problems)


def _check(grant: Grant, problems: Problems) -> None:
    params = requests.grant(grant)
    asked = Permissions(frozenset(params["Operations"]), params.get("Constraints") or {})
    for name in grant.operations or []:
        if name not in _POSSIBLE:
            sentence = f"A key in a custom key store does not support {name}. It supports "
            problems.add(name.place, f"{sentence}{', '.join(sorted(_POSSIBLE))}.")
    if grant.operations is None or any(getattr(grant, name) is None for name in grant.places):
        return  # what is written there is wrong by itself, and may be all that is missing
    try:
        grant_parameters.one_of(params, "GranteePrincipal", "GranteeServicePrincipal", required=True)
        grant_parameters.one_of(params, "RetiringPrincipal", "RetiringServicePrincipal", required=False)
        grant_parameters.require_service_terms(params)
        grant_parameters.require_valid(asked)
    except KmsError as error:
        problems.add(grant.place, _in_words_of_the_file(error.message))


def _in_words_of_the_file(message: str) -> str:
    """The members that KMS names, by the names that they have here."""
    for name in sorted((*members_of(Grant), *members_of(Constraints)), key=len, reverse=True):
        message = message.replace("".join(part.capitalize() for part in name.split("_")), name)
    return message
