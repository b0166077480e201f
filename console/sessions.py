"""How long a sign-in lasts, and what ends it before.

A session ends SESSION_HOURS after the sign-in, and SESSION_IDLE_MINUTES after the last request; at sign-out; when its
user is disabled, deleted or gets another password. Its row is deleted then, so its cookie is worth nothing afterwards,
whatever becomes of the user. A new one is never begun under an old id.
"""

from __future__ import annotations

import datetime
from collections.abc import Callable
from typing import Any

from django.conf import settings
from django.contrib import auth, messages
from django.http import HttpRequest
from django.http.response import HttpResponseBase

from hsmapp import clock

SIGNED_IN_AT, SEEN_AT, PROVED_AT = "signed_in_at", "seen_at", "proved_at"  # keys of the session; seconds since 1970
SEEN_SECONDS = 60  # how exact SEEN_AT is: writing it at every request would cost a write for each
ENDED = "Your session has ended. Sign in again to go on."


class SessionLifeMiddleware:
    """Ends sessions whose time has come. Stands behind Django's own for sessions, users and messages."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        if auth.SESSION_KEY in request.session:
            # Django itself ends the session of somebody whose password was changed elsewhere, here, at the first look.
            if not request.user.is_authenticated:
                request.session.flush()
            elif _is_over(request):
                auth.logout(request)
                messages.info(request, ENDED)
            elif now() - request.session[SEEN_AT] >= SEEN_SECONDS:
                request.session[SEEN_AT] = now()
        return self.get_response(request)


def _is_over(request: HttpRequest) -> bool:
    signed_in_at, seen_at = request.session.get(SIGNED_IN_AT), request.session.get(SEEN_AT)
    if signed_in_at is None or seen_at is None:
        return True
    is_old = now() - signed_in_at >= settings.SESSION_HOURS * 3600
    return bool(is_old or now() - seen_at >= settings.SESSION_IDLE_MINUTES * 60)


def now() -> int:
    """Seconds since 1970, as sessions keep them."""
    return int(clock.now().timestamp())


def begin(request: HttpRequest, user: Any) -> None:
    """Sign a user in, under a new session id. `user` comes from auth.authenticate, which notes its backend on it."""
    if request.user.is_authenticated:
        request.session.cycle_key()  # Django keeps the id when the same user signs in twice
    auth.login(request, user)
    request.session.clear_expired()


def began_at(request: HttpRequest) -> datetime.datetime:
    """When the person signed in."""
    return datetime.datetime.fromtimestamp(request.session[SIGNED_IN_AT], datetime.UTC)


def stamp(request: HttpRequest, **signal: object) -> None:
    """The signal of a sign-in: its time is the session's beginning, and a proof of who it is."""
    request.session[SIGNED_IN_AT] = request.session[SEEN_AT] = request.session[PROVED_AT] = now()
