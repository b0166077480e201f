"""The request as console views see it, and the decorator that lets only signed-in people in."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import TYPE_CHECKING, Concatenate, ParamSpec, cast

from django.contrib.auth.views import redirect_to_login
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django_htmx.http import HttpResponseClientRedirect
from django_htmx.middleware import HtmxDetails

from console.regions import DEFAULT_REGION
from kmsapp.caller import Caller
from kmsapp.models import User
from kmsapp.sign_in_events import Browser

if TYPE_CHECKING:
    from console.roles import Choice

Parameters = ParamSpec("Parameters")


class ConsoleRequest(HttpRequest):
    """A request of somebody who has signed in. CallerMiddleware adds the first four, HtmxMiddleware adds `htmx`."""

    caller: Caller  # who acts: the person, or the role they switched to
    own_caller: Caller  # the person
    role: Choice | None  # as it was chosen
    role_has_ended: bool  # since the request before: what is asked now was asked of the role
    htmx: HtmxDetails
    user: User


Guarded = Callable[Concatenate[HttpRequest, Parameters], HttpResponse]
View = Callable[Concatenate[ConsoleRequest, Parameters], HttpResponse]


# Posts to these are lost when a session has ended, but their page and its draft are still there.
RESUMED = {
    "password-change",
    "create-key",
    "create-key-step",
    "create-key-store-create",
    "create-key-store-edit",
    "keys-preferences",
    "key-store-create",
    "key-store-connect",
    "key-store-disconnect",
    "key-store-edit",
    "key-store-delete",
    "key-policy-edit",
    "user-create",
    "role-create",
    "group-create",
    "policy-create",
    "policy-edit",
}


def browser_of(request: HttpRequest, leads_to: str) -> Browser:
    """The browser as events of signing in tell of it. leads_to: the path that comes next."""
    return Browser(
        region=request.session.get("region", DEFAULT_REGION),
        source_ip=request.META.get("REMOTE_ADDR", ""),
        user_agent=request.META.get("HTTP_USER_AGENT", ""),
        leads_to=request.build_absolute_uri(leads_to),
    )


def _to_sign_in(request: ConsoleRequest) -> HttpResponse:
    """Lead to the sign-in page and from there back to the page the person was on."""
    if request.htmx:
        # The answer would be put into a part of the page; this header makes the browser leave the page.
        answer = redirect_to_login(request.htmx.current_url_abs_path or "/")
        return HttpResponseClientRedirect(answer.url)
    if request.method in {"GET", "HEAD"}:
        return redirect_to_login(request.get_full_path())
    match = request.resolver_match
    return redirect_to_login(request.path if match and match.url_name in RESUMED else "/")


def _to_keys(request: ConsoleRequest) -> HttpResponse:
    """Nothing that was meant for the role is done as the person, in what may be another account."""
    keys = reverse("console:keys")
    return HttpResponseClientRedirect(keys) if request.htmx else HttpResponseRedirect(keys)


def signed_in(view: View[Parameters]) -> Guarded[Parameters]:
    """Send people who have not signed in to the sign-in page, and back here afterwards."""

    @wraps(view)
    def guarded(request: HttpRequest, /, *args: Parameters.args, **kwargs: Parameters.kwargs) -> HttpResponse:
        if not request.user.is_authenticated:
            return _to_sign_in(cast(ConsoleRequest, request))
        if cast(ConsoleRequest, request).role_has_ended:
            return _to_keys(cast(ConsoleRequest, request))
        response = view(cast(ConsoleRequest, request), *args, **kwargs)
        # Back after sign-out must not show what the page held.
        response.setdefault("Cache-Control", "no-store")
        return response

    return guarded
