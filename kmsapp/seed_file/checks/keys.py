"""Keys: ids, stores, aliases, tags, states, and that their policies lock nobody out."""

from __future__ import annotations

from collections import Counter

from hsmapp.states import CAPACITY
from kmsapp import arns
from kmsapp.condition_keys import ALIASES_PER_KEY
from kmsapp.errors import KmsError
from kmsapp.operations import tags
from kmsapp.policy.evaluation import Outcome, Policies, Request, evaluate
from kmsapp.seed_file import requests
from kmsapp.seed_file.checks import uniqueness
from kmsapp.seed_file.file_entries import SeedFile
from kmsapp.seed_file.key_entries import CustomKeyStore, Key
from kmsapp.seed_file.kinds import one_of
from kmsapp.seed_file.places import Problems
from kmsapp.seed_file.policy_text import Policy


def check(seed: SeedFile, problems: Problems) -> None:
    _check_unique(seed, problems)
    for key in seed.keys:
        _check_kind(key, problems)
        key.its_store = _store(seed, key, problems)
        _check_state(key, problems)
        _check_labels(key, problems)
        if key.policy is not None and not key.bypass_policy_lockout_safety_check:
            _check_lockout(key, key.policy, problems)
    _check_capacity(seed, problems)


def _check_unique(seed: SeedFile, problems: Problems) -> None:
    with_id = [key for key in seed.keys if key.id]
    uniqueness.require(
        (((key.account, key.region, key.id), key.place_of("id"), f"The key ID {key.id}") for key in with_id), problems
    )
    uniqueness.require(
        (
            ((key.account, key.region, str(name)), name.place, f"The alias name {name}")
            for key in seed.keys
            for name in key.aliases
        ),
        problems,
    )


def _check_kind(key: Key, problems: Problems) -> None:
    """What CreateKey refuses of every key in a custom key store, and what is not built."""
    if key.id is not None and key.id.startswith("mrk-"):
        problems.add(
            key.id.place,
            f"{key.id} is the ID of a multi-Region key. Multi-Region keys are not supported in a custom key store: "
            "write a UUID.",
        )
    if key.origin != "AWS_CLOUDHSM":
        problems.add(
            key.place_of("origin"),
            f"Keys of origin {key.origin} are not built in this version of Casemate. Write AWS_CLOUDHSM.",
        )


def _store(seed: SeedFile, key: Key, problems: Problems) -> CustomKeyStore | None:
    """The key store that the key names, or the only one that it can mean."""
    where = f"Account {key.account} in {key.region}"
    possible = [one for one in seed.custom_key_stores if (one.account, one.region) == (key.account, key.region)]
    written, place = key.custom_key_store, key.place_of("custom_key_store")
    if "custom_key_store" in key.places and written is None:
        return None  # what was written there is wrong by itself
    if written is None:
        if len(possible) == 1:
            return possible[0]
        hint = "Write in custom_key_store which one is meant." if possible else "Write one among custom_key_stores."
        problems.add(place, f"{where} has {len(possible) or 'no'} custom key stores. {hint}")
        return None
    found = next((one for one in possible if written in (one.id, one.name)), None)
    if found is None and all(one.name for one in possible):
        hint = one_of(written, [str(one.name) for one in possible])
        problems.add(place, f"{where} has no custom key store {written}. {hint}")
    return found


def _check_state(key: Key, problems: Problems) -> None:
    if key.pending_window_in_days is not None and key.state != "PendingDeletion":
        sentence = f"A key that is {key.state} has no pending window. Leave it out, or write state: PendingDeletion."
        problems.add(key.place_of("pending_window_in_days"), sentence)


def _check_labels(key: Key, problems: Problems) -> None:
    for name in key.aliases:
        if name.startswith("alias/aws/"):
            problems.add(name.place, f"{name} is reserved for AWS managed keys. Write one without aws/.")
    if len(key.aliases) > ALIASES_PER_KEY:
        sentence = f"There are {len(key.aliases)} aliases. A key can have {ALIASES_PER_KEY}."
        problems.add(key.place_of("aliases"), sentence)
    try:
        tags.require_valid(requests.kms_tags(key) or [])
    except KmsError as error:
        problems.add(key.place_of("tags"), error.message)


def _check_lockout(key: Key, policy: Policy, problems: Problems) -> None:
    """AWS asks whether the caller could change the policy again. Nobody calls here, so whoever it names will do."""
    root = f"arn:aws:iam::{key.account}:root"
    own = {arn for arn in policy.document.principal_arns() if arns.account_of(arn) == key.account}
    if not any(_may_put_policy(arn, key, policy) for arn in (root, *own)):
        problems.add(
            policy.place,
            "The new key policy will not allow you to update the key policy in the future. Let the account, or a user "
            "or role of it, do kms:PutKeyPolicy, or write bypass_policy_lockout_safety_check: true.",
        )


def _may_put_policy(arn: str, key: Key, policy: Policy) -> bool:
    caller = f"arn:aws:sts::{key.account}:assumed-role/{arn.rpartition('/')[2]}/any" if ":role/" in arn else arn
    request = Request(
        principal_arn=caller,
        principal_id="",
        principal_account=key.account,
        action="kms:PutKeyPolicy",
        resource=arns.key_arn(key.region, key.account, key.id or "any"),
        resource_account=key.account,
        context={"aws:PrincipalArn": arn, "aws:PrincipalAccount": key.account, "kms:CallerAccount": key.account},
    )
    return evaluate(request, Policies(key_policy=policy.document)).outcome is Outcome.ALLOW


def _check_capacity(seed: SeedFile, problems: Problems) -> None:
    numbers: Counter[int] = Counter()
    for key in seed.keys:
        cluster = key.its_store.its_cluster if key.its_store else None
        if cluster is None:
            continue
        numbers[id(cluster)] += 1
        most = CAPACITY[cluster.hsm_type]
        if numbers[id(cluster)] == most + 1:
            problems.add(key.place, f"A cluster of {cluster.hsm_type} holds {most:,} keys, and this is one more.")
