"""Customer managed keys: the table, its preferences, and the page of one key."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.http import HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils.http import urlencode
from django.views.decorators.http import require_http_methods, require_safe

from console import policy_text, preferences
from console.columns import COLUMNS, PAGE_SIZES, SORTS, Column
from console.forms.preferences import KeysPreferencesForm
from console.pages import page, safe_next
from console.paging import Pages, page_number
from console.preferences import KeysPreferences
from console.requests import ConsoleRequest, signed_in
from kmsapp import dispatch

CRUMB = "Customer managed keys"
TABS = {
    "policy": "Key policy",
    "cryptographic-configuration": "Cryptographic configuration",
    "tags": "Tags",
    "aliases": "Aliases",
}


@dataclass(frozen=True)
class Header:
    """A column's head: where a click leads and how the table is sorted now."""

    column: Column
    sorted: str  # "ascending", "descending" or "" as aria-sort has it
    address: str  # empty: can't be sorted by it


@dataclass(frozen=True)
class TableState:
    """Filter and order, as the address has them."""

    text: str
    sort: str
    descending: bool

    @classmethod
    def of(cls, request: ConsoleRequest) -> TableState:
        asked = request.GET.get("sort", "")
        sort = asked.removeprefix("-")
        known = sort in SORTS
        return cls(
            text=request.GET.get("q", "").replace("\0", "").strip()[:256],
            sort=sort if known else "alias",
            descending=known and asked.startswith("-"),
        )

    def address(self, *, sort: str | None = None) -> str:
        order = sort if sort is not None else ("-" if self.descending else "") + self.sort
        asked = {"q": self.text, "sort": "" if order == "alias" else order}
        return "?" + urlencode({name: value for name, value in asked.items() if value})

    def headers(self, columns: list[Column]) -> list[Header]:
        return [self._header(column) for column in columns]

    def _header(self, column: Column) -> Header:
        if not column.sort:
            return Header(column, "", "")
        if column.sort != self.sort:
            return Header(column, "", self.address(sort=column.sort))
        if self.descending:
            return Header(column, "descending", self.address(sort=column.sort))
        return Header(column, "ascending", self.address(sort=f"-{column.sort}"))


@require_safe
@signed_in
def keys(request: ConsoleRequest) -> HttpResponse:
    state, wanted = TableState.of(request), preferences.of(request.user)
    answer, pages = _list_keys(request, state, wanted)
    return page(
        request,
        "keys/list.html",
        title=CRUMB,
        crumbs=[(CRUMB, "")],
        section="keys",
        keys=answer["Keys"],
        total=answer["Total"],
        state=state,
        pages=pages,
        headers=state.headers(wanted.shown),
        preferences=wanted,
    )


def _list_keys(request: ConsoleRequest, state: TableState, wanted: KeysPreferences) -> tuple[dict[str, Any], Pages]:
    def ask(number: int) -> dict[str, Any]:
        return dispatch.call(
            request.caller,
            "console:ListKeys",
            {
                "Text": state.text,
                "Sort": state.sort,
                "Descending": state.descending,
                "Page": number,
                "PageSize": wanted.page_size,
            },
        )

    number = page_number(request)
    answer = ask(number)
    pages = Pages(number, answer["Total"], wanted.page_size, state.address())
    if pages.is_past_the_end:
        # The address is from a time when there were more keys.
        answer, pages = ask(pages.last), Pages(pages.last, answer["Total"], wanted.page_size, state.address())
    return answer, pages


@require_http_methods(["GET", "HEAD", "POST"])
@signed_in
def keys_preferences(request: ConsoleRequest) -> HttpResponse:
    """The gear: page size, wrapping and columns. Nothing changes until Confirm."""
    back = safe_next(request.POST.get("next") or request.GET.get("next", ""), reverse("console:keys"))
    wanted = preferences.of(request.user)
    problem = ""
    if request.method == "POST":
        form = KeysPreferencesForm(request.POST)
        if form.is_valid():
            preferences.remember(request.user, form.preferences())
            return HttpResponseRedirect(back)
        problem = "Choose one of the page sizes, and columns from the list."
    return page(
        request,
        "keys/preferences.html",
        title="Preferences",
        crumbs=[(CRUMB, reverse("console:keys")), ("Preferences", "")],
        section="keys",
        status=422 if problem else 200,
        problem=problem,
        preferences=wanted,
        columns=COLUMNS,
        page_sizes=PAGE_SIZES,
        back=back,
    )


@require_safe
@signed_in
def key(request: ConsoleRequest, key_id: str) -> HttpResponse:
    """The page of one key; each tab is an address."""
    answer = dispatch.call(request.caller, "console:DescribeKey", {"KeyId": key_id})
    tab = request.GET.get("tab", "")
    tab = tab if tab in TABS else "policy"
    aliases = [alias["AliasName"].removeprefix("alias/") for alias in answer["Aliases"]]
    return page(
        request,
        "keys/detail.html",
        title=key_id,
        crumbs=[(CRUMB, reverse("console:keys")), (aliases[0] if aliases else key_id, "")],
        section="keys",
        key=answer["KeyMetadata"],
        aliases=answer["Aliases"],
        alias_names=aliases,
        tags=answer["Tags"],
        store=answer["CustomKeyStore"],
        policy=policy_text.highlighted(answer["Policy"]) if tab == "policy" else "",
        denied=answer.get("Denied", {}),
        held_because=answer["DeletionHeldBecause"],
        tabs=TABS,
        tab=tab,
    )
