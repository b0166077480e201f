"""What every page's frame shows: the person, the Region, the navigation pane, the colour mode."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.http import HttpRequest

from console.regions import REGIONS

THEME_COOKIE = f"{settings.COOKIE_PREFIX}casemate_theme"
NAVIGATION_COOKIE = f"{settings.COOKIE_PREFIX}casemate_navigation"
THEMES = {"light": "Light", "dark": "Dark", "": "Same as this device"}


def shell(request: HttpRequest) -> dict[str, Any]:
    """Context processor. `caller` is None where nobody has signed in."""
    theme = request.COOKIES.get(THEME_COOKIE, "")
    return {
        "caller": getattr(request, "caller", None),
        "regions": REGIONS,
        "themes": THEMES,
        "theme": theme if theme in THEMES else "",
        "navigation_open": request.COOKIES.get(NAVIGATION_COOKIE) != "closed",
        "here": request.get_full_path(),
    }
