"""How a page is put into the frame: title, breadcrumbs and the marked entry of the navigation pane."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.utils.http import url_has_allowed_host_and_scheme

Crumb = tuple[str, str]  # text, address; an empty address is plain text
TITLE = "Key Management Service"
LONGEST_NEXT = 2000  # characters; no address of ours is that long


def page(
    request: HttpRequest,
    template: str,
    *,
    title: str,
    crumbs: list[Crumb],
    section: str,
    status: int = 200,
    **context: Any,
) -> HttpResponse:
    """Render a page of the console.

    title: the h1 and the start of the window title.  crumbs: from the second breadcrumb on, the last being this page.
    section: which entry of the navigation pane is marked ("keys", "key-stores", "clusters", "users", "roles", "groups",
    "policies", "help" or "").
    """
    trail = [(TITLE, reverse("console:keys")), *crumbs]
    context |= {"title": title, "crumbs": trail, "section": section}
    return render(request, f"console/{template}", context, status=status)


def safe_next(address: str, default: str) -> str:
    """Return `address` if it is a path on this site, else `default`. Give it to HttpResponseRedirect.

    Never to redirect(), which takes a text for the name of a view first, and fails where it can't be one.
    """
    is_path = address.startswith("/") and not address.startswith(("//", "/\\")) and len(address) <= LONGEST_NEXT
    # Browsers leave tabs and line breaks out, and what stood behind them may then begin with //host.
    is_path = is_path and address.isprintable()
    # No host is allowed either.
    if is_path and url_has_allowed_host_and_scheme(address, allowed_hosts=None):
        return address
    return default
