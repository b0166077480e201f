"""Help pages. Reading them needs no sign-in."""

from __future__ import annotations

from django.http import Http404, HttpRequest, HttpResponse
from django.urls import reverse
from django.views.decorators.http import require_safe

from console.pages import page
from console.statuses import CONNECTION_ERRORS

TOPICS = {
    "creating-a-key-store": "Creating, editing and deleting a custom key store",
    "connecting-a-key-store": "Connecting and disconnecting a custom key store",
    "adding-an-hsm": "Adding an HSM",
    "troubleshooting-a-key-store": "Troubleshooting a custom key store",
    "key-policies": "Key policies",
    "permissions": "Permissions, and why a call was denied",
    "tags": "Tagging keys",
}


@require_safe
def index(request: HttpRequest) -> HttpResponse:
    return page(request, "help/index.html", title="Help", crumbs=[("Help", "")], section="help", topics=TOPICS)


@require_safe
def topic(request: HttpRequest, slug: str) -> HttpResponse:
    if slug not in TOPICS:
        raise Http404("No such help topic")
    return page(
        request,
        f"help/{slug}.html",
        title=TOPICS[slug],
        crumbs=[("Help", reverse("console:help")), (TOPICS[slug], "")],
        section="help",
        topics=TOPICS,
        topic=slug,
        connection_errors=CONNECTION_ERRORS,
    )
