"""Pages for what went wrong: not found, refused, failed. None of them shows details of a fault of ours."""

from __future__ import annotations

import logging

from django.core.exceptions import DisallowedHost
from django.http import HttpRequest, HttpResponse
from django.template.loader import render_to_string

from console.explanations import explained
from console.pages import page
from console.refusals import NOT_FOUND_CODES, status_of
from console.remedies import remedy
from kmsapp.errors import KmsError

log = logging.getLogger(__name__)


def not_found(request: HttpRequest, exception: Exception | None = None) -> HttpResponse:
    return page(
        request, "errors/404.html", title="Page not found", crumbs=[("Page not found", "")], section="", status=404
    )


def forbidden(request: HttpRequest, exception: Exception | None = None) -> HttpResponse:
    return page(request, "errors/403.html", title="Not allowed", crumbs=[("Not allowed", "")], section="", status=403)


def csrf_failure(request: HttpRequest, reason: str = "") -> HttpResponse:
    """The form came from an old page, or cookies are off."""
    return page(
        request, "errors/csrf.html", title="Form expired", crumbs=[("Form expired", "")], section="", status=403
    )


def bad_request(request: HttpRequest, exception: Exception | None = None) -> HttpResponse:
    """A page that asks nothing of the request: it may have been refused before its session was read."""
    context = {"is_wrong_host": isinstance(exception, DisallowedHost)}
    return HttpResponse(render_to_string("console/errors/400.html", context), status=400)


def server_error(request: HttpRequest) -> HttpResponse:
    """A page that needs neither the database nor the session: either may be what failed."""
    return HttpResponse(render_to_string("console/errors/500.html"), status=500)


def access_denied(request: HttpRequest, error: KmsError) -> HttpResponse:
    """What was missing, in AWS's sentence and in other words, and the way to the policy simulator."""
    title = "Access denied"
    return page(
        request,
        "errors/access_denied.html",
        title=title,
        crumbs=[(title, "")],
        section="",
        status=403,
        error=error,
        missing=explained(error.message),
        remedy=remedy(error.code),
    )


def refusal(request: HttpRequest, error: KmsError) -> HttpResponse:
    """Show an answer of KMS that no view handled: its message, its name and what to do."""
    if error.code == "AccessDeniedException":
        return access_denied(request, error)
    title = "Not found" if error.code in NOT_FOUND_CODES else "The call was refused"
    return page(
        request,
        "errors/refusal.html",
        title=title,
        crumbs=[(title, "")],
        section="",
        status=status_of(error),
        error=error,
        remedy=remedy(error.code),
    )
