"""How a page is put into the frame: title, breadcrumbs and the marked entry of the navigation pane."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.utils.http import url_has_allowed_host_and_scheme

Crumb = tuple[str, str]  # text, address; an empty address is plain text
TITLE = "Key Management Service"


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
    section: which entry of the navigation pane is marked ("keys", "key-stores", "clusters", "help" or "").
    """
    trail = [(TITLE, reverse("console:keys")), *crumbs]
    context |= {"title": title, "crumbs": trail, "section": section}
    return render(request, f"console/{template}", context, status=status)


def safe_next(request: HttpRequest, address: str, default: str) -> str:
    """Return `address` if it leads to this site, else `default`."""
    allowed = url_has_allowed_host_and_scheme(
        address, allowed_hosts={request.get_host()}, require_https=request.is_secure()
    )
    return address if allowed else default
