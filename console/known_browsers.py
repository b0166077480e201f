"""Browsers in which somebody has signed in before, by a signed cookie.

Whoever guesses passwords from many addresses uses up the tries that a user name has from anywhere. The user's own
browser has tries of its own, so the guesser locks nobody out who has been here before. The cookie proves nothing else:
it opens no session, and a stolen one gives a few tries more.
"""

from __future__ import annotations

import hashlib
import secrets

from django.conf import settings
from django.core import signing
from django.http import HttpRequest, HttpResponse

COOKIE = f"{settings.COOKIE_PREFIX}casemate_browser"
SALT = "console.known_browsers"
MAX_AGE_SECONDS = 90 * 24 * 3600
MOST_USERS = 8  # of one browser, as in a class room


def name_of(request: HttpRequest, account: str, user_name: str) -> str:
    """The browser's random name if the user has signed in with it before, else nothing."""
    browser, users = _read(request)
    return browser if _user(account, user_name) in users else ""


def remember(request: HttpRequest, response: HttpResponse, account: str, user_name: str) -> None:
    """The user has signed in with this browser."""
    browser, users = _read(request)
    user = _user(account, user_name)
    users = [user, *(known for known in users if known != user)][:MOST_USERS]
    response.set_cookie(
        COOKIE,
        signing.dumps([browser or secrets.token_hex(16), users], salt=SALT),
        max_age=MAX_AGE_SECONDS,
        httponly=True,
        samesite="Lax",
        secure=settings.TLS,
    )


def _read(request: HttpRequest) -> tuple[str, list[str]]:
    try:
        browser, users = signing.loads(request.COOKIES.get(COOKIE, ""), salt=SALT, max_age=MAX_AGE_SECONDS)
    except signing.BadSignature:
        return "", []
    return browser, users


def _user(account: str, user_name: str) -> str:
    return hashlib.sha256(f"{account}\0{user_name.casefold()}".encode()).hexdigest()[:32]
