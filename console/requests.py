"""The request as console views see it, and the decorator that lets only signed-in people in."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Concatenate, ParamSpec, cast

from django.contrib.auth.views import redirect_to_login
from django.http import HttpRequest, HttpResponse
from django_htmx.middleware import HtmxDetails

from kmsapp.caller import Caller
from kmsapp.models import User

Parameters = ParamSpec("Parameters")


class ConsoleRequest(HttpRequest):
    """A request of somebody who has signed in. CallerMiddleware adds `caller`, HtmxMiddleware adds `htmx`."""

    caller: Caller
    htmx: HtmxDetails
    user: User


Guarded = Callable[Concatenate[HttpRequest, Parameters], HttpResponse]
View = Callable[Concatenate[ConsoleRequest, Parameters], HttpResponse]


def signed_in(view: View[Parameters]) -> Guarded[Parameters]:
    """Send people who have not signed in to the sign-in page, and back here afterwards."""

    @wraps(view)
    def guarded(request: HttpRequest, /, *args: Parameters.args, **kwargs: Parameters.kwargs) -> HttpResponse:
        if not request.user.is_authenticated:
            return redirect_to_login(request.get_full_path() if request.method == "GET" else "/")
        response = view(cast(ConsoleRequest, request), *args, **kwargs)
        # Back after sign-out must not show what the page held.
        response.setdefault("Cache-Control", "no-store")
        return response

    return guarded
