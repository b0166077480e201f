"""What single steps of the wizard show beyond the draft, and their own buttons (add, remove, find, page, reset)."""

from __future__ import annotations

from typing import Any

from django.http import QueryDict
from django.utils.http import urlencode

from console import policy_text
from console.drafts import Choices
from console.forms.create_key import MAX_OTHER_ACCOUNTS, MAX_TAGS
from console.lookups import Lookups
from console.paging import Pages, page_number
from console.requests import ConsoleRequest
from console.views import create_key_store_step

PRINCIPALS_ON_A_PAGE = 10


def edit(slug: str, go: str, post: QueryDict, choices: Choices) -> str | None:
    """Carry out a button that stays on the step. Return what to add to the step's address; None: another button."""
    name, _, number = go.partition(":")
    if slug == "tags" and name in {"add", "remove"}:
        return _edit_rows(choices.tags, name, number, ["", ""], MAX_TAGS)
    if slug == "users" and name in {"add", "remove"}:
        return _edit_rows(choices.other_accounts, name, number, "", MAX_OTHER_ACCOUNTS)
    if slug == "policy" and name == "reset":
        choices.edited_policy = choices.built_policy = ""
        return ""
    if slug in {"administrators", "users"}:
        return _edit_search(name, number, post)
    return None


def _edit_rows(rows: list[Any], name: str, number: str, empty: Any, most: int) -> str:
    if name == "add" and len(rows) < most:
        rows.append(empty)
        return "?focus=last"
    if name == "remove" and number.isascii() and number.isdigit() and int(number) < len(rows):
        del rows[int(number)]
    return "?focus=add"


def _edit_search(name: str, number: str, post: QueryDict) -> str | None:
    asked, before = post.get("q", "").strip()[:128], post.get("q_before", "")
    if name == "find" or (name == "enter" and asked != before):
        return "?" + urlencode({"q": asked}) if asked else ""
    if name == "page":
        return "?" + urlencode({"q": asked, "page": number})
    return None


def context_of(slug: str, request: ConsoleRequest, choices: Choices, lookups: Lookups) -> dict[str, Any]:
    if slug == "key-store":
        return create_key_store_step.context(choices, lookups)
    if slug == "tags":
        return {"rows": choices.tags, "left": MAX_TAGS - len(choices.tags), "focus": request.GET.get("focus", "")}
    if slug in {"administrators", "users"}:
        selected = choices.administrators if slug == "administrators" else choices.users
        return _principals(request, selected, lookups) | {"focus": request.GET.get("focus", "")}
    if slug == "policy":
        return _policy(choices, lookups)
    return _review(choices, lookups) if slug == "review" else {}


def _principals(request: ConsoleRequest, selected: list[str], lookups: Lookups) -> dict[str, Any]:
    text = request.GET.get("q", "").strip()[:128]
    found = [
        person for person in lookups.principals if text.casefold() in f"{person['Path']}{person['Name']}".casefold()
    ]
    pages = Pages(page_number(request), len(found), PRINCIPALS_ON_A_PAGE)
    if pages.is_past_the_end:
        pages = Pages(pages.last, len(found), PRINCIPALS_ON_A_PAGE)
    return {
        "principals": pages.cut(found),
        "principals_denied": lookups.principals_denied,
        "found": len(found),
        "all": len(lookups.principals),
        "pages": pages,
        "q": text,
        "selected": selected,
    }


def _policy(choices: Choices, lookups: Lookups) -> dict[str, Any]:
    account = lookups.caller.account
    text = choices.policy(account)
    return {
        "policy": text,
        "policy_status": policy_text.check(text),
        "is_edited": bool(choices.edited_policy),
        "is_outdated": choices.policy_is_outdated(account),
    }


def _review(choices: Choices, lookups: Lookups) -> dict[str, Any]:
    account = lookups.caller.account
    return {
        "store": lookups.key_store(choices.custom_key_store_id),
        "tags": choices.filled_tags(),
        "administrators": lookups.principals_of(choices.administrators),
        "users": lookups.principals_of(choices.users),
        "other_accounts": [number for number in choices.other_accounts if number],
        "policy": policy_text.highlighted(choices.policy(account)),
        "is_edited": bool(choices.edited_policy),
        "is_outdated": choices.policy_is_outdated(account),
    }
