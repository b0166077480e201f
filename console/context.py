"""What every page's frame shows: the person, the Region, the navigation pane, the colour mode."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.http import HttpRequest

from console import roles
from console.regions import REGIONS
from console.roles import Choice
from kmsapp.caller import Caller

THEME_COOKIE = f"{settings.COOKIE_PREFIX}casemate_theme"
NAVIGATION_COOKIE = f"{settings.COOKIE_PREFIX}casemate_navigation"
THEMES = {"light": "Light", "dark": "Dark", "": "Same as this device"}


def shell(request: HttpRequest) -> dict[str, Any]:
    """Context processor. `caller` is None where nobody has signed in."""
    caller: Caller | None = getattr(request, "caller", None)
    role: Choice | None = getattr(request, "role", None)
    theme = request.COOKIES.get(THEME_COOKIE, "")
    return {
        "caller": caller,
        "acting": role.shown if role is not None else roles.called(caller) if caller is not None else "",
        "own_name": roles.called(request.own_caller) if caller is not None else "",  # type: ignore[attr-defined]
        "role": role,
        "role_history": roles.history(request.user) if caller is not None else [],  # type: ignore[arg-type]
        "regions": REGIONS,
        "themes": THEMES,
        "theme": theme if theme in THEMES else "",
        "navigation_open": request.COOKIES.get(NAVIGATION_COOKIE) != "closed",
        "here": request.get_full_path(),
    }
