"""The tables of users, roles, groups and policies: filter and pages, and why one can't be seen."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.http import HttpResponse, QueryDict
from django.utils.http import urlencode
from django.views.decorators.http import require_safe

from console.identities import GROUP, ROLE, USER, Identities, Kind, Part, policy_type, trusted
from console.pages import Crumb, page
from console.paging import Pages, page_number
from console.requests import ConsoleRequest, signed_in
from console.views.identities.frame import IDENTITIES, list_crumbs

ON_A_PAGE = 20
LONGEST_FILTER = 128
POLICIES = "Policies"
# What iam:ListPolicies may be asked for. https://docs.aws.amazon.com/IAM/latest/APIReference/API_ListPolicies.html
SCOPES = {"All": "All types", "Local": "Customer managed", "AWS": "AWS managed"}
DESCRIPTIONS = {
    "users": "People and programs of this account. A user has a password for the console, access keys, or both.",
    "roles": "What users and other accounts can become for a while. A role has no password and no access keys.",
    "groups": "A group gives its policies to all of its users.",
    "policies": "Permissions that you can attach to users, roles and groups.",
}
Row = dict[str, Any]


@require_safe
@signed_in
def users(request: ConsoleRequest) -> HttpResponse:
    return _kind(request, USER)


@require_safe
@signed_in
def roles(request: ConsoleRequest) -> HttpResponse:
    return _kind(request, ROLE, lambda role: role | {"Trusted": trusted(role)})


@require_safe
@signed_in
def groups(request: ConsoleRequest) -> HttpResponse:
    return _kind(request, GROUP)


def _kind(request: ConsoleRequest, kind: Kind, entry: Callable[[Row], Row] = lambda row: row) -> HttpResponse:
    found = Identities(request.caller).part(f"List{kind.plural}", kind.plural)
    return _list(
        request,
        found,
        words=lambda row: (row[kind.name], row["Path"]),
        entry=entry,
        section=kind.slug,
        title=kind.plural,
        crumbs=list_crumbs(kind),
        noun=kind.noun,
        nouns=kind.slug,
    )


@require_safe
@signed_in
def policies(request: ConsoleRequest) -> HttpResponse:
    scope = request.GET.get("scope", "All")
    scope = scope if scope in SCOPES else "All"
    found = Identities(request.caller).part("ListPolicies", "Policies", Scope=scope)
    return _list(
        request,
        found,
        words=lambda row: (row["PolicyName"], row["Path"], row.get("Description") or ""),
        entry=lambda row: row | {"Type": policy_type(row["Arn"])},
        section="policies",
        title=POLICIES,
        crumbs=[(IDENTITIES, ""), (POLICIES, "")],
        noun="policy",
        nouns="policies",
        scopes=SCOPES,
        scope=scope,
    )


def asked_text(asked: QueryDict) -> str:
    """The filter of an address or a form."""
    return asked.get("q", "").replace("\0", "").strip()[:LONGEST_FILTER]


def matching(rows: list[Row], text: str, words: Callable[[Row], tuple[str, ...]]) -> list[Row]:
    """The rows that have the text in one of their words, sorted by the first of these; both regardless of case."""
    wanted = text.casefold()
    found = [row for row in rows if any(wanted in word.casefold() for word in words(row))]
    return sorted(found, key=lambda row: words(row)[0].casefold())


def pages_of(request: ConsoleRequest, total: int, asked: dict[str, str]) -> Pages:
    """The page asked for, or the last one. asked: what the address has beside the page."""
    kept = urlencode({name: value for name, value in asked.items() if value})
    pages = Pages(page_number(request), total, ON_A_PAGE, f"?{kept}")
    return Pages(pages.last, total, ON_A_PAGE, pages.address) if pages.is_past_the_end else pages


def _list(
    request: ConsoleRequest,
    found: Part,
    *,
    words: Callable[[Row], tuple[str, ...]],
    entry: Callable[[Row], Row],
    section: str,
    title: str,
    crumbs: list[Crumb],
    **context: Any,
) -> HttpResponse:
    text = asked_text(request.GET)
    rows = matching(found.items, text, words)
    scope = context.get("scope", "")
    pages = pages_of(request, len(rows), {"q": text, "scope": "" if scope == "All" else scope})
    return page(
        request,
        f"identities/{section}.html",
        title=title,
        crumbs=crumbs,
        section=section,
        status=403 if found.denied else 200,
        description=DESCRIPTIONS[section],
        denied=found.denied,
        rows=[entry(row) for row in pages.cut(rows)],
        total=len(rows),
        all=len(found.items),
        q=text,
        pages=pages,
        **context,
    )
