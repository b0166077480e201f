"""What the frame of every page can do: choose the Region, the colour mode, the navigation pane; and /healthz."""

from __future__ import annotations

from django.conf import settings
from django.db import DatabaseError
from django.db.models import Count, Q
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect, JsonResponse
from django.shortcuts import redirect
from django.templatetags.static import static
from django.urls import reverse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET, require_POST

from console.context import NAVIGATION_COOKIE, THEME_COOKIE, THEMES
from console.pages import safe_next
from console.regions import REGIONS
from console.requests import ConsoleRequest, signed_in
from console.serving import seeding, troubles
from hsmapp.models import Cluster
from hsmapp.states import HsmState

YEAR = 365 * 24 * 3600  # seconds


@require_POST
@signed_in
def region(request: ConsoleRequest) -> HttpResponse:
    """Choose the Region and come back to the same page. A wizard belongs to the Region it was begun in, so leave it."""
    chosen = request.POST.get("region", "")
    if chosen in REGIONS:
        request.session["region"] = chosen
    keys = reverse("console:keys")
    back = safe_next(request.POST.get("next", ""), keys)
    return HttpResponseRedirect(keys if back.startswith(reverse("console:create-key")) else back)


@require_POST
def theme(request: HttpRequest) -> HttpResponse:
    """Keep the colour mode in a cookie, so that the server sends the right one at once."""
    chosen = request.POST.get("theme", "")
    response = _back(request)
    if chosen in THEMES:
        response.set_cookie(THEME_COOKIE, chosen, max_age=YEAR, httponly=True, samesite="Lax", secure=settings.TLS)
    return response


@require_POST
def navigation(request: HttpRequest) -> HttpResponse:
    """Open or close the navigation pane."""
    response = _back(request)
    state = "closed" if request.POST.get("navigation") == "closed" else "open"
    response.set_cookie(NAVIGATION_COOKIE, state, max_age=YEAR, httponly=True, samesite="Lax", secure=settings.TLS)
    return response


def _back(request: HttpRequest) -> HttpResponse:
    return HttpResponseRedirect(safe_next(request.POST.get("next", ""), reverse("console:keys")))


@require_GET
def favicon(request: HttpRequest) -> HttpResponse:
    """Browsers ask for it on pages that name none, such as Django admin's."""
    return redirect(static("console/mark.svg"))


@require_GET
@never_cache
def healthz(request: HttpRequest) -> HttpResponse:
    """200 when calls can be served: what the installation begins with is there, the database answers, and each cluster
    that has HSMs has an active one.

    A process of the server that shows no sign of life is named, but calls are served without it for a while: still 200.
    """
    if seeding.mark(settings.DATA).exists():
        return JsonResponse({"status": "what the installation begins with is being made"}, status=503)
    active, wanted = Q(hsms__wanted=True, hsms__state=HsmState.ACTIVE), Q(hsms__wanted=True)
    try:
        clusters = list(
            Cluster.objects.annotate(active=Count("hsms", filter=active), wanted=Count("hsms", filter=wanted))
            .filter(wanted__gt=0)
            .values_list("cluster_id", "active", "wanted")
        )
    except DatabaseError:
        return JsonResponse({"status": "the database does not answer"}, status=503)
    dead = [cluster_id for cluster_id, active_hsms, _ in clusters if active_hsms == 0]
    wrong = [f"no active HSM in {', '.join(dead)}"] if dead else []
    wrong += [f"{name}: {trouble}" for name, trouble in troubles.read(settings.TROUBLES).items()]
    answer = {
        "status": "; ".join(wrong) or "ok",
        "active_hsms": sum(active_hsms for _, active_hsms, _ in clusters),
        "wanted_hsms": sum(wanted_hsms for _, _, wanted_hsms in clusters),
    }
    return JsonResponse(answer, status=503 if dead else 200)
