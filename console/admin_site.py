"""The site of Django admin, at /admin/: who may see it, and how people get in and out.

Staff are principals of an account and sign in as everybody does, on the console's page; Django's own forms for signing
in and for changing a password know no accounts and no limits on tries, and have no address here.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar, cast

from django.conf import settings
from django.contrib import admin, auth
from django.contrib.auth.views import redirect_to_login
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.http.response import HttpResponseBase
from django.shortcuts import redirect
from django.urls import URLPattern, URLResolver, reverse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST

from console import reauthentication
from console.pages import safe_next

View = TypeVar("View", bound=Callable[..., HttpResponseBase])

# Django's pages that this site does without. view_on_site finds any row of any account by its number.
LEFT_OUT = {"password_change", "password_change_done", "view_on_site"}


class CasemateAdminSite(admin.AdminSite):
    site_header = "Casemate administration"
    site_title = "Casemate administration"
    index_title = "Everything in this account"
    empty_value_display = "-"

    def admin_view(self, view: View, cacheable: bool = False) -> View:
        """Guard a view: signed-out people are sent to sign in, people who are not staff are told they may not.

        Signing out is for everybody: who came here without being staff leaves like anybody else.
        """
        if view == self.logout:
            return view
        guarded = super().admin_view(view, cacheable)

        @wraps(guarded)
        def refuse_or_view(request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
            if request.user.is_authenticated and not self.has_permission(request):
                raise PermissionDenied
            return guarded(request, *args, **kwargs)

        return cast(View, refuse_or_view)

    def proof_of(self, request: HttpRequest, *, is_submitted: bool) -> reauthentication.Proof:
        """Whether an action has to ask for the password, as console/reauthentication.py says."""
        return reauthentication.proof_of(request, is_submitted=is_submitted)

    def get_urls(self) -> list[URLPattern | URLResolver]:
        return [address for address in super().get_urls() if getattr(address, "name", None) not in LEFT_OUT]

    def login(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        """Lead to the console's sign-in page, and from there back to where the person wanted to go."""
        wanted = safe_next(request.GET.get("next", ""), reverse("admin:index"))
        if not request.user.is_authenticated:
            return redirect_to_login(wanted, settings.LOGIN_URL)
        if not self.has_permission(request):
            raise PermissionDenied
        return HttpResponseRedirect(wanted)

    def logout(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:  # type: ignore[override]
        return _sign_out(request)


@never_cache
@require_POST
def _sign_out(request: HttpRequest) -> HttpResponse:
    auth.logout(request)
    return redirect(settings.LOGIN_URL)


site = CasemateAdminSite()
# Nothing is deleted in the admin, so no list offers it.
site.disable_action("delete_selected")
