"""What each step of the create-key wizard reads from a post.

A reader writes what was posted into the choices, right or wrong, and returns what must be corrected: the id of the
field and a sentence. A step is left with Next only without problems.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from django.http import QueryDict

from console import policy_text
from console.drafts import Choices
from console.lookups import Lookups
from kmsapp.operations import tags

Problems = dict[str, str]  # id of the field -> sentence
Reader = Callable[[QueryDict, Choices, Lookups], Problems]

MAX_TAGS = tags.TAGS_PER_KEY
MAX_OTHER_ACCOUNTS = 50
MAX_DESCRIPTION = 8192
MAX_ALIAS = 250
SELECT_A_STORE = "Select a key store."
NO_STORE_YET = "No key store can be used yet. Do what the row of one says, or choose Create custom key store."
NO_STORE = "There is no key store in this Region. Choose Create custom key store."


def read_configure(post: QueryDict, choices: Choices, lookups: Lookups) -> Problems:
    for name in ("key_type", "key_usage", "origin", "regionality"):
        setattr(choices, name, _text(post, name)[:32])
    wanted = {
        "key_type": ("symmetric", "Choose Symmetric. A key in a custom key store can't be asymmetric."),
        "key_usage": ("ENCRYPT_DECRYPT", "Choose Encrypt and decrypt. A custom key store has no other keys."),
        "origin": ("AWS_CLOUDHSM", "Choose Custom key store (CloudHSM). The other origins are not built yet."),
        "regionality": ("single", "Choose Single-Region key. A key in a custom key store stays in its Region."),
    }
    return {f"id_{name}": sentence for name, (value, sentence) in wanted.items() if getattr(choices, name) != value}


def read_key_store(post: QueryDict, choices: Choices, lookups: Lookups) -> Problems:
    # Nothing is posted for a choice that can't be used yet, such as a store that is still connecting.
    choices.custom_key_store_id = _text(post, "custom_key_store_id")[:64] or choices.custom_key_store_id
    store = lookups.key_store(choices.custom_key_store_id)
    if store is None:
        return {"id_custom_key_store_id": _how_to_come_to_a_store(lookups)}
    if store["NotUsableBecause"]:
        return {"id_custom_key_store_id": f"{store['CustomKeyStoreName']} can't be used. {store['NotUsableBecause']}"}
    return {}


def _how_to_come_to_a_store(lookups: Lookups) -> str:
    if not lookups.key_stores:
        return NO_STORE
    return NO_STORE_YET if all(store["NotUsableBecause"] for store in lookups.key_stores) else SELECT_A_STORE


def read_labels(post: QueryDict, choices: Choices, lookups: Lookups) -> Problems:
    choices.alias = _text(post, "alias").strip()[:1000]
    # Browsers send lines ended by CR LF and count them as one character.
    choices.description = _text(post, "description").replace("\r\n", "\n")[:20_000]
    problems: Problems = {}
    wrong_alias = alias_problem(choices.alias, lookups)
    if wrong_alias:
        problems["id_alias"] = wrong_alias
    if len(choices.description) > MAX_DESCRIPTION:
        problems["id_description"] = f"Description must be {MAX_DESCRIPTION} characters or fewer. Shorten it."
    return problems


def alias_problem(alias: str, lookups: Lookups) -> str:
    """Return what is wrong with an alias (written without alias/), or an empty text.

    https://docs.aws.amazon.com/kms/latest/APIReference/API_CreateAlias.html
    """
    if not alias:
        return "Alias is required."
    if len(alias) > MAX_ALIAS:
        return f"Alias must be 1 to {MAX_ALIAS} characters. Shorten it."
    if not re.fullmatch(r"[a-zA-Z0-9/_-]+", alias):
        return "Enter an alias with letters, numbers, hyphens (-), underscores (_), and slashes (/) only."
    if alias.startswith("aws/"):
        return "Enter an alias that doesn't begin with aws/. This prefix is reserved for service keys."
    if lookups.alias_is_taken(alias):
        return f"The alias {alias} is already in use. Enter a different alias."
    return ""


def read_tags(post: QueryDict, choices: Choices, lookups: Lookups) -> Problems:
    """https://docs.aws.amazon.com/kms/latest/APIReference/API_Tag.html"""
    keys, values = post.getlist("tag_key")[: MAX_TAGS + 1], post.getlist("tag_value")[: MAX_TAGS + 1]
    choices.tags = [
        [_clean(key).strip()[:300], _clean(value).strip()[:600]] for key, value in zip(keys, values, strict=False)
    ]
    problems: Problems = {}
    seen: set[str] = set()
    for row, (key, value) in enumerate(choices.tags):
        wrong_key, wrong_value = _tag_key_problem(key, value, seen), _tag_value_problem(key, value)
        seen.add(key)
        if wrong_key:
            problems[f"id_tag_key_{row}"] = wrong_key
        if wrong_value:
            problems[f"id_tag_value_{row}"] = wrong_value
    if len(choices.filled_tags()) > MAX_TAGS:
        problems["id_add_tag"] = f"A key can have up to {MAX_TAGS} tags. Remove some."
    return problems


def _tag_key_problem(key: str, value: str, seen: set[str]) -> str:
    if not key:
        return "Tag key is required." if value else ""
    if len(key) > 128:
        return "Tag key must be 1 to 128 characters. Shorten it."
    if key in seen:
        return "You must specify a unique tag key."
    return tags.problem(key, "")  # an empty value is never at fault


def _tag_value_problem(key: str, value: str) -> str:
    if len(value) > 256:
        return "Tag value must be 256 characters or fewer. Shorten it."
    # A key that is at fault itself stands beside its own field; once it is mended, the value is judged.
    return tags.problem(key, value) if key and not tags.problem(key, "") else ""


def read_administrators(post: QueryDict, choices: Choices, lookups: Lookups) -> Problems:
    choices.administrators = _selection(post, choices.administrators, lookups)
    choices.administrators_may_delete = post.get("administrators_may_delete") == "on"
    return {}


def read_users(post: QueryDict, choices: Choices, lookups: Lookups) -> Problems:
    choices.users = _selection(post, choices.users, lookups)
    typed = post.getlist("other_account")[:MAX_OTHER_ACCOUNTS]
    choices.other_accounts = [re.sub(r"[\s-]", "", _clean(number))[:64] for number in typed]
    problems: Problems = {}
    for row, number in enumerate(choices.other_accounts):
        sentence = _account_problem(number, lookups.caller.account, choices.other_accounts[:row])
        if sentence:
            problems[f"id_other_account_{row}"] = sentence
    return problems


def _account_problem(number: str, own: str, earlier: list[str]) -> str:
    if not number:
        return ""
    if not re.fullmatch(r"[0-9]{12}", number):
        return "Enter a valid account ID. It has 12 digits."
    if number == own:
        return "This is your own account. Enter the ID of another account, or remove the row."
    return "This account is in the list already. Remove one of the two." if number in earlier else ""


def _selection(post: QueryDict, before: list[str], lookups: Lookups) -> list[str]:
    """What is ticked on this page of the table, and what was ticked on its other pages before."""
    shown, ticked = set(post.getlist("shown")), set(post.getlist("principal"))
    chosen = (set(before) - shown) | ticked
    if lookups.principals_denied:
        return before  # nothing was shown to choose from
    return [person["Arn"] for person in lookups.principals if person["Arn"] in chosen]


def read_policy(post: QueryDict, choices: Choices, lookups: Lookups) -> Problems:
    """Keep the text as edited only where it says something else than the choices do."""
    account = lookups.caller.account
    text = _text(post, "policy").replace("\r\n", "\n")[:100_000]
    built = choices.policy_from_choices(account)
    if text.strip() == built.strip():
        choices.edited_policy = choices.built_policy = ""
    elif text != choices.edited_policy:
        choices.edited_policy, choices.built_policy = text, built
    status = policy_text.check(text)
    return {} if status.is_valid else {"id_policy": status.text}


READERS: dict[str, Reader] = {
    "configure": read_configure,
    "key-store": read_key_store,
    "labels": read_labels,
    "tags": read_tags,
    "administrators": read_administrators,
    "users": read_users,
    "policy": read_policy,
}


def _text(post: QueryDict, name: str) -> str:
    return _clean(post.get(name, "") or "")


def _clean(text: str) -> str:
    # No field of KMS takes NUL, and a database may not either.
    return text.replace("\0", "")
